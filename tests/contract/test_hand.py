"""The hand: a supervisor reached by commands alone, started by whoever comes first, and asked twice without harm."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.inside.supervised import until
from vaporform_mcp.sandboxes.supervised.fields import Fields, JsonValue
from vaporform_mcp.sandboxes.supervised.frames import Frame, Inbox, head_of
from vaporform_mcp.sandboxes.supervised.inside.supervisor import MAX_CONNECTIONS
from vaporform_mcp.sandboxes.supervised.pack import pack


class Machine:
    """A folder that stands for a sandbox in which the hand has been put down."""

    def __init__(self, folder: Path) -> None:
        name, content = pack()
        self.state = folder / "state"
        self.workspace = folder / "workspace"
        self.archive = self.state / name
        self.home = folder
        self.state.mkdir()
        self.archive.write_bytes(content)

    def upgrade(self, **changes: str) -> None:
        """Have a later version's hand: of other code, in which these numbers are as they are given here."""
        later = self.state / f"supervisor-later-{len(list(self.state.glob('*.pyz')))}.pyz"
        with zipfile.ZipFile(self.archive) as earlier, zipfile.ZipFile(later, "w") as archive:
            for name in earlier.namelist():
                text = earlier.read(name).decode()
                for constant, value in changes.items():
                    text = re.sub(rf"^{constant} = .*$", f"{constant} = {value}", text, flags=re.MULTILINE)
                archive.writestr(name, text)
        self.archive = later

    def code(self) -> str:
        """The supervisor's that answers."""
        config = self.ask(({"op": "info"}, b""))[0].fields.object("hello").text("config")
        return Fields(json.loads(config)).text("code")

    def ask(self, *requests: tuple[Mapping[str, JsonValue], bytes], **orders: JsonValue) -> list[Frame]:
        return read(self.run(*requests, **orders), self.state)

    def run(self, *requests: tuple[Mapping[str, JsonValue], bytes], **orders: JsonValue) -> str:
        config: Mapping[str, JsonValue] = {"workspace": "ws", "epoch": 1, "root": str(self.workspace), "linger_s": 60}
        told: dict[str, JsonValue] = {
            **{"inline": 100_000, "within_s": 20, "config": {**config, "outside_only": False}},
            **orders,
        }
        frames = [(told, b""), *(({"id": at, **fields}, data) for at, (fields, data) in enumerate(requests, 1))]
        raw = b"".join(head_of(fields, len(data)) + data for fields, data in frames)
        command = [sys.executable, "-I", "-S", "-B", str(self.archive), base64.b64encode(zlib.compress(raw)).decode()]
        env = {**os.environ, "HOME": str(self.home)}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env).stdout

    def supervisor(self) -> int:
        """Its process."""
        (answer,) = self.ask(({"op": "run", "command": "awk '/^PPid/ {print $2}' /proc/$PPID/status"}, b""))[-1:]
        return int(answer.data)


def read(printed: str, state: Path) -> list[Frame]:
    _, size, _, where = printed.strip().split(" ")
    packed = Path(where[1:]).read_bytes() if where.startswith("@") else base64.b64decode(where)
    answer = zlib.decompress(packed)
    assert len(answer) == int(size)
    assert not where.startswith("@") or Path(where[1:]).is_relative_to(state)
    return Inbox().feed(answer)


def start_of(frames: list[Frame]) -> int:
    return frames[0].fields.number("start")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ask(({"op": "end"}, b""))


def test_the_first_to_come_starts_the_supervisor_and_the_next_finds_it(machine: Machine) -> None:
    assert [start_of(machine.ask(({"op": "info"}, b""))) for _ in range(2)] == [1, 1]


def test_after_a_supervisor_that_was_killed_another_starts_and_is_told_from_it(machine: Machine) -> None:
    os.kill(machine.supervisor(), signal.SIGKILL)
    frames = machine.ask(({"op": "list"}, b""), expected=1)
    assert start_of(frames) == 2
    assert len(frames) == 1, "one of another start than was expected is asked nothing"


