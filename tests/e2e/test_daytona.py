"""The main job with sandboxes of Daytona's, from the real server to an emulator of the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.sandboxes import no_phase
from tests.e2e.judging import assert_refused
from tests.e2e.stdio_client import StdioServer
from tests.emulators.daytona.emulator import Emulator, start_emulator
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig, own_store_id
from vaporform_mcp.sandboxes.daytona.provider import open_daytona
from vaporform_mcp.types import Spec

LIMIT_S = 200.0


@pytest.fixture(scope="module")
def emulator(namespaces: None) -> Iterator[Emulator]:
    started = start_emulator()
    yield started
    started.stop()


@pytest.fixture
def environment(emulator: Emulator, tmp_path: Path) -> dict[str, str]:
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "VAPORFORM_DATA_DIR": str(tmp_path / "data"),
        "VAPORFORM_SANDBOX": "daytona",
        "VAPORFORM_DAYTONA__API_URL": emulator.api_url,
        "DAYTONA_API_KEY": emulator.key,
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vaporform_mcp", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def left_over(emulator: Emulator) -> list[str]:
    """The names of the sandboxes that the service still has."""
    headers = {"Authorization": f"Bearer {emulator.key}"}
    request = urllib.request.Request(f"{emulator.api_url}/sandbox", headers=headers)  # noqa: S310  # ours
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=20) as answer:
        return [each["name"] for each in json.load(answer)["items"] if each["state"] not in {"destroying", "destroyed"}]


def test_the_main_job_goes_as_it_should_and_leaves_no_sandbox_behind(
    emulator: Emulator, environment: dict[str, str]
) -> None:
    done = run(environment, "demo")
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
            assert "running" in run(environment, "ps").stdout
            report = json.loads(run(environment, "doctor", "--json").stdout)
            (check,) = [each for each in report["checks"] if each["name"] == "sandboxes"]
            assert check["finding"] == "1 running, 1 left over"
            assert "Its files stay" in run(environment, "stop", "--all").stdout
            assert run(environment, "ps").stdout.strip() == "No sandbox runs."
        finally:
            await provider.destroy("nobodys", 1)


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
    told = run(environment, "snapshots", "delete", "shop-base")
    assert (told.returncode, "saved from shop" in told.stdout, "--yes" in told.stdout) == (1, True, True)
    assert "Saved shop as later." in run(environment, "snapshots", "save", "shop", "later").stdout
    assert run(environment, "snapshots", "delete", "shop-base", "--yes").stdout == "Deleted shop-base.\n"
    shown = json.loads(run(environment, "snapshots", "--json").stdout)
    assert [each["name"] for each in shown] == ["later", "daytona-small"]
    there_are_none = run({**environment, "VAPORFORM_SANDBOX": "local"}, "snapshots")
    assert there_are_none.returncode == 1
    assert "checkpoint" in there_are_none.stdout
