"""The faults of the emulated Daytona, as the real SDK meets them."""

from __future__ import annotations

import anyio
import pytest
from daytona import (
    AsyncDaytona,
    AsyncSandbox,
    CreateSandboxFromImageParams,
    DaytonaConfig,
    FileDownloadRequest,
    FileUpload,
    ListSandboxesQuery,
    SessionExecuteRequest,
)
from daytona.common.errors import (
    DaytonaBadGatewayError,
    DaytonaBadRequestError,
    DaytonaConnectionError,
    DaytonaConnectionTimeoutError,
    DaytonaError,
    DaytonaNotFoundError,
    DaytonaRateLimitError,
    DaytonaTimeoutError,
)

from tests.emulators.daytona.emulator import Emulator

SHOP = CreateSandboxFromImageParams(image="python:3.12", name="shop")


async def state_of(daytona: AsyncDaytona, sandbox: str) -> str | None:
    state = (await daytona.get(sandbox)).state
    return None if state is None else state.value


async def listed(daytona: AsyncDaytona) -> list[str]:
    """The names and states that a list shows."""
    found = [each async for each in daytona.list(ListSandboxesQuery())]
    return sorted(f"{each.name} {each.state.value if each.state else ''}" for each in found)


async def test_a_creation_that_fails_tells_its_reason_in_words_only_and_leaves_the_sandbox(
    daytona: AsyncDaytona, emulator: Emulator
) -> None:
    emulator.outcome("error", reason="no runner has room")
    with pytest.raises(DaytonaError, match="error reason: no runner has room") as failure:
        await daytona.create(SHOP)
    assert (failure.value.status_code, failure.value.code) == (None, None)
    assert await state_of(daytona, "shop") == "error"


async def test_a_sandbox_destroyed_while_it_is_waited_for_is_waited_for_to_the_end(
    daytona: AsyncDaytona, emulator: Emulator
) -> None:
    emulator.outcome("destroyed", reason="evicted")
    with pytest.raises(DaytonaTimeoutError):
        await daytona.create(SHOP, timeout=1)


async def test_a_creation_that_is_stuck_times_out_with_the_sandbox_s_id_and_leaves_it(
    daytona: AsyncDaytona, emulator: Emulator
) -> None:
    emulator.outcome("creating")
    with pytest.raises(DaytonaTimeoutError) as failure:
        await daytona.create(SHOP, timeout=1)
    assert failure.value.sandbox_id == (await daytona.get("shop")).id


@pytest.mark.parametrize(("status", "body"), [(500, ""), (502, "<html>Bad Gateway</html>")])
async def test_one_server_error_while_polling_ends_a_creation(
    daytona: AsyncDaytona, emulator: Emulator, status: int, body: str
) -> None:
    emulator.settings(timings={"creating": 0.3})
    emulator.fault("get_sandbox", status=status, body=body)
    with pytest.raises(DaytonaError) as failure:
        await daytona.create(SHOP)
    assert failure.value.status_code == status
    assert (await daytona.get("shop")).error_reason is None


async def test_a_poll_that_is_cut_off_is_asked_again(daytona: AsyncDaytona, emulator: Emulator) -> None:
    emulator.settings(timings={"creating": 0.3})
    emulator.fault("get_sandbox", drop="before")
    assert (await daytona.create(SHOP)).name == "shop"


async def test_a_creation_whose_answer_is_lost_has_happened(daytona: AsyncDaytona, emulator: Emulator) -> None:
    emulator.fault("create_sandbox", drop="after")
    with pytest.raises(DaytonaConnectionError):
        await daytona.create(SHOP)
    assert (await daytona.get("shop")).name == "shop"
    emulator.vanish("shop")
    emulator.fault("create_sandbox", drop="before")
    with pytest.raises(DaytonaConnectionError):
        await daytona.create(SHOP)
    with pytest.raises(DaytonaNotFoundError):
        await daytona.get("shop")