def test_what_is_asked_with_a_file_can_be_asked_again_until_that_is_said_to_be_heard(machine: Machine) -> None:
    machine.ask(({"op": "info"}, b""))
    run: Mapping[str, JsonValue] = {"id": 1, "op": "run", "command": "cat >> file", "key": "one", "wait_s": 20}
    (machine.state / "staged").mkdir()
    staged = machine.state / "staged" / "requests"
    staged.write_bytes(zlib.compress(head_of({**run, "last": True}, 200_000) + bytes(200_000)))
    for _ in range(2):
        assert "ok" in machine.ask(requests=str(staged))[-1].fields
    assert (machine.workspace / "file").stat().st_size == 200_000
    machine.ask(({"op": "info"}, b""), heard=[str(staged)])
    assert not staged.exists()


def test_one_request_is_answered_after_the_other_until_one_is_refused(machine: Machine) -> None:
    info = ({"op": "info"}, b"")
    frames = machine.ask(info, ({"op": "nothing"}, b""), info)
    assert ["ok" in frame.fields for frame in frames[1:]] == [True, False]


def test_a_long_answer_is_left_in_a_file(machine: Machine) -> None:
    (machine.workspace).mkdir()
    (machine.workspace / "file").write_bytes(os.urandom(200_000))
    asked = {"op": "read", "paths": ["file"], "max_bytes": 1_000_000, "follow": True}
    printed = machine.run((asked, b""))
    assert len(printed) < 1_000
    assert read(printed, machine.state)[-1].data == (machine.workspace / "file").read_bytes()


def test_an_upload_is_put_together_from_files_that_are_then_gone(machine: Machine) -> None:
    machine.ask(({"op": "info"}, b""))
    parts = [machine.state / f"part-{number}" for number in range(3)]
    for part in parts:
        part.write_bytes(os.urandom(1_500_000))
    whole = b"".join(part.read_bytes() for part in parts)
    asked: list[tuple[Mapping[str, JsonValue], bytes]] = [
        ({"op": "open", "path": "large", "mode": None, "expected": None}, b""),
        ({"op": "append", "upload": "opened", "parts": [str(part) for part in parts]}, b""),
        ({"op": "commit", "upload": "opened", "abort": False, "once": "one"}, b""),
    ]
    committed = machine.ask(*asked)[-1].fields.object("ok").items("stat")
    assert (machine.workspace / "large").read_bytes() == whole
    assert not any(part.exists() for part in parts)
    assert machine.ask(*asked)[-1].fields.object("ok").items("stat") == committed, (
        "asked again, it is told what was done"
    )


def test_an_upload_whose_parts_were_lost_on_the_way_puts_nothing_in_place(machine: Machine) -> None:
    machine.ask(({"op": "info"}, b""))
    (machine.state / "part-0").write_bytes(b"half")
    frames = machine.ask(
        ({"op": "open", "path": "large", "mode": None, "expected": None}, b""),
        ({"op": "append", "upload": "opened", "parts": [str(machine.state / f"part-{at}") for at in range(2)]}, b""),
        ({"op": "commit", "upload": "opened", "abort": False, "once": "one"}, b""),
    )
    assert frames[-1].fields.object("error").text("code") == "not_found"
    assert list(machine.workspace.iterdir()) == []


def test_a_supervisor_that_cannot_start_says_why(machine: Machine) -> None:
    machine.workspace.write_text("no folder")
    machine.home = machine.workspace
    (frame,) = machine.ask(({"op": "info"}, b""))
    assert "workspace" in frame.fields.text("failed")
    machine.workspace.unlink()


def test_the_supervisor_outlives_the_command_that_started_it(machine: Machine) -> None:
    pid = machine.supervisor()
    assert os.getpgid(pid) != os.getpgid(0)
    until(lambda: Path(f"/proc/{pid}").exists())
    config = Fields(json.loads(machine.ask(({"op": "info"}, b""))[0].fields.object("hello").text("config")))
    assert config.text("root") == str(machine.workspace)


