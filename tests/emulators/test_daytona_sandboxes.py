"""Sandboxes of the emulated Daytona, through the real SDK."""

from __future__ import annotations

import pytest
from daytona import (
    AsyncDaytona,
    AsyncSandbox,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    DaytonaConfig,
    ListSandboxesQuery,
    Resources,
)
from daytona.common.errors import (
    DaytonaAuthenticationError,
    DaytonaBadRequestError,
    DaytonaConflictError,
    DaytonaError,
    DaytonaNotFoundError,
)

from tests.emulators.daytona.emulator import Emulator


async def test_a_sandbox_is_made_of_an_image_with_what_was_asked_for(daytona: AsyncDaytona) -> None:
    made = await daytona.create(
        CreateSandboxFromImageParams(
            image="python:3.12",
            name="shop",
            labels={"owner": "me"},
            env_vars={"GREETING": "hello"},
            public=True,
            resources=Resources(cpu=2, memory=4, disk=5),
            auto_stop_interval=20,
            auto_archive_interval=60,
            auto_delete_interval=120,
        )
    )
    assert made.state is not None
    assert made.state.value == "started"
    found = await daytona.get("shop")
    assert (found.id, found.public, found.cpu, found.memory, found.disk) == (made.id, True, 2, 4, 5)
    assert (found.auto_stop_interval, found.auto_archive_interval, found.auto_delete_interval) == (20, 60, 120)
    assert found.labels == {"owner": "me", "code-toolbox-language": "python"}
    assert (await made.process.exec("echo $GREETING")).result == "hello\n"


async def test_a_sandbox_is_made_of_a_snapshot(daytona: AsyncDaytona) -> None:
    made = await daytona.create(CreateSandboxFromSnapshotParams(snapshot="daytona-small"))
    assert made.snapshot == "daytona-small"
    with pytest.raises(DaytonaBadRequestError, match="not found"):
        await daytona.create(CreateSandboxFromSnapshotParams(snapshot="unheard-of"))


async def test_an_image_that_cannot_be_had_fails_the_build_and_leaves_the_sandbox(daytona: AsyncDaytona) -> None:
    with pytest.raises(DaytonaError, match="pull access denied") as failure:
        await daytona.create(CreateSandboxFromImageParams(image="missing:latest", name="shop"))
    assert failure.value.status_code is None
    left = await daytona.get("shop")
    assert left.state is not None
    assert left.state.value == "build_failed"
    assert "pull access denied" in (left.error_reason or "")


async def test_the_name_of_a_snapshot_is_that_of_no_image(daytona: AsyncDaytona) -> None:
    with pytest.raises(DaytonaError, match="pull access denied for daytona-small"):
        await daytona.create(CreateSandboxFromImageParams(image="daytona-small"))


async def test_a_sandbox_can_grow_and_its_disk_only_while_it_is_stopped(sandbox: AsyncSandbox) -> None:
    await sandbox.resize(Resources(cpu=2))
    with pytest.raises(DaytonaBadRequestError):
        await sandbox.resize(Resources(disk=5))
    await sandbox.stop()
    await sandbox.resize(Resources(disk=5))
    assert (sandbox.cpu, sandbox.disk) == (2, 5)


async def test_a_name_is_taken_until_its_sandbox_is_gone(daytona: AsyncDaytona, emulator: Emulator) -> None:
    first = await daytona.create(CreateSandboxFromImageParams(image="python:3.12", name="shop"))
    with pytest.raises(DaytonaConflictError):
        await daytona.create(CreateSandboxFromImageParams(image="python:3.12", name="shop"))
    emulator.settings(timings={"destroying": 0.3})
    await first.delete()
    with pytest.raises(DaytonaConflictError):
        await daytona.create(CreateSandboxFromImageParams(image="python:3.12", name="shop"))
    await first.delete(wait=True)
    with pytest.raises(DaytonaNotFoundError):
        await daytona.get("shop")
    await daytona.create(CreateSandboxFromImageParams(image="python:3.12", name="shop"))


async def test_stopping_ends_processes_and_keeps_files(sandbox: AsyncSandbox) -> None:
    await sandbox.process.exec("sleep 600 >/dev/null 2>&1 & echo kept > note")
    await sandbox.stop()
    assert sandbox.state is not None
    assert sandbox.state.value == "stopped"
    with pytest.raises(DaytonaBadRequestError, match=r"Is the Sandbox started\?"):
        await sandbox.process.exec("true")
    await sandbox.start()
    assert (await sandbox.process.exec("cat note; pgrep -c sleep")).result == "kept\n0\n"


async def test_lists_find_by_labels_and_come_in_pages(daytona: AsyncDaytona) -> None:
    for number in range(3):
        params = CreateSandboxFromImageParams(image="python:3.12", labels={"of": "me", "number": str(number)})
        await daytona.create(params)
    mine = [each async for each in daytona.list(ListSandboxesQuery(labels={"of": "me"}, limit=2))]
    assert {each.labels["number"] for each in mine} == {"0", "1", "2"}
    second = [each async for each in daytona.list(ListSandboxesQuery(labels={"of": "me", "number": "1"}))]
    assert [each.labels["number"] for each in second] == ["1"]


async def test_labels_publicity_and_intervals_can_be_changed(daytona: AsyncDaytona, sandbox: AsyncSandbox) -> None:
    await sandbox.set_labels({"only": "this"})
    await sandbox.set_public(True)
    await sandbox.set_autostop_interval(0)
    await sandbox.set_auto_archive_interval(7)
    await sandbox.set_auto_delete_interval(-1)
    found = await daytona.get(sandbox.id)
    assert (found.labels, found.public) == ({"only": "this"}, True)
    assert (found.auto_stop_interval, found.auto_archive_interval, found.auto_delete_interval) == (0, 7, -1)


async def test_a_preview_link_names_the_port_and_the_sandbox(sandbox: AsyncSandbox) -> None:
    link = await sandbox.get_preview_link(3000)
    assert f"3000-{sandbox.id}" in link.url
    assert link.token


async def test_a_wrong_key_is_refused(emulator: Emulator) -> None:
    async with AsyncDaytona(DaytonaConfig(api_key="wrong", api_url=emulator.api_url)) as client:
        with pytest.raises(DaytonaAuthenticationError):
            await client.get("shop")
