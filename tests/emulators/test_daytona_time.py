"""What happens by itself to sandboxes of the emulated Daytona, and how much there may be of them."""

from __future__ import annotations

import anyio
import pytest
from daytona import AsyncDaytona, AsyncSandbox, CreateSandboxFromImageParams, Resources
from daytona.common.errors import DaytonaBadRequestError, DaytonaForbiddenError, DaytonaNotFoundError

from tests.emulators.daytona.emulator import Emulator

_WAIT_S = 10.0
_MINUTE_S = 60


async def until(daytona: AsyncDaytona, sandbox: str, state: str) -> None:
    with anyio.fail_after(_WAIT_S):
        while True:
            found = (await daytona.get(sandbox)).state
            if found is not None and found.value == state:
                return


async def until_gone(daytona: AsyncDaytona, sandbox: str) -> None:
    with anyio.fail_after(_WAIT_S):
        while True:
            try:
                await daytona.get(sandbox)
            except DaytonaNotFoundError:
                return


async def test_an_unused_sandbox_stops_then_is_archived_then_deleted(daytona: AsyncDaytona, emulator: Emulator) -> None:
    params = CreateSandboxFromImageParams(
        image="python:3.12", auto_stop_interval=10, auto_archive_interval=30, auto_delete_interval=90
    )
    made = await daytona.create(params)
    await made.process.exec("echo kept > note; sleep 600 >/dev/null 2>&1 &")
    emulator.advance(9 * _MINUTE_S)
    await until(daytona, made.id, "started")
    emulator.advance(1 * _MINUTE_S)
    await until(daytona, made.id, "stopped")
    emulator.advance(30 * _MINUTE_S)
    await until(daytona, made.id, "archived")
    await made.start()
    assert (await made.process.exec("cat note")).result == "kept\n"
    await made.stop()
    emulator.advance(90 * _MINUTE_S)
    await until_gone(daytona, made.id)


async def test_use_is_a_call_of_the_toolbox_or_of_last_activity_and_not_a_look_at_it(
    daytona: AsyncDaytona, sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    for use in (sandbox.process.exec("true"), sandbox.refresh_activity(), sandbox.fs.list_files(".")):
        emulator.advance(14 * _MINUTE_S)
        await use
    emulator.advance(14 * _MINUTE_S)
    await daytona.get(sandbox.id)
    emulator.advance(1 * _MINUTE_S)
    await until(daytona, sandbox.id, "stopped")


async def test_zero_switches_stopping_off_and_ephemeral_sandboxes_go_when_they_stop(
    daytona: AsyncDaytona, emulator: Emulator
) -> None:
    lasting = await daytona.create(CreateSandboxFromImageParams(image="python:3.12", auto_stop_interval=0))
    ephemeral = await daytona.create(
        CreateSandboxFromImageParams(image="python:3.12", auto_stop_interval=5, ephemeral=True)
    )
    emulator.advance(24 * 60 * _MINUTE_S)
    await until_gone(daytona, ephemeral.id)
    await until(daytona, lasting.id, "started")


async def test_a_sandbox_with_a_time_to_live_is_gone_after_it(daytona: AsyncDaytona, emulator: Emulator) -> None:
    made = await daytona.create(CreateSandboxFromImageParams(image="python:3.12", ttl_minutes=60))
    assert made.auto_destroy_at is not None
    emulator.advance(60 * _MINUTE_S)
    await until_gone(daytona, made.id)


async def test_paused_sandboxes_go_on_where_they_were(daytona: AsyncDaytona, sandbox: AsyncSandbox) -> None:
    await sandbox.process.exec("sleep 600 >/dev/null 2>&1 &")
    await sandbox.pause()
    with pytest.raises(DaytonaBadRequestError):
        await sandbox.process.exec("true")
    await sandbox.start()
    assert (await sandbox.process.exec("pgrep -c sleep")).result == "1\n"


async def test_totals_of_the_organization_bound_creations_and_starts(daytona: AsyncDaytona, emulator: Emulator) -> None:
    emulator.settings(total_disk=6, total_memory=2)
    first = await daytona.create(CreateSandboxFromImageParams(image="python:3.12"))
    await first.stop()
    second = await daytona.create(CreateSandboxFromImageParams(image="python:3.12"))
    with pytest.raises(DaytonaForbiddenError, match="Total disk limit exceeded"):
        await daytona.create(CreateSandboxFromImageParams(image="python:3.12"))
    emulator.settings(total_memory=1)
    with pytest.raises(DaytonaForbiddenError, match="Total memory limit exceeded"):
        await first.start()
    await first.archive()
    await until(daytona, first.id, "archived")
    await second.stop()
    await daytona.create(CreateSandboxFromImageParams(image="python:3.12"))


async def test_one_sandbox_may_not_be_larger_than_any_or_somewhere_else(daytona: AsyncDaytona) -> None:
    large = CreateSandboxFromImageParams(image="python:3.12", resources=Resources(cpu=1, memory=1, disk=11))
    with pytest.raises(DaytonaBadRequestError, match="Disk request 11 exceeds"):
        await daytona.create(large)
    with pytest.raises(DaytonaBadRequestError, match="Region"):
        await daytona.create(CreateSandboxFromImageParams(image="python:3.12", target="moon"))


async def test_network_lists_are_address_ranges_and_not_everybody_may_set_them(
    daytona: AsyncDaytona, emulator: Emulator
) -> None:
    named = CreateSandboxFromImageParams(image="python:3.12", network_allow_list="example.org")
    with pytest.raises(DaytonaBadRequestError, match="CIDR"):
        await daytona.create(named)
    ranges = CreateSandboxFromImageParams(image="python:3.12", network_allow_list="10.0.0.0/8,192.168.0.0/16")
    assert (await daytona.create(ranges)).network_allow_list == "10.0.0.0/8,192.168.0.0/16"
    emulator.settings(may_set_networks=False)
    with pytest.raises(DaytonaBadRequestError, match="cannot be overridden"):
        await daytona.create(CreateSandboxFromImageParams(image="python:3.12", network_block_all=True))
