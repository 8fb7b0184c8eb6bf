"""The SQLite store on a disk that is full, over a quota, read-only, or that has only just been told to keep."""

# ruff: noqa: ASYNC240  # the files are small, and nothing else waits for the event loop

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.stores import record, write
from tests.fault.store_child import WORKSPACE
from vaporform_mcp.stores.sqlite import open_sqlite

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0
OWN_MOUNTS = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, timeout=WAIT_S, check=False).returncode == 0


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "true"], capture_output=True, timeout=WAIT_S, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="this machine lets nobody mount in a namespace of its own")


def run(what: str, folder: Path, *before: str) -> list[str]:
    command = [*before, sys.executable, "-m", "tests.fault.store_child", what, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def run_after(mount: str, what: str, folder: Path) -> list[str]:
    """Run the child where the shell line `mount`, with the folder as `$0`, was run before, for itself alone."""
    return run(what, folder, *OWN_MOUNTS, "sh", "-ec", f'{mount}\nexec "$@"', str(folder))


def assert_fit_for_the_model(line: str, folder: Path) -> None:
    assert str(folder) not in line
    assert not re.search(r"(?<!\w)/\w", line)


@needs_mounts
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    refused, kept = run_after('mount -t tmpfs -o size=8m none "$0"', "fill-disk", tmp_path)
    assert "no space left" in refused
    assert "Free space" in refused
    assert_fit_for_the_model(refused, tmp_path)
    assert int(kept.removeprefix("kept ")) > 20


def test_a_quota_that_is_met_is_told_and_loses_nothing(tmp_path: Path) -> None:
    refused, kept = run("fill-quota", tmp_path)
    assert "free space, quota" in refused
    assert_fit_for_the_model(refused, tmp_path)
    assert int(kept.removeprefix("kept ")) > 20


async def prepared(folder: Path) -> None:
    async with open_sqlite(folder / "vaporform.sqlite3") as store:
        await store.create_workspace(record("shared", id=WORKSPACE))
        await write(store, WORKSPACE, {"a": b"1"})


@needs_mounts
async def test_a_read_only_disk_is_told(tmp_path: Path) -> None:
    await prepared(tmp_path)
    lines = run_after('mount --bind "$0" "$0"\nmount -o remount,bind,ro "$0"', "look", tmp_path)
    for line in lines:
        assert "read-only" in line
        assert_fit_for_the_model(line, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
async def test_a_file_that_we_may_not_write_is_told(tmp_path: Path) -> None:
    await prepared(tmp_path)
    (tmp_path / "vaporform.sqlite3").chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        lines = run("look", tmp_path)
    finally:
        tmp_path.chmod(0o700)
    for line in lines:
        assert "read-only" in line
        assert_fit_for_the_model(line, tmp_path)


@pytest.mark.skipif(not can_trace(), reason="needs strace, and leave to trace a child")
def test_an_append_is_flushed_to_the_disk_before_it_returns_and_a_put_need_not_be(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run("flush", tmp_path, "strace", "-f", "-e", "trace=write,fsync,fdatasync", "-o", str(log))
    flushes: dict[str, list[int]] = {"put": [], "append": []}
    doing = "done"
    for line in log.read_text().splitlines():
        if said := re.search(r'write\(1, "(put|append|done)', line):
            doing = said[1]
            if doing in flushes:
                flushes[doing].append(0)
        elif re.search(r"(fsync|fdatasync)\(.*= 0", line) and doing in flushes:
            flushes[doing][-1] += 1
    assert flushes["put"] == [0] * 5
    assert flushes["append"] == [1] * 5
