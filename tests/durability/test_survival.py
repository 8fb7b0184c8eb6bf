"""What survives what: each event happens to a workspace at work, and what is left is compared with the table.

`docs/durability.md` shows the same table; a test of the documents compares both.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.durability.machine import a_machine, in_time, run
from tests.durability.scene import COLUMNS, EVENTS, happens
from tests.e2e.stdio_client import LIMIT_S, PROGRAM

__all__ = ["LEFT"]

LEFT: Mapping[str, tuple[str, ...]] = {
    "client closed": ("stay", "stay", "stay", "goes on", "ends, listed", "stays", "stays"),
    "server killed": ("stay", "stay", "stay", "goes on", "ends, listed", "stays", "stays"),
    "sandbox killed": ("stay", "stay", "stay", "ends, told", "ends, told", "the same once served again", "stays"),
    "sandbox destroyed": (
        *("come back", "come back", "lost, told how to repeat", "ends, told", "ends, told"),
        *("the same once served again", "stays"),
    ),
    "laptop slept": ("stay", "stay", "stay", "goes on", "goes on", "stays", "stays"),
    "machine rebooted": ("stay", "stay", "stay", "ends", "ends", "the same once served again", "stays"),
    "store lost": ("lost", "lost", "lost", "ends", "ends", "lost", "lost"),
}
"""By event, in the order of the columns."""


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Mapping[str, str]]:
    """What was left after each event that already happened: one serves the tests of a whole row."""
    return {}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("event", EVENTS)
def test_what_is_left(happened: dict[str, Mapping[str, str]], tmp_path: Path, event: str, column: str) -> None:
    if event not in happened:
        happened[event] = happens(event, tmp_path)
    assert happened[event][column] == dict(zip(COLUMNS, LEFT[event], strict=True))[column]


def test_a_command_past_its_wait_outlives_the_server_as_a_dev_server_does(tmp_path: Path) -> None:
    with a_machine(tmp_path) as machine:
        with machine.server() as first:
            line = "until [ -e go ]; do sleep 0.05; done; echo arrived"
            begun = first.call("execute_command", command=line, wait=0.2)
            assert begun.facts["state"] == "running"
            first.process.kill()
        with machine.server() as second:
            second.call("write_to_file", path="go", content="")
            ended = second.call("check_process", process_id=begun.facts["process_id"], wait=30)
            assert (ended.facts["state"], ended.facts["exit_code"]) == ("exited", 0)
            assert "arrived" in ended.text


def test_what_a_command_wrote_before_its_server_was_killed_comes_into_the_mirror_with_the_next_server(
    tmp_path: Path,
) -> None:
    with a_machine(tmp_path) as machine:
        with machine.server() as first:
            first.call("execute_command", command="echo late > late.txt")
            first.process.kill()
        with machine.server() as second:
            second.call("open_workspace", name="default")
            in_time(lambda: machine.stored().get("late.txt") == b"late\n")


def test_a_lost_store_leaves_the_files_on_the_disk_and_doctor_names_their_sandbox(tmp_path: Path) -> None:
    with a_machine(tmp_path) as machine:
        with machine.server() as server:
            run(server, "echo precious > file.txt")
            folder, files = machine.folder(), machine.files()
            server.end_input()
            server.wait()
        for path in machine.data_dir.glob(f"{machine.store_file.name}*"):
            path.unlink()
        assert (files / "file.txt").read_text(encoding="utf-8") == "precious\n"
        said = doctor(machine.environment)
        assert folder.name in said


def doctor(environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [*PROGRAM, "doctor", "--json"], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    return json.dumps(json.loads(done.stdout))
