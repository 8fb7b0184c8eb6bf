"""What the SDK does by itself, whatever the service says: keys, connections, time-outs, and what it is given."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from daytona import (
    AsyncDaytona,
    AsyncSandbox,
    CreateSandboxFromImageParams,
    DaytonaAuthenticationError,
    DaytonaConfig,
    DaytonaConnectionError,
    DaytonaError,
    FileUpload,
)

from tests.emulators.daytona.emulator import Emulator


async def test_a_client_without_a_key_is_refused_before_it_asks(emulator: Emulator) -> None:
    with pytest.raises(DaytonaAuthenticationError):
        AsyncDaytona(DaytonaConfig(api_url=emulator.api_url))
    assert emulator.requests() == []


async def test_a_key_is_taken_from_a_file_in_the_folder_where_it_starts(
    emulator: Emulator, sandbox: AsyncSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"DAYTONA_API_KEY={emulator.key}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAYTONA_API_URL", emulator.api_url)
    monkeypatch.setenv("DAYTONA_USE_DEPRECATED_POLLING", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = AsyncDaytona()
    assert (await client.get(sandbox.id)).id == sandbox.id
    await client.close()


async def test_a_password_file_with_an_entry_for_all_hosts_refuses_every_request(
    daytona: AsyncDaytona, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As `~/.netrc` would; the SDK looks there to find proxies."""
    (tmp_path / "netrc").write_text("default login ada password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(DaytonaError, match="Cannot combine AUTHORIZATION header"):
        await daytona.get("any")


async def test_a_client_that_was_closed_opens_a_connection_again(daytona: AsyncDaytona, sandbox: AsyncSandbox) -> None:
    await daytona.close()
    assert (await daytona.get(sandbox.id)).id == sandbox.id


async def test_an_event_socket_is_tried_in_silence_and_each_wait_takes_a_second(emulator: Emulator) -> None:
    client = AsyncDaytona(DaytonaConfig(api_key=emulator.key, api_url=emulator.api_url))
    await client.create(CreateSandboxFromImageParams(image="python:3.12"), timeout=20)
    await client.close()
    asked = [str(each["path"]) for each in emulator.requests()]
    assert [path for path in asked if "/socket.io/" in path]


async def test_a_time_out_of_less_than_a_second_is_one_of_a_second(
    daytona: AsyncDaytona, sandbox: AsyncSandbox, emulator: Emulator
) -> None:
    emulator.fault("get_sandbox", delay_s=0.3)
    assert (await daytona.get(sandbox.id, request_timeout=0.1)).id == sandbox.id


async def test_where_nobody_listens_the_error_is_one_of_the_connection() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        config = DaytonaConfig(api_key="key", api_url="http://127.0.0.1:1/api", use_deprecated_polling=True)
        client = AsyncDaytona(config)
    with pytest.raises(DaytonaConnectionError):
        await client.get("any")
    await client.close()


async def test_labels_of_an_order_are_changed_by_ordering(daytona: AsyncDaytona) -> None:
    order = CreateSandboxFromImageParams(image="python:3.12", labels={"mine": "yes"})
    await daytona.create(order, timeout=20)
    assert order.labels == {"mine": "yes", "code-toolbox-language": "python"}


async def test_a_relative_path_is_one_of_the_home(sandbox: AsyncSandbox) -> None:
    await sandbox.fs.upload_files([FileUpload(source=b"here", destination="a/file")])
    assert (await sandbox.process.exec("cat /home/daytona/a/file", cwd="/")).result == "here"
