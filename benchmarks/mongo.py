"""Measure the MongoDB store beside the ordinary GridFS interface: `python benchmarks/mongo.py [FILES ...]`.

Both go through one proxy that counts commands and adds 1 ms to each answer, to the server that the tests use, in one
run. The server is no MongoDB: the ratios tell, not the times. Beyond 1,000 files ours is measured alone, since file by
file takes minutes for each thousand.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Started as a file, Python looks for modules in this folder instead of the project's.
    sys.path[0] = str(Path(__file__).resolve().parents[1])


import anyio
from gridfs import AsyncGridFSBucket
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from benchmarks import projects
from tests.mongod import start_mongod
from tests.mongowire import Wire, wire_to
from vaporform_mcp.mime import mime_type
from vaporform_mcp.stores.base import MAX_BLOB_BATCH_BYTES, Blob, Store
from vaporform_mcp.stores.mongo import open_mongo
from vaporform_mcp.types import (
    Change,
    Entry,
    EntryKind,
    Spec,
    WorkspaceName,
    WorkspacePath,
    WorkspaceRecord,
    parse_path,
)
from vaporform_mcp.workspace.files import batches, digest_of

DELAY_S = 0.001
COMPARED_FILES = 1_000

Files = dict[WorkspacePath, bytes]


def main() -> int:
    print(f"{DELAY_S * 1000:g} ms added to each answer\n")
    print("| | ours | file by file | ratio | commands, ours | file by file |\n|---|---|---|---|---|---|")
    for count in [int(each) for each in sys.argv[1:]] or [COMPARED_FILES]:
        with tempfile.TemporaryDirectory() as folder:
            server = start_mongod(Path(folder))
            try:
                rows = anyio.run(measure, server.uri, project(count))
            finally:
                server.stop()
        for title, ours, theirs in rows:
            told = f"{theirs[0]:.1f} s | {theirs[0] / ours[0]:.1f}x" if theirs else "- | -"
            commands = f"{ours[1]} | {theirs[1] if theirs else '-'}"
            print(f"| {count:,} files: {title} | {ours[0]:.2f} s | {told} | {commands} |", flush=True)
    return 0


Cost = tuple[float, int]
"""Seconds and commands."""


async def measure(uri: str, files: Files) -> list[tuple[str, Cost, Cost | None]]:
    async with wire_to(uri) as wire:
        wire.delay_s = DELAY_S
        async with open_mongo(wire.uri, "ours") as store, open_mongo(wire.uri, "ours") as second:
            workspace = await begin(store)
            await store.head(workspace)
            await second.head(workspace)  # the first contact makes the collections and indexes
            synced = await cost(wire, lambda: sync(store, workspace, files, 0))
            changed = {path: content + b"more\n" for path, content in list(files.items())[:10]}
            ten = await cost(wire, lambda: sync(store, workspace, changed, 1))
            now = {**files, **changed}
            restored = await cost(wire, lambda: restore(second, workspace, now))
        uploaded, downloaded = await file_by_file(wire, files) if len(files) <= COMPARED_FILES else (None, None)
    return [
        ("first sync", synced, uploaded),
        ("full restore", restored, downloaded),
        ("sync of ten changes", ten, None),
    ]


async def file_by_file(wire: Wire, files: Files) -> tuple[Cost, Cost]:
    theirs = AsyncMongoClient[dict[str, Any]](wire.uri)
    try:
        uploaded = await cost(wire, lambda: upload(theirs["theirs"], files))
        return uploaded, await cost(wire, lambda: download(theirs["theirs"], files))
    finally:
        await theirs.close()


async def cost(wire: Wire, work: Callable[[], Awaitable[None]]) -> Cost:
    before, began = wire.count, time.perf_counter()
    await work()
    return time.perf_counter() - began, wire.count - before


async def begin(store: Store) -> str:
    record = WorkspaceRecord(
        id="w", owner="ada", name=WorkspaceName("w"), spec=Spec(provider="local"), created_at=1.0, last_used_at=1.0
    )
    return (await store.create_workspace(record)).id


async def sync(store: Store, workspace: str, files: Files, parent: int) -> None:
    """What a sync asks of the store, in its batches."""
    await store.head(workspace)
    changes: list[Change] = []
    for batch in batches(((path, len(content)) for path, content in files.items()), max_bytes=MAX_BLOB_BATCH_BYTES):
        blobs = [
            Blob(digest=digest_of(files[path]), content=files[path], mime_type=mime_type(path, files[path][:512]))
            for path in batch
        ]
        lacking = await store.missing({blob.digest for blob in blobs})
        await store.put_blobs([blob for blob in blobs if blob.digest in lacking])
        changes += [Change(path=path, entry=entry(blob)) for path, blob in zip(batch, blobs, strict=True)]
    await store.append(
        workspace, parent=parent, revision_id=uuid.uuid4().hex, epoch=0, changes=changes, made_by="benchmark"
    )


def entry(blob: Blob) -> Entry:
    return Entry(kind=EntryKind.FILE, mode=0o644, size=len(blob.content), digest=blob.digest, mime_type=blob.mime_type)


async def restore(store: Store, workspace: str, files: Files) -> None:
    tree = await store.tree(workspace)
    for batch in batches(((path, item.size) for path, item in tree.items()), max_bytes=MAX_BLOB_BATCH_BYTES):
        contents = await store.get_blobs({tree[path].digest for path in batch})
        check(all(contents[tree[path].digest] == files[path] for path in batch))


async def listed(database: AsyncDatabase[dict[str, Any]]) -> list[str]:
    return [each["filename"] async for each in database["fs.files"].find({}, {"filename": 1})]


async def upload(database: AsyncDatabase[dict[str, Any]], files: Files) -> None:
    bucket = AsyncGridFSBucket(database)
    known = frozenset(await listed(database))
    for path, content in files.items():
        if path not in known:
            await bucket.upload_from_stream(path, content)


async def download(database: AsyncDatabase[dict[str, Any]], files: Files) -> None:
    bucket = AsyncGridFSBucket(database)
    for path in await listed(database):
        stream = await bucket.open_download_stream_by_name(path)
        check(await stream.read() == files[parse_path(path)])


def check(is_right: bool) -> None:
    if not is_right:
        raise SystemExit("what was read is not what was written")


def project(count: int) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        made = [sys.executable, *projects.arguments(count, 1)]
        subprocess.run(made, input=projects.FILL, text=True, cwd=folder, check=True, timeout=600)
        found = [each for each in sorted(Path(folder).rglob("*")) if each.is_file()]
        return {parse_path(str(each.relative_to(folder))): each.read_bytes() for each in found}


if __name__ == "__main__":
    sys.exit(main())
