"""One session at the real service, through the real server: made, written, run, mirrored, seen, completed, deleted."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import anyio
import pytest

from tests.durability.machine import Machine, run
from tests.e2e.places import fetch
from tests.e2e.stdio_client import Result, StdioServer, environment_in
from tests.live.account import API_URL, KEY, TARGET, remove_all
from vaporform_mcp.sandboxes.daytona.config import own_store_id

PORT = 8123
SERVE = f"python3 -m http.server {PORT}"


@pytest.fixture
def machine(account: None, tmp_path: Path) -> Machine:
    small = {"AUTO_STOP_MIN": "5", "AUTO_DELETE_MIN": "30", "TTL_MIN": "60", "MAX_RUNNING": "1"}
    return Machine(
        environment=environment_in(
            tmp_path,
            VAPORFORM_SANDBOX="daytona",
            VAPORFORM_TOOLS="all",
            VAPORFORM_DAYTONA__API_URL=API_URL,
            VAPORFORM_DAYTONA__TARGET=TARGET,
            DAYTONA_API_KEY=KEY,
            **{f"VAPORFORM_DAYTONA__{name}": value for name, value in small.items()},
        )
    )


@pytest.mark.timeout(300)
def test_a_session_from_a_new_workspace_to_its_deletion(machine: Machine) -> None:
    try:
        with machine.server() as server:
            _play(machine, server)
    finally:
        machine.data_dir.mkdir(exist_ok=True)
        left = anyio.run(partial(remove_all, own_store_id(machine.data_dir)))
    assert left == []


def _play(machine: Machine, server: StdioServer) -> None:
    opened = _opened(server)
    assert opened.facts["isolation"] == "daytona"
    began = time.monotonic()
    written = server.call("write_to_file", path="index.html", content="<h1>hello</h1>")
    assert written.facts["mirrored"] is True
    assert "hello" in run(server, "cat index.html; echo made > made.txt").text
    served = server.call("execute_command", command=SERVE, background=True)
    preview = server.call("get_preview_url", port=PORT)
    assert served.facts["state"] == "running"
    assert preview.facts["public"] is True
    skipped = {"X-Daytona-Skip-Preview-Warning": "true"}
    assert b"<h1>hello</h1>" in fetch(preview.facts["url"], skipped)[1]
    completed = server.call("attempt_completion", result="A page.", command=SERVE)
    assert (completed.facts["mirrored"], completed.facts["files_total"]) == (True, 2)
    assert [each["status"] for each in completed.facts["previews"]] == [200]
    assert machine.stored() == {"index.html": b"<h1>hello</h1>", "made.txt": b"made\n"}
    assert server.call("delete_workspace", name="default", confirm=True).facts["deleted"] is True
    assert time.monotonic() - began < 240


def _opened(server: StdioServer) -> Result:
    """Ready, also where that takes longer than a call may."""
    for _ in range(4):
        opened = server.call("open_workspace", name="default")
        assert not opened.is_error, opened.text
        if opened.facts["state"] == "ready":
            return opened
    pytest.fail("it is not ready in time")