async def test_too_many_requests_are_refused_with_the_throttler_s_own_header(
    daytona: AsyncDaytona, emulator: Emulator
) -> None:
    emulator.settings(rates={"sandbox-create": 1})
    await daytona.create(SHOP)
    with pytest.raises(DaytonaRateLimitError) as failure:
        await daytona.create(CreateSandboxFromImageParams(image="python:3.12"))
    assert 1 <= int(failure.value.headers["Retry-After-sandbox-create"]) <= 60
    assert "Retry-After" not in failure.value.headers
    emulator.settings(plain_retry_after=True)
    with pytest.raises(DaytonaRateLimitError) as plain:
        await daytona.create(CreateSandboxFromImageParams(image="python:3.12"))
    assert 1 <= int(plain.value.headers["Retry-After"]) <= 60
    emulator.advance(60)
    await daytona.create(CreateSandboxFromImageParams(image="python:3.12"))


async def test_uploads_and_downloads_tell_less_of_too_many_requests(sandbox: AsyncSandbox, emulator: Emulator) -> None:
    emulator.fault("execute", status=429, headers={"Retry-After-authenticated": "7"})
    with pytest.raises(DaytonaRateLimitError) as typed:
        await sandbox.process.exec("true")
    assert typed.value.headers["Retry-After-authenticated"] == "7"
    emulator.fault("upload_files", status=429, headers={"Retry-After-authenticated": "7"})
    with pytest.raises(DaytonaError) as upload:
        await sandbox.fs.upload_files([FileUpload(source=b"a", destination="a")])
    assert (type(upload.value), upload.value.status_code, upload.value.headers) == (DaytonaError, 429, {})
    emulator.fault("download_files", status=429, headers={"Retry-After-authenticated": "7"})
    with pytest.raises(DaytonaError, match="429") as download:
        await sandbox.fs.download_file("a")
    assert download.value.status_code is None


