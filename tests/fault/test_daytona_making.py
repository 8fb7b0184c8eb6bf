"""A Daytona sandbox that cannot be made, or only after trouble: what is said, what is left, and that one is enough."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.fault.daytona import NAME, Scene, open_scene, say
from vaporform_mcp.errors import (
    Conflict,
    InvalidArgument,
    LimitReached,
    NotFound,
    NotSupported,
    SandboxUnavailable,
    VaporformError,
)
from vaporform_mcp.types import Resources, Spec

pytestmark = pytest.mark.usefixtures("namespaces")


async def test_one_that_fails_is_told_with_its_reason_and_id_and_is_not_left_behind(scene: Scene) -> None:
    scene.service.outcome("error", reason="no runner could take it")
    with pytest.raises(SandboxUnavailable, match=r"sandbox [0-9a-f-]{36} failed: no runner could take it"):
        await scene.acquire()
    assert scene.asked("delete_sandbox") == 1
    assert await say(await scene.acquire(), "echo fine") == "fine"


async def test_an_image_that_cannot_be_built_is_told_with_the_reason(scene: Scene) -> None:
    with pytest.raises(SandboxUnavailable, match=r"could not be built: .*pull access denied") as told:
        await scene.acquire(Spec(provider="daytona", image="missing:1"))
    assert "tag" in told.value.hint
    assert scene.asked("delete_sandbox") == 1


async def test_one_that_is_deleted_while_it_is_made_is_not_waited_for(scene: Scene) -> None:
    scene.service.outcome("destroyed")
    with anyio.fail_after(15), pytest.raises(SandboxUnavailable, match="deleted"):
        await scene.acquire()


async def test_one_that_takes_too_long_goes_on_and_is_joined(scene: Scene) -> None:
    async with open_scene(ready_s=0.5) as hurried:
        hurried.service.settings(timings={"creating": 3.0})
        with pytest.raises(SandboxUnavailable, match=r"is still creating after 0 s|is still creating after 1 s"):
            await hurried.acquire()
    async with open_scene(afresh=False, ready_s=20) as patient:
        assert await say(await patient.acquire(), "echo fine") == "fine"
        assert patient.asked("create_sandbox") == 1


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 502, "body": "<html><h1>Bad Gateway</h1></html>"}, {"drop": "before"}],
    ids=["500", "502 of a gateway", "dropped"],
)
async def test_a_look_that_fails_does_not_end_the_waiting(scene: Scene, fault: dict[str, object]) -> None:
    scene.service.settings(timings={"creating": 0.5})
    scene.service.fault("get_sandbox", skip=1, times=2, **fault)
    await scene.acquire()
    assert scene.asked("create_sandbox") == 1


async def test_a_create_whose_answer_is_lost_is_found_and_not_repeated(scene: Scene) -> None:
    scene.service.fault("create_sandbox", drop="after")
    await scene.acquire()
    assert scene.asked("create_sandbox") == 1


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"status": 503}], ids=["dropped", "503"])
async def test_a_create_that_was_not_heard_is_repeated(scene: Scene, fault: dict[str, object]) -> None:
    scene.service.fault("create_sandbox", **fault)
    await scene.acquire()
    assert scene.asked("create_sandbox") == 2


@pytest.mark.parametrize("header", ["Retry-After", "retry-after-sandbox-create"])
async def test_a_limit_of_requests_is_waited_for_as_long_as_it_says(scene: Scene, header: str) -> None:
    scene.service.fault("create_sandbox", status=429, body='{"message": "Too Many Requests"}', headers={header: "1"})
    began = anyio.current_time()
    await scene.acquire()
    assert anyio.current_time() - began > 0.7
    assert scene.asked("create_sandbox") == 2


async def test_an_acquire_that_is_given_up_leaves_one_that_the_next_joins(scene: Scene) -> None:
    scene.service.settings(timings={"creating": 0.6})
    with anyio.move_on_after(0.4):
        await scene.acquire()
    await scene.acquire()
    assert scene.asked("create_sandbox") == 1


async def test_a_key_that_is_refused_is_told_without_it(scene: Scene) -> None:
    async with open_scene(api_key="dtn_wrong_key") as other:
        with pytest.raises(SandboxUnavailable, match="refused the API key") as told:
            await other.acquire()
    assert "VAPORFORM_DAYTONA__API_KEY" in told.value.hint
    assert "dtn_wrong_key" not in f"{told.value}{told.value.hint}"


@pytest.mark.parametrize(
    ("status", "message", "kind", "said"),
    [
        (403, "Organization is suspended: depleted credits", SandboxUnavailable, "billing"),
        (400, "Total disk limit exceeded. Maximum allowed: 30GiB.", LimitReached, "vaporform-mcp stop"),
        (400, "Network access is restricted and cannot be overridden", NotSupported, "VAPORFORM_DAYTONA__NETWORK"),
        (404, "Snapshot warm not found. Did you add it through the Dashboard?", NotFound, "snapshot"),
        (400, "Snapshot warm is inactive", NotFound, "active"),
        (400, "Region mars is not available: not found", InvalidArgument, "VAPORFORM_DAYTONA__TARGET"),
        (403, "Forbidden resource", SandboxUnavailable, "permission"),
    ],
)
async def test_what_the_service_refuses_is_told_with_what_to_do(
    scene: Scene, status: int, message: str, kind: type[VaporformError], said: str
) -> None:
    scene.service.fault("create_sandbox", status=status, body=f'{{"message": "{message}"}}')
    with pytest.raises(kind) as told:
        await scene.acquire()
    assert message.partition(".")[0] in str(told.value)
    assert said in told.value.hint
    assert scene.asked("create_sandbox") == 1


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (Spec(provider="daytona", image="debian:12", snapshot="warm"), "both"),
        (Spec(provider="daytona", image="debian:12\nRUN rm -rf /"), "not the name of an image"),
        (Spec(provider="daytona", image="--privileged"), "not the name of an image"),
        (Spec(provider="daytona", snapshot="a\nb"), "not the name of a snapshot"),
        (Spec(provider="daytona", resources=Resources(cpu=2)), "resources"),
        (Spec(provider="daytona", snapshot="warm", resources=Resources(memory_gb=2)), "resources"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_the_service_is_asked(scene: Scene, spec: Spec, said: str) -> None:
    scene.service.forget_requests()
    with pytest.raises(InvalidArgument, match=said):
        await scene.acquire(spec)
    assert scene.service.requests() == []


async def test_more_sandboxes_than_the_settings_allow_are_refused_by_name() -> None:
    async with open_scene(max_running=1) as scene:
        await scene.acquire(epoch=1)
        with pytest.raises(LimitReached, match="run already") as told:
            await scene.acquire(epoch=2)
        assert NAME in told.value.hint
        assert scene.asked("create_sandbox") == 1


async def test_a_sandbox_of_another_store_is_neither_used_nor_deleted(scene: Scene) -> None:
    await scene.acquire()
    async with open_scene(afresh=False, store_id="another") as other:
        with pytest.raises(Conflict, match="another store"):
            await other.acquire()
        with pytest.raises(Conflict, match="another store"):
            await other.provider.destroy("ws", 1)
    assert scene.asked("delete_sandbox") == 0


async def test_one_without_python_is_told_what_to_add(scene: Scene) -> None:
    with pytest.raises(SandboxUnavailable, match="python3") as told:
        await scene.acquire(Spec(provider="daytona", image="bare:1"))
    assert "image" in told.value.hint


async def test_nothing_is_read_from_a_folder_where_a_client_starts_us(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.joinpath(".env").write_text("DAYTONA_TARGET=mars\nDAYTONA_OTEL_ENABLED=true\nDAYTONA_API_KEY=theirs\n")
    monkeypatch.chdir(tmp_path)
    async with open_scene() as scene:
        assert await say(await scene.acquire(), "echo fine") == "fine"


async def test_a_slash_at_the_end_of_the_address_does_no_harm() -> None:
    async with open_scene() as scene:
        url = f"{scene.service.api_url}/"
    async with open_scene(api_url=url) as scene:
        await scene.acquire()
