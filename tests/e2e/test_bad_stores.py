"""A store's file that cannot be used: every tool says so and how to mend it, the file is left as it is, and once it is
mended everything is there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.durability.machine import Machine, a_machine, in_time
from tests.durability.small_disks import ServerOnDisk, needs_mounts
from tests.e2e.judging import assert_fit, assert_refused
from tests.e2e.stdio_client import StdioServer

CALLS = {
    "open_workspace": {"name": "default"},
    "write_to_file": {"path": "new.txt", "content": "new"},
    "read_file": {"path": "kept.txt"},
    "replace_in_file": {"path": "kept.txt", "diff": "------- SEARCH\nkept\n=======\nnew\n+++++++ REPLACE\n"},
    "execute_command": {"command": "echo new > kept.txt"},
    "attempt_completion": {"result": "done"},
}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With a store that has one file, and a sandbox that has ended."""
    with a_machine(tmp_path, VAPORFORM_LOCAL__LINGER_S="0") as made:
        with made.server() as server:
            assert server.call("write_to_file", path="kept.txt", content="kept").facts["mirrored"]
            server.end_input()
            server.wait()
        in_time(lambda: made.sandbox().state == "stopped")
        yield made


def no_database(path: Path) -> None:
    path.write_bytes(b"Dear diary, today I was no database. " * 500)


def newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9999")
    database.close()


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(0xA5 for _ in content[4096:])
    path.write_bytes(bytes(content))


def other_tables(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE changes RENAME COLUMN digest TO hash")
    database.close()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "said", "mend"),
    [
        (no_database, "is not a database", "Move that file away"),
        (newer, "newer", "Upgrade"),
        (damaged, "damaged", "recover"),
        (other_tables, "tables of its version", "put back a copy"),
        (folder, "cannot be opened", "Check"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_by_every_tool_and_left_as_it_is(
    machine: Machine, tmp_path: Path, spoil: Callable[[Path], None], said: str, mend: str
) -> None:
    good = tmp_path / "good"
    good.write_bytes(machine.store_file.read_bytes())
    spoil(machine.store_file)
    spoiled = machine.store_file.read_bytes() if machine.store_file.is_file() else b""
    with machine.server() as server:
        assert_all_refused(server, machine, said, mend)
        assert (machine.store_file.read_bytes() if machine.store_file.is_file() else b"") == spoiled
        take_back(machine.store_file, good)
        assert "kept" in server.call("read_file", path="kept.txt").text
    assert machine.stored() == {"kept.txt": b"kept"}


def test_what_is_said_of_a_store_names_the_file_that_it_is(machine: Machine) -> None:
    no_database(machine.store_file)
    with machine.server() as server:
        assert machine.store_file.name in server.call("list_workspaces").text


@needs_mounts
def test_a_store_that_is_read_only_is_told_by_every_tool_that_needs_to_write_it(machine: Machine) -> None:
    """Mounted so for the server alone, since a file's mode means nothing to root."""
    mount = f'mount --bind "$0/{machine.store_file.name}" "$0/{machine.store_file.name}"; '
    mount += f'mount -o remount,ro,bind "$0/{machine.store_file.name}"'
    with ServerOnDisk(machine.environment, mount=mount) as server:
        assert_all_refused(server, machine, "read-only", "Make both writable")
    assert machine.stored() == {"kept.txt": b"kept"}


@needs_mounts
def test_a_data_folder_that_is_read_only_is_told_by_every_tool(machine: Machine) -> None:
    mount = 'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"'
    with ServerOnDisk(machine.environment, mount=mount) as server:
        assert_all_refused(server, machine, "", "read-only")
    assert machine.stored() == {"kept.txt": b"kept"}


def test_a_store_that_fails_under_a_running_server_costs_the_mirror_and_nothing_else(machine: Machine) -> None:
    """The sandbox goes on; when the store is there again, what was written meanwhile comes into it by itself."""
    with machine.server() as server:
        server.call("open_workspace", name="default")
        lock = sqlite3.connect(machine.store_file, timeout=20)
        lock.execute("BEGIN EXCLUSIVE")
        written = server.call("write_to_file", path="meanwhile.txt", content="meanwhile")
        assert written.facts["mirrored"] is False
        assert written.facts["mirror_error"] in written.text
        assert_fit(written, machine.data_dir)
        assert "meanwhile" in server.call("read_file", path="meanwhile.txt").text
        lock.rollback()
        lock.close()
        in_time(lambda: machine.stored().get("meanwhile.txt") == b"meanwhile")


def test_a_store_that_is_gone_while_a_server_runs_costs_the_mirror_alone_and_put_back_it_goes_on(
    machine: Machine, tmp_path: Path
) -> None:
    """Moved away between two writes. No empty one comes in its place, where the workspace would begin anew."""
    with machine.server() as server:
        assert server.call("write_to_file", path="before.txt", content="before").facts["mirrored"]
        away = tmp_path / "away"
        away.mkdir()
        files = list(machine.data_dir.glob(f"{machine.store_file.name}*"))
        for path in files:
            path.rename(away / path.name)
        written = server.call("write_to_file", path="meanwhile.txt", content="meanwhile")
        assert written.facts["mirrored"] is False
        assert "removed, moved away or replaced" in written.facts["mirror_error"]
        assert "Put it back" in written.text
        assert_fit(written, machine.data_dir)
        assert server.call("read_file", path="meanwhile.txt").text == "meanwhile"
        completed = server.call("attempt_completion", result="done")
        assert completed.facts["mirrored"] is False
        assert "removed, moved away or replaced" in completed.text
        assert_fit(completed, machine.data_dir)
        for arguments in ({"name": "default"}, {"name": "another"}):
            opened = server.call("open_workspace", **arguments)
            assert_fit(opened, machine.data_dir)
        assert_refused(opened, "store_unavailable", machine.data_dir)
        assert not list(machine.data_dir.glob(f"{machine.store_file.name}*"))
        for path in files:
            if (away / path.name).exists():
                (away / path.name).rename(path)
        in_time(lambda: machine.stored().get("meanwhile.txt") == b"meanwhile")
    assert machine.stored() == {"kept.txt": b"kept", "before.txt": b"before", "meanwhile.txt": b"meanwhile"}


def assert_all_refused(server: StdioServer, machine: Machine, said: str, mend: str) -> None:
    for tool, arguments in CALLS.items():
        refused = server.call(tool, **arguments)
        assert_refused(refused, "store_unavailable", machine.data_dir)
        assert said in refused.text
        assert mend in refused.text


def take_back(path: Path, good: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if path.is_dir():
        path.rmdir()
    path.write_bytes(good.read_bytes())
