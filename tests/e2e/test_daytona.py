"""The main job with sandboxes of Daytona's, from the real server to an emulator of the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.sandboxes import no_phase
from tests.durability.machine import WORKSPACE, Machine
from tests.e2e.judging import assert_refused
from tests.e2e.npm_clients import inspect, installed
from tests.e2e.places import DaytonaPlace, daytona_settings, fetch
from tests.e2e.stdio_client import FACTS, StdioServer
from tests.e2e.terminal import run_program, surroundings
from tests.emulators.daytona.emulator import Emulator, start_emulator
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig, own_store_id
from vaporform_mcp.sandboxes.daytona.provider import open_daytona
from vaporform_mcp.types import Spec


@pytest.fixture(scope="module")
def emulator(namespaces: None) -> Iterator[Emulator]:
    started = start_emulator()
    yield started
    started.stop()


@pytest.fixture
def environment(emulator: Emulator, tmp_path: Path) -> dict[str, str]:
    return surroundings(tmp_path, **daytona_settings(emulator))


def left_over(emulator: Emulator) -> list[str]:
    """The names of the sandboxes that the service still has."""
    _, listed = fetch(f"{emulator.api_url}/sandbox", {"Authorization": f"Bearer {emulator.key}"})
    items = json.loads(listed)["items"]
    return [each["name"] for each in items if each["state"] not in {"destroying", "destroyed"}]


def test_the_main_job_goes_as_it_should_and_leaves_no_sandbox_behind(
    emulator: Emulator, environment: dict[str, str]
) -> None:
    done = run_program(environment, "demo")
    assert done.returncode == 0, done.stdout
    assert "anyone with the URL" in " ".join(done.stdout.split())
    assert left_over(emulator) == []
    assert emulator.key not in done.stdout


async def test_what_runs_is_shown_and_stopped_and_what_no_workspace_has_is_told(
    emulator: Emulator, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    config = DaytonaConfig(api_key=emulator.key, api_url=emulator.api_url, store_id=own_store_id(tmp_path / "data"))
    async with open_daytona(config) as provider:
        await provider.acquire(Spec(provider="daytona"), "nobodys", 1, no_phase)
        try:
            assert "running" in run_program(environment, "ps").stdout
            report = json.loads(run_program(environment, "doctor", "--json").stdout)
            (check,) = [each for each in report["checks"] if each["name"] == "sandboxes"]
            assert check["finding"] == "1 running, 1 left over"
            assert "Its files stay" in run_program(environment, "stop", "vaporform-nobodys-1").stdout
            assert run_program(environment, "ps").stdout.strip() == "No sandbox runs."
        finally:
            await provider.destroy("nobodys", 1)


@pytest.mark.timeout(420)  # it may have to install the client
def test_a_client_that_others_wrote_works_in_a_sandbox_there(emulator: Emulator, environment: dict[str, str]) -> None:
    """The MCP Inspector's command line, which starts the server for each call."""
    place = DaytonaPlace(Machine(environment=environment), emulator)
    words = ["--method", "tools/call", "--tool-name", "execute_command", "--tool-arg"]
    try:
        called = inspect(installed(), environment, *words, "command=echo from $((40 + 2)) > note; cat note")
        assert called["_meta"][FACTS]["exit_code"] == 0
        assert "from 42" in called["content"][0]["text"]
        assert place.read(WORKSPACE, "note") == b"from 42\n"
    finally:
        run_program(environment, "stop", "--all")


def test_a_machine_is_saved_by_the_tool_and_shown_and_deleted_by_whoever_agrees(
    emulator: Emulator, environment: dict[str, str]
) -> None:
    emulator.reset()
    with StdioServer({**environment, "VAPORFORM_TOOLS": "all"}) as server:
        server.call("write_to_file", workspace="shop", path="a.txt", content="one")
        saved = server.call("snapshots", action="save", name="shop-base", workspace="shop")
        assert saved.facts["state"] == "active", saved.text
        assert 'open_workspace(name=…, snapshot="shop-base")' in saved.text
        opened = server.call("open_workspace", name="copy", snapshot="shop-base")
        assert opened.facts["state"] == "ready", opened.text
        assert server.call("read_file", workspace="copy", path="a.txt").text.startswith("one")
        listed = server.call("snapshots").facts["snapshots"]
        assert [(each["name"], each["state"], each.get("saved_from")) for each in listed] == [
            ("shop-base", "active", "shop"),
            ("daytona-small", "active", None),
        ]
        asked = server.call("snapshots", action="delete", name="shop-base")
        assert not asked.facts["deleted"]
        assert "confirm=true" in asked.text
        for bad, code in (
            ({"action": "save"}, "invalid_argument"),
            ({"action": "save", "name": "a/b"}, "invalid_argument"),
            ({"action": "save", "name": "shop-base", "workspace": "shop"}, "conflict"),
            ({"action": "delete", "name": "shop-bas", "confirm": True}, "not_found"),
            ({"action": "delete", "name": "shop-base", "force": True}, "invalid_argument"),
        ):
            assert_refused(server.call("snapshots", **bad), code, emulator.key)
    told = run_program(environment, "snapshots", "delete", "shop-base")
    assert (told.returncode, "saved from shop" in told.stdout, "--yes" in told.stdout) == (1, True, True)
    assert "Saved shop as later." in run_program(environment, "snapshots", "save", "shop", "later").stdout
    assert run_program(environment, "snapshots", "delete", "shop-base", "--yes").stdout == "Deleted shop-base.\n"
    shown = json.loads(run_program(environment, "snapshots", "--json").stdout)
    assert [each["name"] for each in shown] == ["later", "daytona-small"]
    there_are_none = run_program({**environment, "VAPORFORM_SANDBOX": "local"}, "snapshots")
    assert there_are_none.returncode == 1
    assert "checkpoint" in there_are_none.stdout
