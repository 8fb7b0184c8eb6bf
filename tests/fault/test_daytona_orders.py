"""What a Daytona sandbox is asked for is sent and in force, and an order that cannot be met leaves nothing behind."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.sandboxes import daytona_config, emulator, until
from tests.fault.daytona import NAME, open_scene, say
from vaporform_mcp.errors import InvalidArgument, LimitReached, NotFound, NotSupported, VaporformError
from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager import OpenRequest, open_manager
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.provider import open_daytona
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.types import Resources, Spec, WorkspaceName

pytestmark = pytest.mark.usefixtures("namespaces")

OWNER, WAIT_S = "local", 30.0

Refused = Callable[[type[VaporformError], str, OpenRequest], Awaitable[VaporformError]]


def shown(path: str = "") -> dict[str, Any]:
    """What the service has of its sandboxes, or of one."""
    service = emulator()
    request = urllib.request.Request(  # noqa: S310  # ours
        f"{service.api_url}/sandbox{path}", headers={"Authorization": f"Bearer {service.key}"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


# What is asked for -------------------------------------------------------------------------------------------------


async def test_everything_that_is_set_is_sent() -> None:
    settings: dict[str, object] = {
        "target": "eu",
        "public": False,
        "auto_stop_min": 7,
        "auto_archive_min": 60,
        "auto_delete_min": 120,
        "ttl_min": 600,
        "network_allow": ("10.0.0.0/8", "192.168.0.0/16", "example.org", "*.example.net"),
        "resources": Resources(cpu=2, memory_gb=4, disk_gb=8),
    }
    async with open_scene(**settings) as scene:  # pyright: ignore[reportArgumentType]  # fields of the configuration
        spec = Spec(
            provider="daytona", image="python:3.12", env={"GREETING": "hello there"}, resources=Resources(cpu=1)
        )
        sandbox = await scene.acquire(spec)
        found = shown(f"/{NAME}")
        assert {name: found.get(name) for name in ("target", "public", "cpu", "memory", "disk", "networkBlockAll")} == {
            "target": "eu",
            "public": False,
            "cpu": 1,  # of the workspace; what it leaves open is of the settings
            "memory": 4,
            "disk": 8,
            "networkBlockAll": False,
        }
        assert [found[f"auto{each}Interval"] for each in ("Stop", "Archive", "Delete")] == [7, 60, 120]
        assert found["autoDestroyAt"]
        assert found["networkAllowList"] == "10.0.0.0/8,192.168.0.0/16"
        assert found["domainAllowList"] == "example.org,*.example.net"
        assert await say(sandbox, 'echo "$GREETING"') == "hello there"
        assert not (await sandbox.preview(8000)).public


async def test_by_default_it_is_public_and_each_of_its_ends_is_finite() -> None:
    async with open_scene() as scene:
        sandbox = await scene.acquire(Spec(provider="daytona", public=True))
        found = shown(f"/{NAME}")
        assert (found["public"], (await sandbox.preview(8000)).public) == (True, True)
        assert all(found[f"auto{each}Interval"] > 0 for each in ("Stop", "Archive", "Delete"))
        assert "networkAllowList" not in found


async def test_it_sleeps_is_archived_and_is_deleted_when_the_settings_say_so() -> None:
    async with open_scene(auto_stop_min=7, auto_archive_min=60, auto_delete_min=120) as scene:
        await scene.acquire()
        for minutes, expected in ((5, "started"), (3, "stopped"), (61, "archived")):
            scene.service.advance(60 * minutes)
            await until(lambda expected=expected: _is(expected))
        scene.service.advance(60 * 61)
        await until(lambda: _is(None))


async def test_an_ephemeral_one_goes_as_soon_as_it_would_sleep_and_none_outlives_its_time() -> None:
    async with open_scene(ephemeral=True, auto_stop_min=7) as scene:
        await scene.acquire()
        scene.service.advance(60 * 8)
        await until(lambda: _is(None))
    async with open_scene(ttl_min=30, auto_stop_min=0) as scene:
        await scene.acquire()
        scene.service.advance(60 * 29)
        assert await _is("started")
        scene.service.advance(60 * 2)
        await until(lambda: _is(None))


async def test_a_network_that_is_blocked_or_narrowed_is_so_inside() -> None:
    ask = "curl -s -o /dev/null -w '%{http_code}' -m 10 http://allowed.test/ || true"
    other = ask.replace("allowed", "other")
    served = emulator().url.partition("//")[2]  # anything that answers
    orders: list[tuple[dict[str, object], list[bool]]] = [
        ({"network": "none"}, [False, False]),
        ({"network_allow": ("allowed.test",)}, [True, False]),
    ]
    for settings, expected in orders:
        async with open_scene(**settings) as scene:  # pyright: ignore[reportArgumentType]  # fields of the configuration
            scene.service.settings(hosts={"allowed.test": served, "other.test": served})
            sandbox = await scene.acquire()
            got = [await say(sandbox, each) for each in (ask, other)]
            # The way out refuses with 403, or without an answer.
            assert [each not in {"000", "403", "502"} for each in got] == expected, got


async def _is(state: str | None) -> bool:
    """None: there is none of that name."""
    found = [each["state"] for each in shown()["items"] if each["name"] == NAME]
    return (found or [None])[0] == state


# What cannot be had ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def workspaces(folder: Path, **settings: object) -> AsyncGenerator[Refused]:
    """Asks for a workspace; nothing is left of one that is refused, neither at the service nor in the store."""
    service = emulator()
    service.reset()
    config: DaytonaConfig = replace(daytona_config(store_id=folder.name), **settings)  # pyright: ignore[reportArgumentType]  # its fields
    async with (
        open_sqlite(folder / "vaporform.sqlite3") as store,
        open_daytona(config) as provider,
        open_manager(
            store, provider, lambda name: HostLock(folder / "locks" / name), Spec(provider="daytona")
        ) as manager,
    ):

        async def refused(kind: type[VaporformError], said: str, asked: OpenRequest) -> VaporformError:
            with pytest.raises(kind, match=said) as told:
                await manager.open(OWNER, WorkspaceName("shop"), asked, wait_s=WAIT_S)
            assert told.value.hint
            assert await store.list_workspaces(OWNER) == []
            assert await store.list_workspaces(OWNER, deleted=True) == []
            assert [each["name"] for each in shown()["items"] if each["state"] not in {"destroying", "destroyed"}] == []
            return told.value

        yield refused


async def test_both_image_and_snapshot(tmp_path: Path) -> None:
    async with workspaces(tmp_path) as refused:
        await refused(InvalidArgument, "both", OpenRequest(image="python:3.12", snapshot="warm"))


async def test_unknown_snapshot(tmp_path: Path) -> None:
    async with workspaces(tmp_path) as refused:
        error = await refused(NotFound, "no snapshot daytona-smal", OpenRequest(snapshot="daytona-smal"))
        assert error.hint == "Did you mean daytona-small?"


async def test_resources_on_a_snapshot(tmp_path: Path) -> None:
    async with workspaces(tmp_path, snapshot="daytona-small") as refused:
        await refused(InvalidArgument, "resources", OpenRequest(snapshot="daytona-small", resources=Resources(cpu=2)))
        await refused(
            InvalidArgument, "resources", OpenRequest(resources=Resources(disk_gb=5))
        )  # where the settings name one


async def test_impossible_resources(tmp_path: Path) -> None:
    async with workspaces(tmp_path, resources=Resources(disk_gb=8)) as refused:
        for asked in (Resources(cpu=0), Resources(memory_gb=-1), Resources(cpu=4096)):
            await refused(InvalidArgument, "impossible", OpenRequest(image="python:3.12", resources=asked))
        error = await refused(
            LimitReached, "CPU request 5 exceeds", OpenRequest(image="python:3.12", resources=Resources(cpu=5))
        )
        assert "Ask for less" in error.hint
        error = await refused(
            NotSupported, "disk_gb 9 is more", OpenRequest(image="python:3.12", resources=Resources(disk_gb=9))
        )
        assert "VAPORFORM_DAYTONA__DISK_GB" in error.hint


async def test_an_image_that_is_a_snapshot_by_name(tmp_path: Path) -> None:
    async with workspaces(tmp_path) as refused:
        error = await refused(VaporformError, "pull access denied", OpenRequest(image="daytona-small"))
        assert "snapshot" in error.hint


async def test_a_git_url_that_does_not_exist_or_cannot_be_reached(tmp_path: Path) -> None:
    async with workspaces(tmp_path) as refused:
        error = await refused(VaporformError, "could not clone", OpenRequest(git_url="http://nowhere.invalid/a.git"))
        assert "open_workspace" in error.hint


async def test_an_unknown_region(tmp_path: Path) -> None:
    async with workspaces(tmp_path, target="moon") as refused:
        error = await refused(InvalidArgument, "Region moon is not available", OpenRequest())
        assert "VAPORFORM_DAYTONA__TARGET" in error.hint


async def test_a_label_that_is_too_long() -> None:
    """Labels of a sandbox are made of ids, which are as long as a workspace's may be."""
    async with open_scene() as scene:
        scene.service.forget_requests()
        with pytest.raises(InvalidArgument, match="not a workspace's id"):
            await scene.provider.acquire(Spec(provider="daytona"), "w" * 65, 1, lambda phase, percent: None)
        assert scene.service.requests() == []


async def test_more_than_may_run_are_told_with_those_to_stop(tmp_path: Path) -> None:
    async with open_scene(max_running=1, max_sandboxes=2) as scene:
        await scene.acquire(epoch=1)
        with pytest.raises(LimitReached, match="run already") as told:
            await scene.acquire(epoch=2)
        assert NAME in told.value.hint
        assert "MAX_RUNNING" in told.value.hint
    async with open_scene(afresh=False, max_running=5, max_sandboxes=1) as scene:
        with pytest.raises(LimitReached, match="exist already") as told:
            await scene.acquire(epoch=2)
        assert "MAX_SANDBOXES" in told.value.hint
        assert "Delete a workspace" in told.value.hint
        assert [each["name"] for each in shown()["items"]] == [NAME]
