"""How long a Daytona sandbox that is busy, starting or limited is waited for, and what is said where that is no use."""

from __future__ import annotations

import anyio
import pytest

from tests.contract.sandboxes import no_phase, until
from tests.fault.daytona import Scene, open_scene, say
from vaporform_mcp.errors import InvalidArgument, LimitReached, SandboxUnavailable
from vaporform_mcp.sandboxes.daytona.hand import MACHINE_PORTS
from vaporform_mcp.sandboxes.daytona.sandbox import DaytonaSandbox
from vaporform_mcp.types import Spec

pytestmark = pytest.mark.usefixtures("namespaces")

NO_ADDRESS = (
    '{"message": "failed to resolve container IP after 3 attempts: no IP address found. Is the Sandbox started?"}'
)


async def test_one_that_is_said_to_run_and_cannot_be_reached_yet_is_waited_for(
    scene: Scene, sandbox: DaytonaSandbox
) -> None:
    scene.service.fault("execute", times=5, status=400, body=NO_ADDRESS)
    assert await say(sandbox, "echo fine") == "fine"


async def test_one_that_is_never_reached_is_told_as_such_within_the_limit() -> None:
    async with open_scene(ready_s=2) as scene:
        sandbox = await scene.acquire()
        scene.service.fault("execute", times=None, status=400, body=NO_ADDRESS)
        with anyio.fail_after(20), pytest.raises(SandboxUnavailable, match="container IP"):
            await sandbox.scan()


async def test_a_look_that_fails_while_one_is_woken_is_told_with_what_to_do(
    scene: Scene, sandbox: DaytonaSandbox
) -> None:
    scene.service.happen(sandbox.sandbox_id, "stopped")
    scene.service.fault("get_sandbox", times=None, status=500)
    with pytest.raises(SandboxUnavailable) as told:
        await sandbox.scan()
    assert sandbox.sandbox_id in str(told.value)
    assert told.value.hint


async def test_a_recovery_that_is_refused_is_told_with_its_reason(scene: Scene, sandbox: DaytonaSandbox) -> None:
    scene.service.happen(sandbox.sandbox_id, "error", reason="the runner was restarted", recoverable=True)
    scene.service.fault("recover_sandbox", times=None, status=403, body='{"message": "your credit is depleted"}')
    with pytest.raises(SandboxUnavailable, match="could not recover the sandbox: your credit is depleted"):
        await sandbox.scan()


async def test_a_start_that_falls_back_is_asked_for_again(scene: Scene, sandbox: DaytonaSandbox) -> None:
    scene.service.settings(timings={"starting": 1.0})
    scene.service.happen(sandbox.sandbox_id, "stopped")
    results: list[str] = []

    async def call() -> None:
        results.append(await say(sandbox, "echo fine"))

    async def seen_starting() -> bool:
        routes = [each["route"] for each in scene.service.requests()]
        return "start_sandbox" in routes and "get_sandbox" in routes[routes.index("start_sandbox") :]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await until(seen_starting)
        scene.service.happen(sandbox.sandbox_id, "stopped")
    assert results == ["fine"]
    assert scene.asked("start_sandbox") == 2


async def test_a_deletion_waits_for_what_is_under_way(scene: Scene, sandbox: DaytonaSandbox) -> None:
    scene.service.fault("delete_sandbox", times=3, status=409, body='{"message": "state change in progress"}')
    await scene.provider.destroy("ws", 1)
    assert await scene.provider.find(Spec(provider="daytona"), "ws", 1, no_phase) is None


@pytest.mark.parametrize("route", ["get_sandbox", "execute"])
async def test_a_limit_that_lasts_too_long_is_told_at_once_with_its_time(
    scene: Scene, sandbox: DaytonaSandbox, route: str
) -> None:
    scene.service.happen(sandbox.sandbox_id, "stopped")
    scene.service.fault(route, times=None, status=429, headers={"retry-after-authenticated": "3600"})
    with anyio.fail_after(10), pytest.raises(LimitReached) as told:
        await sandbox.scan()
    assert "3600 s" in told.value.hint


async def test_a_limit_without_a_sensible_time_is_waited_for_all_the_same(
    scene: Scene, sandbox: DaytonaSandbox
) -> None:
    scene.service.fault("execute", times=2, status=429, headers={"Retry-After": "inf"})
    assert await say(sandbox, "echo fine") == "fine"


async def test_the_machines_own_ports_get_no_link(sandbox: DaytonaSandbox) -> None:
    for port in MACHINE_PORTS:
        with pytest.raises(InvalidArgument, match="belongs to the machine itself"):
            await sandbox.preview(port)
