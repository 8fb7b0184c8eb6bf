"""The SQLite store with several processes on one file, any of which may be killed at any moment."""

from __future__ import annotations

import secrets
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.contract.stores import make_workspace, write
from tests.durability.kills import LONG, assert_is_sound
from tests.fault.store_child import WORKSPACE
from vaporform_mcp.stores.sqlite import open_sqlite

ROOT = Path(__file__).parents[2]
ROUNDS = 200 if LONG else 6
WRITES = 500 if LONG else 60
WAIT_S = 60.0


def start(what: str, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.fault.store_child", what, str(folder), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def finished(process: subprocess.Popen[bytes]) -> list[str]:
    output, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    return output.decode().splitlines()


def killed_at_some_moment(folder: Path) -> list[str]:
    """What a process was told before it was killed."""
    with start("work", folder) as process:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], WAIT_S)
        time.sleep(secrets.randbelow(250) / 1000)  # a moment like any other: nothing is waited for
        process.kill()
        lines = process.stdout.read().decode().splitlines(keepends=True)
    assert ready
    return [line.rstrip() for line in lines if line.endswith("\n")]


async def assert_nothing_was_lost(folder: Path, told: list[str]) -> None:
    assert_is_sound(folder / "vaporform.sqlite3")
    async with open_sqlite(folder / "vaporform.sqlite3") as store:
        report = await store.verify()
        assert not report.missing
        assert not report.corrupt
        tree = await store.tree(WORKSPACE)
        head = (await store.head(WORKSPACE)).number
        for line in told:
            number, name, digest = line.split()
            assert int(number) <= head
            assert {path: entry.digest for path, entry in tree.items() if path == name} == {name: digest}
            assert digest in await store.get_blobs([entry.digest for path, entry in tree.items() if path == name])


@pytest.mark.timeout(1200)
async def test_a_process_killed_at_any_moment_loses_nothing_that_it_was_told_is_kept(tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(ROUNDS):
        told += killed_at_some_moment(tmp_path)
        await assert_nothing_was_lost(tmp_path, told)
        told = told[-50:]
    async with open_sqlite(tmp_path / "vaporform.sqlite3") as store:
        await store.prune(WORKSPACE, keep_after=0, grace_s=0)
        await write(store, WORKSPACE, {"last": b"word"})
    assert_is_sound(tmp_path / "vaporform.sqlite3")


@pytest.mark.timeout(300)
async def test_two_processes_that_write_one_workspace_lose_nothing(tmp_path: Path) -> None:
    writers = [start("write", tmp_path, "--name", name, "--count", str(WRITES)) for name in ("one", "two")]
    told = [line for writer in writers for line in finished(writer)]
    assert sorted(int(line.split()[0]) for line in told) == list(range(1, 2 * WRITES + 1))
    await assert_nothing_was_lost(tmp_path, told)


@pytest.mark.timeout(300)
async def test_a_process_loses_nothing_while_another_is_killed(tmp_path: Path) -> None:
    writer = start("write", tmp_path, "--name", "steady", "--count", str(2 * WRITES))
    told = killed_at_some_moment(tmp_path)
    told += finished(writer)
    await assert_nothing_was_lost(tmp_path, told)


async def test_many_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    writers = [start("write", tmp_path, "--name", f"p{number}") for number in range(5)]
    told = [line for writer in writers for line in finished(writer)]
    assert sorted(int(line.split()[0]) for line in told) == [1, 2, 3, 4, 5]
    await assert_nothing_was_lost(tmp_path, told)


async def test_two_stores_of_one_process_see_each_others_writes(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "vaporform.sqlite3") as one, open_sqlite(tmp_path / "vaporform.sqlite3") as two:
        workspace = await make_workspace(one)
        for turn in range(10):
            await write(one, workspace, {"a": b"%d" % turn})
            assert (await two.head(workspace)).number == 2 * turn + 1
            await write(two, workspace, {"b": b"%d" % turn})
            assert (await one.head(workspace)).number == 2 * turn + 2
