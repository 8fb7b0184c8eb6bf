"""The command line as people and clients meet it: the installed program, its output and its exit status."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from vaporform_mcp import __version__
from vaporform_mcp.cli import build_parser

PROGRAM = (sys.executable, "-m", "vaporform_mcp")
DENYING = Path(__file__).parents[1] / "security" / "denying.py"
LIMIT_S = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment whose data folder and home are the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "VAPORFORM_DATA_DIR": str(tmp_path / "data")}


def run(environment: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


ON_WINDOWS = """
import sys
sys.platform = "win32"
sys.modules["fcntl"] = sys.modules["resource"] = None  # which Windows does not have
from vaporform_mcp.cli import main
sys.exit(main([]))
"""


def test_on_windows_the_server_says_that_it_runs_in_wsl_and_how(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_WINDOWS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "`-- vaporform-mcp`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [(), ("workspaces",)], ids=["server", "command"])
def test_options_of_the_database_that_would_be_passed_over_are_named_at_the_start(
    environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    uri = "mongodb://ada:secret@127.0.0.1:1/?retryWrite=true&maxPoolSize=many&w=majority"
    done = run({**environment, "VAPORFORM_STORE": "mongo", "MONGODB_URI": uri}, *arguments)
    assert done.returncode == (1 if arguments else 2)
    assert "retryWrite, maxPoolSize" in done.stderr
    assert "VAPORFORM_MONGO__URI" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


async def arun(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return await anyio.to_thread.run_sync(lambda: run(environment, *arguments))


@asynccontextmanager
async def client(environment: dict[str, str], **settings: str) -> AsyncGenerator[Client]:
    server = StdioServerParameters(
        command=PROGRAM[0], args=list(PROGRAM[1:]), env={**environment, "VAPORFORM_LOCAL__LINGER_S": "60", **settings}
    )
    async with Client(stdio_client(server)) as connected:
        yield connected


async def call(connected: Client, tool: str, **arguments: object) -> str:
    result = await connected.call_tool(tool, arguments, read_timeout_seconds=LIMIT_S)
    assert not result.is_error, result.content
    return result.model_dump_json()


def test_the_version_is_told_without_loading_anything_else(environment: dict[str, str]) -> None:
    done = run(environment, "--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"vaporform-mcp {__version__}")
    probe = (
        "import sys\nfrom vaporform_mcp.cli import main\n"
        "try: main(['--version'])\nexcept SystemExit: pass\n"
        "sys.exit(bool({'mcp', 'pydantic', 'anyio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", probe], timeout=LIMIT_S, check=False).returncode == 0


def test_help_names_every_command() -> None:
    text = build_parser().format_help()
    for command in (
        "demo",
        "doctor",
        "ps",
        "stop",
        "workspaces",
        "undelete",
        "history",
        "diff",
        "export",
        "import",
        "verify",
        "prune",
    ):
        assert re.search(rf"^ +{command} ", text, re.MULTILINE)


@pytest.mark.parametrize("arguments", [["nonsense"], ["stop"], ["stop", "a", "--all"], ["undelete"], ["ps", "--xml"]])
def test_wrong_arguments_end_with_status_2_and_say_how_it_is_called(
    environment: dict[str, str], arguments: list[str]
) -> None:
    done = run(environment, *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["demo", "ps", "workspaces"])
def test_faulty_settings_end_every_command_with_status_2(environment: dict[str, str], command: str) -> None:
    done = run({**environment, "VAPORFORM_STORE": "mongo"}, command)
    assert done.returncode == 2
    assert "VAPORFORM_STORE" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_server_ends_cleanly_when_its_input_ends_and_writes_nothing_that_is_not_protocol(
    environment: dict[str, str],
) -> None:
    done = run(environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_network_rule_that_is_none_keeps_the_server_from_starting(environment: dict[str, str]) -> None:
    done = run({**environment, "VAPORFORM_LOCAL__EGRESS_PRIVATE": "10.0.0.0/99"})
    assert (done.returncode, done.stdout) == (2, "")
    assert "VAPORFORM_LOCAL__EGRESS_PRIVATE" in done.stderr
    assert "Traceback" not in done.stderr


def test_started_by_hand_it_says_on_stderr_what_it_is_and_how_a_client_is_configured(
    environment: dict[str, str],
) -> None:
    ours, theirs = pty.openpty()
    try:
        server = subprocess.Popen(
            PROGRAM, env=environment, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        os.close(theirs)
        assert server.stderr is not None
        said = read_until(server.stderr.fileno(), "Ctrl-C ends this")
        assert "MCP server" in said
        assert '"mcpServers"' in said
        # It serves all the same, so that a message can be pasted in.
        os.write(ours, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        assert server.stdout is not None
        assert '"jsonrpc"' in read_until(server.stdout.fileno(), "\n")
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=LIMIT_S) == 0
        server.stdout.close()
        server.stderr.close()
    finally:
        os.close(ours)


def read_until(descriptor: int, end: str) -> str:
    """What comes, up to `end`."""
    said = ""
    deadline = time.monotonic() + LIMIT_S
    while end not in said:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"not said in time: {end!r}, but {said!r}"
        read = os.read(descriptor, 65536).decode()
        assert read, f"ended before {end!r}: {said!r}"
        said += read
    return said


def test_ps_stop_and_workspaces_say_so_where_there_is_nothing(environment: dict[str, str]) -> None:
    assert run(environment, "ps").stdout == "No sandbox runs.\n"
    assert run(environment, "ps", "--json").stdout.strip() == "[]"
    assert run(environment, "stop", "--all").returncode == 0
    assert run(environment, "workspaces").stdout == "There is no workspace yet.\n"


def test_what_is_not_there_is_named_with_status_1(environment: dict[str, str]) -> None:
    stopped = run(environment, "stop", "todo")
    assert (stopped.returncode, stopped.stdout) == (1, "No sandbox of todo runs.\n")
    undeleted = run(environment, "undelete", "todo")
    assert undeleted.returncode == 1
    assert "no workspace todo in the trash" in undeleted.stderr
    misnamed = run(environment, "undelete", "No Name")
    assert misnamed.returncode == 1
    assert "lowercase letters" in misnamed.stderr


async def test_ps_shows_a_sandbox_with_its_servers_and_stop_ends_it_and_keeps_its_files(
    environment: dict[str, str],
) -> None:
    async with client(environment) as connected:
        await call(connected, "write_to_file", path="kept.txt", content="kept", workspace="todo")
        await call(connected, "execute_command", command="sleep 600", wait=1, workspace="todo")
        (listed,) = json.loads((await arun(environment, "ps", "--json")).stdout)
        assert (listed["workspace"], listed["state"], listed["servers"]) == ("todo", "running", 1)
        assert listed["processes"] >= 1
        shown = (await arun(environment, "ps")).stdout.splitlines()
        assert shown[0].split()[:2] == ["WORKSPACE", "STATE"]
        assert shown[1].split()[:3] == ["todo", "running", "1"]
        stopped = await arun(environment, "stop", "todo")
        assert (stopped.returncode, stopped.stdout) == (0, "Ended the sandbox of todo. Its files stay.\n")
        assert (await arun(environment, "ps")).stdout == "No sandbox runs.\n"
        assert "kept" in await call(connected, "read_file", path="kept.txt", workspace="todo")
        assert (await arun(environment, "stop", "--all")).returncode == 0


async def test_a_sandbox_outlives_its_server_until_it_is_stopped(environment: dict[str, str]) -> None:
    async with client(environment) as connected:
        await call(connected, "execute_command", command="true", workspace="todo")
    (listed,) = json.loads((await arun(environment, "ps", "--json")).stdout)
    assert (listed["workspace"], listed["servers"]) == ("todo", 0)
    assert (await arun(environment, "stop", "--all")).returncode == 0
    assert (await arun(environment, "ps")).stdout == "No sandbox runs.\n"


async def test_undelete_takes_a_deleted_workspace_out_of_the_trash(environment: dict[str, str]) -> None:
    async with client(environment, VAPORFORM_TOOLS="all") as connected:
        await call(connected, "write_to_file", path="kept.txt", content="kept", workspace="todo")
        await call(connected, "delete_workspace", name="todo", confirm=True)
    (listed,) = json.loads((await arun(environment, "workspaces", "--json")).stdout)
    assert (listed["name"], listed["state"]) == ("todo", "deleted")
    undeleted = await arun(environment, "undelete", "todo")
    assert undeleted.returncode == 0
    assert undeleted.stdout.startswith("todo is back: 1 files")
    async with client(environment) as connected:
        assert "kept" in await call(connected, "read_file", path="kept.txt", workspace="todo")
    await arun(environment, "stop", "--all")


def test_doctor_says_that_an_agent_can_work_here(environment: dict[str, str]) -> None:
    done = run(environment, "doctor", "--json")
    report = json.loads(done.stdout)
    assert report["usable"], done.stdout
    assert done.returncode == 0
    checks = {check["name"]: check for check in report["checks"]}
    assert set(checks) == {"versions", "isolation", "network", "toolchains", "store", "disk", "sandboxes"}
    assert any("bubblewrap" in detail for detail in checks["isolation"]["details"])
    assert any(str(environment["VAPORFORM_DATA_DIR"]) in detail for detail in checks["store"]["details"])
    assert checks["sandboxes"]["finding"] == "0 running, 0 left over"  # its own trial is gone again


def test_doctor_says_which_level_it_is_and_what_that_leaves_open(environment: dict[str, str]) -> None:
    done = run({**environment, "VAPORFORM_LOCAL__ISOLATION": "restricted"}, "doctor", "--json")
    assert done.returncode == 0, done.stdout
    (isolation,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "isolation"]
    assert (isolation["state"], isolation["mend"]) == ("ok", [])  # it is what was asked for
    assert isolation["finding"] == "restricted, since the settings ask for no more"
    assert any("not isolated: paths are this machine's own" in detail for detail in isolation["details"])


def test_where_namespaces_are_denied_doctor_says_why_and_how_they_are_allowed(environment: dict[str, str]) -> None:
    how = "container" if os.geteuid() == 0 else "user"
    done = subprocess.run(
        [sys.executable, DENYING, how, *PROGRAM, "doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (isolation,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "isolation"]
    assert isolation["state"] == "warning"
    assert "sandboxes are restricted rather than isolated by namespaces" in done.stderr  # the log
    assert isolation["finding"].startswith(
        "restricted, since this system does not let ordinary programs make namespaces"
    )
    assert isolation["mend"]


def test_doctor_for_people_names_each_check_and_ends_with_the_verdict(environment: dict[str, str]) -> None:
    done = run(environment, "doctor")
    assert done.returncode == 0
    assert done.stdout.rstrip().endswith("An agent can work here.")
    assert "\x1b" not in done.stdout
    for name in ("versions", "isolation", "network", "toolchains", "store", "disk", "sandboxes"):
        assert re.search(rf"^  (ok|!!)  {name} ", done.stdout, re.MULTILINE)


def test_doctor_fails_with_the_mend_where_the_data_folder_cannot_be_used(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    done = run({**environment, "VAPORFORM_DATA_DIR": str(tmp_path / "file" / "data")}, "doctor", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["usable"] is False
    (store,) = [check for check in report["checks"] if check["name"] == "store"]
    assert store["state"] == "failed"
    assert "VAPORFORM_DATA_DIR" in " ".join(store["mend"])


def test_doctor_names_faulty_settings_as_a_failed_check(environment: dict[str, str]) -> None:
    done = run({**environment, "VAPORFORM_LOCAL__NETWORK": "lan"}, "doctor", "--json")
    assert done.returncode == 2
    (check,) = json.loads(done.stdout)["checks"]
    assert (check["name"], check["state"]) == ("settings", "failed")
    assert "VAPORFORM_LOCAL__NETWORK" in check["details"][0]


async def test_doctor_finds_a_sandbox_that_no_workspace_has_and_says_how_it_goes(environment: dict[str, str]) -> None:
    async with client(environment) as connected:
        await call(connected, "execute_command", command="true", workspace="todo")
    await arun(environment, "stop", "--all")
    (folder,) = (Path(environment["VAPORFORM_DATA_DIR"]) / "sandboxes").iterdir()
    stray = folder.rename(folder.with_name("0123456789abcdef-1"))
    elsewhere = stray / "elsewhere"
    places = [stray, elsewhere.readlink()] if elsewhere.is_symlink() else [stray]
    report = json.loads((await arun(environment, "doctor", "--json")).stdout)
    (check,) = [check for check in report["checks"] if check["name"] == "sandboxes"]
    assert (check["state"], check["finding"]) == ("warning", "0 running, 1 left over")
    assert check["mend"] == [f"rm -rf '{place}'" for place in places]
    assert report["usable"]