async def test_the_handshake_of_a_log_tells_less_of_too_many_requests_than_that_of_a_terminal(
    sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    await sandbox.process.create_session("s")
    request = SessionExecuteRequest(command="true", run_async=True)
    command = (await sandbox.process.execute_session_command("s", request)).cmd_id
    emulator.fault("get_session_logs", status=429)
    with pytest.raises(DaytonaError) as log:
        await sandbox.process.get_session_command_logs_async("s", command, lambda _: None, lambda _: None)
    assert (type(log.value), log.value.status_code) == (DaytonaError, None)
    emulator.fault("create_and_connect_terminal", status=429)
    with pytest.raises(DaytonaRateLimitError):
        await sandbox.process.create_pty_session("t", lambda _: None)


async def test_an_answer_without_an_exit_code_is_no_error(sandbox: AsyncSandbox, emulator: Emulator) -> None:
    emulator.fault("execute", status=200, body='{"result": "x"}', headers={"Content-Type": "application/json"})
    done = await sandbox.process.exec("true")
    assert (done.exit_code, done.result) == (None, "x")


async def test_whoever_cancels_leaves_the_command_and_the_sandbox(
    daytona: AsyncDaytona, sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    with anyio.move_on_after(0.2):
        await sandbox.process.exec("touch begun; until [ -e go ]; do :; done; touch done")
    await sandbox.process.exec("touch go; until [ -e done ]; do :; done", timeout=20)
    emulator.settings(timings={"creating": 0.5})
    with anyio.move_on_after(0.2):
        await daytona.create(SHOP)
    with anyio.fail_after(20):
        while await state_of(daytona, "shop") != "started":
            pass


async def test_a_slash_at_the_end_of_the_address_finds_nothing(emulator: Emulator) -> None:
    async with AsyncDaytona(DaytonaConfig(api_key=emulator.key, api_url=f"{emulator.api_url}/")) as client:
        with pytest.raises(DaytonaNotFoundError):
            await client.create(SHOP)


async def test_gateways_answer_with_pages_or_with_nothing(sandbox: AsyncSandbox, emulator: Emulator) -> None:
    emulator.fault("execute", status=504, body="<html>Gateway Time-out</html>")
    with pytest.raises(DaytonaTimeoutError, match="<html>"):
        await sandbox.process.exec("true")
    emulator.fault("execute", status=502)
    with pytest.raises(DaytonaBadGatewayError) as failure:
        await sandbox.process.exec("true")
    assert str(failure.value) == "Failed to execute command: "


async def test_an_answer_that_never_comes_is_a_time_out_without_words(
    daytona: AsyncDaytona, sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    emulator.fault("get_sandbox", stall="before")
    with pytest.raises(DaytonaConnectionTimeoutError) as failure:
        await daytona.get(sandbox.id, request_timeout=1)
    assert str(failure.value) == "Failed to get sandbox: "


@pytest.mark.parametrize("change", ["stop", "start"])
async def test_the_toolbox_is_a_bad_gateway_without_words_while_its_sandbox_stops_and_starts(
    sandbox: AsyncSandbox, emulator: Emulator, change: str
) -> None:
    if change == "start":
        await sandbox.stop()
    # Never ends: the state is one that is passed through, and stays.
    emulator.happen(sandbox.id, "stopping" if change == "stop" else "starting")
    with pytest.raises(DaytonaBadGatewayError) as failure:
        await sandbox.process.exec("true")
    assert str(failure.value) == "Failed to execute command: "


async def test_a_sandbox_deleted_behind_our_back_is_not_found(
    daytona: AsyncDaytona, sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    emulator.vanish(sandbox.id)
    with pytest.raises(DaytonaNotFoundError):
        await daytona.get(sandbox.id)
    with pytest.raises(DaytonaNotFoundError):
        await sandbox.process.exec("true")


async def test_lists_may_be_stale_and_go_back_and_forth(daytona: AsyncDaytona, emulator: Emulator) -> None:
    await daytona.create(SHOP)
    emulator.settings(lists="frozen")
    emulator.vanish("shop")
    assert await listed(daytona) == ["shop started"]
    emulator.settings(lists="live")
    await daytona.create(CreateSandboxFromImageParams(image="python:3.12", name="new"))
    emulator.settings(lists="flapping")
    emulator.vanish("new")
    assert [await listed(daytona) for _ in range(3)] == [["new started"], [], ["new started"]]


async def test_errors_that_can_be_recovered_from_are_and_others_are_not(
    daytona: AsyncDaytona, sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    await sandbox.process.exec("echo kept > note")
    emulator.happen(sandbox.id, "error", reason="no space left on device", recoverable=True)
    await sandbox.refresh_data()
    assert (sandbox.recoverable, sandbox.error_reason) == (True, "no space left on device")
    await sandbox.recover()
    assert (await sandbox.process.exec("cat note")).result == "kept\n"
    emulator.happen(sandbox.id, "error", reason="the runner is gone")
    with pytest.raises(DaytonaBadRequestError):
        await sandbox.recover()
    assert await state_of(daytona, sandbox.id) == "error"


async def test_a_state_that_the_sdk_does_not_know_has_a_name_of_its_own(
    daytona: AsyncDaytona, sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    emulator.happen(sandbox.id, "hibernating")
    assert await state_of(daytona, sandbox.id) == "unknown_default_open_api"


async def test_one_sandbox_with_an_unknown_language_hides_all_in_a_list(
    daytona: AsyncDaytona, sandbox: AsyncSandbox
) -> None:
    await sandbox.set_labels({"code-toolbox-language": "fortran"})
    with pytest.raises(DaytonaBadRequestError, match="fortran"):
        await listed(daytona)


async def test_an_address_of_the_toolbox_that_is_missing_is_asked_for_by_lists_and_not_by_get(
    daytona: AsyncDaytona, sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    emulator.settings(toolbox_url="")
    found = [each async for each in daytona.list()]
    assert (await found[0].process.exec("echo here")).result == "here\n"
    with pytest.raises(Exception, match=sandbox.id):
        await (await daytona.get(sandbox.id)).process.exec("true")


async def test_a_disk_that_is_full_keeps_what_it_had_room_for(daytona: AsyncDaytona) -> None:
    small = await daytona.create(CreateSandboxFromImageParams(image="small-disk:latest"))
    files = [
        FileUpload(source=b"a" * 1000, destination="first"),
        FileUpload(source=b"b" * 8_000_000, destination="second"),
    ]
    with pytest.raises(DaytonaError, match="no space left on device"):
        await small.fs.upload_files(files)
    assert await small.fs.download_file("first") == b"a" * 1000
    assert (await small.process.exec("head -c 8000000 /dev/zero > third")).exit_code == 1


async def test_requests_are_counted_with_their_bytes_and_delayed(sandbox: AsyncSandbox, emulator: Emulator) -> None:
    emulator.forget_requests()
    await sandbox.fs.upload_file(b"a" * 10_000, "a")
    await sandbox.fs.download_file("a")
    await sandbox.fs.download_file("a")
    counters = emulator.counters()
    assert counters["requests"] == {"upload_files": 1, "download_files": 2}
    assert 10_000 < counters["received_bytes"]["upload_files"] < 11_000
    assert 20_000 < counters["sent_bytes"]["download_files"] < 22_000
    assert [each["status"] for each in emulator.requests()] == [200, 200, 200]
    assert "Authorization" not in str(emulator.requests())


async def test_a_command_goes_on_when_whoever_asked_for_it_does_not_wait(
    sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    emulator.fault("execute", drop="after")
    with pytest.raises(DaytonaConnectionError):
        await sandbox.process.exec("echo done > note")
    assert await sandbox.fs.download_file("note") == b"done\n"


async def test_an_upload_that_is_cut_off_leaves_what_had_come_of_its_file(
    sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    await sandbox.fs.upload_file(b"old", "second")
    emulator.fault("upload_files", drop="during", after_bytes=1_000_000)
    files = [
        FileUpload(source=b"a" * 1000, destination="first"),
        FileUpload(source=b"b" * 3_000_000, destination="second"),
        FileUpload(source=b"c" * 1000, destination="third"),
    ]
    with pytest.raises(DaytonaConnectionError):
        await sandbox.fs.upload_files(files)
    assert (await sandbox.process.exec("wc -c < first; ls")).result == "1000\nfirst\nsecond\n"
    size = int((await sandbox.process.exec("wc -c < second")).result)
    assert 0 < size < 3_000_000


async def test_a_download_that_is_cut_off_fails_as_a_whole(sandbox: AsyncSandbox, emulator: Emulator) -> None:
    await sandbox.process.exec("echo a > first; head -c 3000000 /dev/zero > second")
    emulator.fault("download_files", drop="during", after_bytes=1_000_000)
    with pytest.raises(DaytonaConnectionError):
        await sandbox.fs.download_files([FileDownloadRequest(source="first"), FileDownloadRequest(source="second")])


async def test_an_older_daemon_names_no_source_so_its_errors_are_less_typed(
    sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    emulator.settings(daemon="0.190")
    with pytest.raises(DaytonaTimeoutError) as failure:
        await sandbox.process.exec("sleep 60", timeout=1)
    assert (type(failure.value), failure.value.code) == (DaytonaTimeoutError, "REQUEST_TIMEOUT")
    await sandbox.fs.upload_file(b"", "a/b")
    assert [each.name for each in await sandbox.fs.list_files(".", depth=2)] == ["a"]
    emulator.settings(daemon="0.226")
    assert [each.name for each in await sandbox.fs.list_files(".", depth=2)] == ["a", "b"]
