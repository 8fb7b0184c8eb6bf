"""A workspace in MongoDB comes back, byte for byte, to somebody who has docs/storage-format.md and a driver alone."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import gridfs
import pytest

from tests import mongod
from tests.contract.stores import Clock, append, blob, digest_of, file, link, make_workspace, streamed, write
from vaporform_mcp.stores.mongo import MongoStore, open_mongo
from vaporform_mcp.stores.mongo.database import SCHEMA_VERSION

SCRIPT = Path(__file__).with_name("restore_from_mongo.py")
PAGE = (Path(__file__).parents[2] / "docs" / "storage-format.md").read_text(encoding="utf-8")
LARGE = b"".join(number.to_bytes(4, "big") for number in range(700_000))
FIRST = {
    "README.md": b"# hi\n",
    "src/a b's.py": "print('grüß')\n".encode(),
    "empty": b"",
    "日本語/🚀": bytes(range(256)),
}
MANY = {f"many/{number}.txt": b"%d" % (number % 7) for number in range(400)}


@pytest.fixture
def database() -> Generator[str]:
    with mongod.dropped(mongod.shared.uri()) as name:
        yield name


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(database: str, clock: Clock) -> AsyncIterator[MongoStore]:
    async with open_mongo(mongod.shared.uri(), database, clock=clock) as opened:
        yield opened


def restored(database: str, folder: Path, *revision: str) -> dict[str, bytes]:
    arguments = [sys.executable, str(SCRIPT), mongod.shared.uri(), database, "site", str(folder), *revision]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]
    return {str(each.relative_to(folder)): each.read_bytes() for each in found}


async def fill(store: MongoStore) -> list[dict[str, bytes]]:
    """Four revisions, the second a checkpoint; answers with the files of each."""
    workspace = await make_workspace(store)
    await write(store, workspace, FIRST)
    await store.put_blobs([blob(b"#!/bin/sh\n"), blob(b"../README.md")])
    await store.put_large_blob(digest_of(LARGE), len(LARGE), streamed(LARGE, 100_000), "application/octet-stream")
    changes = {"bin/run": file(b"#!/bin/sh\n", mode=0o755), "bin/readme": link(b"../README.md"), "large": file(LARGE)}
    await append(store, workspace, changes, label="release")
    await write(store, workspace, MANY)
    await write(store, workspace, {"README.md": b"# changed\n", "empty": None})
    await write(store, await make_workspace(store, "other"), {"other": b"other"})
    second = {**FIRST, "bin/run": b"#!/bin/sh\n", "large": LARGE}
    third = {**second, **MANY}
    fourth = {name: content for name, content in {**third, "README.md": b"# changed\n"}.items() if name != "empty"}
    return [FIRST, second, third, fourth]


async def test_every_revision_comes_back(store: MongoStore, database: str, tmp_path: Path) -> None:
    expected = await fill(store)
    assert restored(database, tmp_path / "newest") == expected[3]
    assert (tmp_path / "newest/bin/readme").readlink() == Path("../README.md")
    assert stat.S_IMODE((tmp_path / "newest/bin/run").stat().st_mode) == 0o755
    for number, tree in enumerate(expected, 1):
        assert restored(database, tmp_path / str(number), str(number)) == tree
    assert restored(database, tmp_path / "label", "release") == expected[1]


async def test_what_is_left_after_pruning_comes_back(
    store: MongoStore, database: str, tmp_path: Path, clock: Clock
) -> None:
    expected = await fill(store)
    (record,) = [each for each in await store.list_workspaces("ada") if each.name == "site"]
    clock.now += 100_000
    assert (await store.prune(record.id, keep_after=3, grace_s=10)).revisions == 2
    assert restored(database, tmp_path / "newest") == expected[3]
    assert restored(database, tmp_path / "label", "release") == expected[1]


async def test_any_driver_reads_the_blobs_as_gridfs_files(store: MongoStore, database: str) -> None:
    contents = [b"", b"small", LARGE]
    await store.put_blobs([blob(content) for content in contents])
    bucket = gridfs.GridFSBucket(mongod.client()[database], bucket_name="blobs")
    for content in contents:
        digest = hashlib.sha256(content).hexdigest()
        with bucket.open_download_stream(digest) as by_id, bucket.open_download_stream_by_name(digest) as by_name:
            assert by_id.read() == by_name.read() == content
            assert (by_id.filename, by_id.length, by_id.chunk_size) == (digest, len(content), 255 * 1024)
            assert by_id.metadata is not None
            assert by_id.metadata["contentType"] == "text/plain"
            assert by_id.upload_date is not None


def test_the_page_names_the_version() -> None:
    assert f"`schema` is the version of the layout; this page describes {SCHEMA_VERSION}" in PAGE


def test_the_script_uses_none_of_our_code() -> None:
    assert "vaporform_mcp" not in SCRIPT.read_text(encoding="utf-8")
    assert os.access(SCRIPT, os.R_OK)