def test_marks_before_the_one_that_holds_are_removed_and_a_later_one_stays(machine: Machine) -> None:
    for at, name in enumerate(("mark-a", "mark-b", "mark-c"), 1):
        (machine.state / name).write_bytes(b"")
        os.utime(machine.state / name, (at, at))
    machine.ask(({"op": "info"}, b""), mark="mark-b")
    assert sorted(each.name for each in machine.state.glob("mark-*")) == ["mark-b", "mark-c"]
    machine.ask(({"op": "info"}, b""), mark="mark-gone")
    assert sorted(each.name for each in machine.state.glob("mark-*")) == ["mark-b", "mark-c"]
    # One made from this one's saved state has none of them, and a supervisor of its own.
    before = machine.supervisor()
    other: Mapping[str, JsonValue] = {"workspace": "other", "epoch": 1, "root": str(machine.workspace), "linger_s": 60}
    machine.ask(({"op": "info"}, b""), config={**other, "outside_only": False})
    assert list(machine.state.glob("mark-*")) == []
    assert not Path(f"/proc/{before}").exists() or Path(f"/proc/{before}/stat").read_text().split()[2] == "Z"


INFO: tuple[Mapping[str, JsonValue], bytes] = ({"op": "info"}, b"")
NAP: tuple[Mapping[str, JsonValue], bytes] = ({"op": "run", "command": "echo here; sleep 617", "wait_s": 0}, b"")


def test_an_older_supervisor_that_nobody_needs_is_replaced_where_a_server_opens_its_sandbox(machine: Machine) -> None:
    earlier = machine.archive.name
    machine.ask(INFO)
    machine.upgrade()
    assert machine.code() == earlier, "in the middle of its work no server changes it"
    assert start_of(machine.ask(INFO, renews=True)) == 2
    assert machine.code() == machine.archive.name


def test_of_two_versions_that_are_used_in_turns_the_later_one_stays(machine: Machine) -> None:
    earlier = machine.archive
    machine.ask(INFO)
    machine.upgrade()
    machine.ask(INFO, renews=True)
    later, machine.archive = machine.archive, earlier
    assert start_of(machine.ask(INFO, renews=True)) == 2
    assert machine.code() == later.name


def test_an_older_supervisor_is_used_as_long_as_it_has_a_process_or_its_log(machine: Machine) -> None:
    earlier = machine.archive.name
    machine.ask(NAP)
    machine.upgrade()
    machine.ask(INFO, renews=True)
    assert machine.code() == earlier
    machine.ask(({"op": "stop", "process": "1", "grace_s": 0}, b""))
    assert machine.ask(INFO, ({"op": "output", "process": "1", "offset": 0, "limit": 9}, b""), renews=True)[
        -1
    ].data == (b"here\n")
    assert machine.code() == earlier, "what it ran has ended a moment ago"
    machine.upgrade(KEPT_S="0.0")
    assert start_of(machine.ask(INFO, renews=True)) == 2
    assert machine.code() == machine.archive.name


def test_one_that_is_not_understood_is_replaced_at_once_and_what_it_ran_is_known_as_lost(machine: Machine) -> None:
    machine.ask(NAP)
    earlier = machine.archive
    machine.upgrade(PROTOCOL="9")
    frames = machine.ask(({"op": "output", "process": "1", "offset": 0, "limit": 9}, b""), expected=1)
    assert (start_of(frames), len(frames)) == (2, 1), "one of another start is asked nothing"
    later, machine.archive = machine.archive, earlier
    (refusal,) = machine.ask(INFO)
    assert "later version" in refusal.fields.text("failed")
    machine.archive = later


def test_a_supervisor_that_has_no_room_is_waited_for_and_no_other_is_started(machine: Machine) -> None:
    before = machine.supervisor()
    with ExitStack() as held, ThreadPoolExecutor() as threads:
        folder = os.open(machine.state, os.O_RDONLY)
        held.callback(os.close, folder)
        for _ in range(2 * MAX_CONNECTIONS):
            one = held.enter_context(socket.socket(socket.AF_UNIX))
            one.connect(f"/proc/self/fd/{folder}/supervisor.sock")
        began = time.monotonic()
        answer = threads.submit(machine.supervisor)
        until(lambda: answer.done() or time.monotonic() - began > 1, within_s=10)
        held.close()
        assert answer.result(timeout=30) == before
