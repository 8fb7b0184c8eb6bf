"""A process of its own for the tests that kill one, run several, or starve one: it tells on stdout what it was told."""

from __future__ import annotations

import argparse
import os
import resource
import secrets
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from tests.contract.stores import append, blob, digest_of, file, record, streamed, write
from vaporform_mcp.errors import Conflict, StoreUnavailable
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.sqlite import open_sqlite

WORKSPACE = "w-shared"
MIB = 1024 * 1024


def tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def ready(store: Store) -> None:
    await store.create_workspace(record("shared", id=WORKSPACE))


async def keep(store: Store, name: str, content: bytes) -> int:
    """Write one file, however many others write at the same time; answers with the revision's number."""
    revision_id = uuid.uuid4().hex
    await store.put_blobs([blob(content)])
    while True:
        try:
            return (await append(store, WORKSPACE, {name: file(content)}, revision_id=revision_id)).number
        except Conflict:
            continue


async def write_some(store: Store, name: str, count: int) -> None:
    """Write `count` files, telling each that is acknowledged."""
    await ready(store)
    for turn in range(count):
        content = f"{name} {turn}".encode() * 100
        number = await keep(store, f"{name}/{turn}", content)
        tell(f"{number} {name}/{turn} {digest_of(content)}")


async def work_until_killed(store: Store) -> None:
    """Everything that writes, over and over: files, streams, removals, pruning, workspaces that come and go."""
    await ready(store)
    run = uuid.uuid4().hex[:8]
    turn = 0
    while True:
        turn += 1
        content = os.urandom(secrets.choice([0, 10, 3000, 40_000]))
        number = await keep(store, f"{run}/{turn}", content)
        tell(f"{number} {run}/{turn} {digest_of(content)}")
        await write(store, WORKSPACE, {"scratch": content + b"!", f"{run}/passing": None if turn % 2 else content})
        if turn % 3 == 0:
            large = os.urandom(2 * MIB + 17)
            await store.put_large_blob(digest_of(large), len(large), streamed(large, 300_000), "text/plain")
            number = (await append(store, WORKSPACE, {f"{run}/large{turn}": file(large)})).number
            tell(f"{number} {run}/large{turn} {digest_of(large)}")
        if turn % 4 == 0:
            await store.prune(WORKSPACE, keep_after=number - 5, grace_s=60)
        if turn % 5 == 0:
            passing = await store.create_workspace(record(f"passing-{run}"))
            await write(store, passing.id, {f"f{each}": content for each in range(50)})
            await store.delete_workspace(passing.id)


async def tell_when_flushed(store: Store) -> None:
    """Put and append a few times, telling where each begins and ends."""
    await ready(store)
    for turn in range(5):
        content = os.urandom(2000)
        tell("put")
        await store.put_blobs([blob(content)])
        tell("append")
        await append(store, WORKSPACE, {f"f{turn}": file(content)}, parent=turn)
        tell("done")


async def fill(store: Store, give_room: Callable[[], None]) -> None:
    """Write until there is no room, tell what was kept and how it ended; then again after there is room."""
    await ready(store)
    kept: dict[str, bytes] = {}
    try:
        for turn in range(10_000):
            content = os.urandom(30_000)
            await write(store, WORKSPACE, {f"f{turn}": content})
            kept[f"f{turn}"] = content
    except StoreUnavailable as full:
        tell(f"{full} | {full.hint}")
    await check(store, kept)
    give_room()
    kept["after"] = b"there is room again"
    await write(store, WORKSPACE, {"after": kept["after"]})
    await check(store, kept)
    tell(f"kept {len(kept)}")


async def look(store: Store) -> None:
    """Read and write, telling how each ended."""

    async def told(name: str, ask: Callable[[], Awaitable[object]]) -> None:
        try:
            await ask()
            tell(f"{name}: fine")
        except StoreUnavailable as refused:
            tell(f"{name}: {refused} | {refused.hint}")

    await told("read", lambda: store.tree(WORKSPACE))
    await told("write", lambda: write(store, WORKSPACE, {"more": b"more"}))


async def check(store: Store, kept: dict[str, bytes]) -> None:
    tree = await store.tree(WORKSPACE)
    assert kept.keys() <= tree.keys()
    for name, content in kept.items():
        assert await store.get_blobs([digest_of(content)]) == {digest_of(content): content}, name
    report = await store.verify()
    assert not report.missing
    assert not report.corrupt


async def main(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.folder)
    async with open_sqlite(folder / "vaporform.sqlite3", busy_s=60) as store:
        match arguments.what:
            case "write":
                await write_some(store, arguments.name, arguments.count)
            case "work":
                await work_until_killed(store)
            case "flush":
                await tell_when_flushed(store)
            case "look":
                await look(store)
            case "fill-disk":
                ballast = folder / "ballast"
                ballast.write_bytes(bytes(2 * MIB))
                await fill(store, ballast.unlink)
            case "fill-quota":
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MIB, hard))
                await fill(store, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)))
            case _:
                raise ValueError(arguments.what)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    parser.add_argument("folder")
    parser.add_argument("--name", default="one")
    parser.add_argument("--count", type=int, default=1)
    sys.exit(anyio.run(main, parser.parse_args()))
