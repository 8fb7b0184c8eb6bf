"""What one would not expect of the service and of its SDK, and what becomes of it here.

`tests/emulators/daytona/SURPRISES.md` lists all of them with their tests; here are those that have no better place.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

import anyio
import pytest

from tests.contract.sandboxes import daytona_config
from tests.e2e.places import fetch
from tests.emulators.daytona.emulator import Emulator
from tests.fault.daytona import NAME, Scene, open_scene, say
from vaporform_mcp.errors import LimitReached, SandboxUnavailable
from vaporform_mcp.sandboxes.base import Command, FileContent, FileStat, FileWrite, RunState
from vaporform_mcp.sandboxes.daytona.registry import known_sandboxes
from vaporform_mcp.sandboxes.daytona.sandbox import DaytonaSandbox
from vaporform_mcp.sandboxes.daytona.service import Service
from vaporform_mcp.types import Spec, parse_path

pytestmark = pytest.mark.usefixtures("namespaces")

FILE = parse_path("file")


def ask(service: Emulator, path: str, body: dict[str, object] | None = None) -> None:
    """As the dashboard would, or another program of the account's."""
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"}
    fetch(f"{service.api_url}{path}", headers, json.dumps(body or {}).encode())


async def test_neither_an_event_socket_nor_a_session_nor_a_log_is_opened(scene: Scene, sandbox: DaytonaSandbox) -> None:
    """They fail in silence, die with a restart, and are cut off; one command that is asked for again does without."""
    said: list[bytes] = []
    await sandbox.exec(Command(text="echo one; sleep 0.1; exit 7"), on_output=said.append)
    await sandbox.write_files([FileWrite(path=FILE, content=b"x")])
    assert said == [b"one\n"]
    asked = scene.service.requests()
    assert not [each["path"] for each in asked if "socket.io" in str(each["path"])]
    assert scene.counts().keys() <= {
        "get_sandbox", "list_sandboxes", "create_sandbox", "execute", "upload_files", "download_files"
    }  # fmt: skip


async def test_one_that_was_closed_asks_for_nothing_more() -> None:
    """The SDK itself would open a new connection, which nobody then closes."""
    async with open_scene() as scene:
        sandbox = await scene.acquire()
        service = scene.service
    service.forget_requests()
    with pytest.raises(SandboxUnavailable, match="ending"):
        await sandbox.scan()
    assert service.requests() == []


async def test_an_image_that_is_built_and_a_sandbox_out_of_the_archive_have_a_limit_of_their_own() -> None:
    async with open_scene(ready_s=0.4, build_s=20) as scene:
        scene.service.settings(timings={"building_snapshot": 1.0, "restoring": 1.0})
        sandbox = await scene.acquire(Spec(provider="daytona", image="python:3.12"))
        scene.service.happen(sandbox.sandbox_id, "archived")
        assert await say(sandbox, "echo back") == "back"


async def test_a_name_that_is_still_taken_by_what_is_being_deleted_is_waited_for(scene: Scene) -> None:
    scene.service.settings(timings={"destroying": 0.6})
    before = await scene.acquire()
    await scene.provider.destroy("ws", 1)
    after = await scene.acquire()
    assert after.sandbox_id != before.sandbox_id


async def test_one_that_is_just_stopping_is_waited_for_and_started(scene: Scene, sandbox: DaytonaSandbox) -> None:
    """Meanwhile its toolbox is a bad gateway without a word."""
    scene.service.settings(timings={"stopping": 0.6, "starting": 0.4})
    await say(sandbox, "echo kept > file")
    ask(scene.service, f"/sandbox/{NAME}/stop")
    (read,) = await sandbox.read_files([FILE], max_bytes=100)
    assert isinstance(read, FileContent)
    assert read.content == b"kept\n"


async def test_an_address_where_nobody_listens_is_told_in_time() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with open_scene(api_url=f"http://127.0.0.1:{taken.getsockname()[1]}/api") as scene:
            with anyio.fail_after(30), pytest.raises(SandboxUnavailable, match="the connection broke") as told:
                await scene.acquire()
    assert "VAPORFORM_DAYTONA__API_URL" in told.value.hint


async def test_a_password_file_of_the_users_does_not_keep_requests_from_being_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login ada password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with open_scene() as scene:
        await scene.provider.describe()
        assert await say(await scene.acquire(), "echo fine") == "fine"


async def test_an_address_of_the_toolbox_that_is_missing_is_asked_for(scene: Scene) -> None:
    scene.service.settings(toolbox_url="")
    assert await say(await scene.acquire(), "echo fine") == "fine"
    assert scene.asked("get_toolbox_url") == 1


async def test_a_state_that_nobody_knows_is_waited_through_and_then_told() -> None:
    async with open_scene(ready_s=1.0) as scene:
        sandbox = await scene.acquire()
        scene.service.happen(sandbox.sandbox_id, "dreaming")
        with anyio.fail_after(20), pytest.raises(SandboxUnavailable, match=r"is still \w+ after 1 s"):
            await say(sandbox, "true")


async def test_a_script_runs_to_its_end_and_what_it_prints_comes_as_it_is(
    scene: Scene, sandbox: DaytonaSandbox
) -> None:
    """The service feeds a script to the shell, where a program that reads swallows the rest, and prints text alone."""
    result = await sandbox.exec(Command(text="cat\nprintf '\\377\\001\\001\\001'\nexit 7", timeout_s=20))
    assert (result.state, result.exit_code) == (RunState.EXITED, 7)
    assert result.head == b"\xff\x01\x01\x01"


async def test_an_answer_without_what_was_asked_for_is_asked_for_again_and_nothing_is_done_twice(
    scene: Scene, sandbox: DaytonaSandbox
) -> None:
    """As it comes without an exit code: the SDK finds nothing wrong with that."""
    json_type = {"Content-Type": "application/json"}
    scene.service.fault("execute", status=200, body='{"result": ""}', headers=json_type)
    assert await say(sandbox, "echo x >> file; cat file") == "x"
    scene.service.fault("execute", times=None, status=200, body='{"result": "garbage"}', headers=json_type)
    with pytest.raises(SandboxUnavailable, match=r"does not understand .*garbage"):
        await sandbox.scan()


async def test_an_answer_that_never_comes_is_given_up_in_time_and_asked_for_again(
    scene: Scene, sandbox: DaytonaSandbox
) -> None:
    """The SDK would wait for ever."""
    service = Service(daytona_config(store_id="fault"))
    machine = await service.find(NAME)
    assert machine is not None
    scene.service.fault("upload_files", stall="before")
    with anyio.fail_after(15):
        await service.upload(machine, {"/home/daytona/late": b"came"}, within_s=1)
    await service.aclose()
    assert await say(sandbox, "cat ~/late") == "came"


async def test_a_list_that_is_behind_is_not_believed(scene: Scene) -> None:
    """Each of what it names is asked for by its id."""
    await scene.acquire()
    scene.service.settings(lists="frozen")
    await scene.provider.destroy("ws", 1)
    scene.service.forget_requests()
    assert await known_sandboxes(daytona_config(store_id="fault")) == []
    assert scene.asked("get_sandbox") == 1


async def test_an_older_daemon_does_as_well(scene: Scene) -> None:
    """It has other codes for its errors, and none for some."""
    scene.service.settings(daemon="0.190")
    sandbox = await scene.acquire()
    (done,) = await sandbox.write_files([FileWrite(path=FILE, content=b"x" * 200_000)])
    assert isinstance(done, FileStat)
    assert await say(sandbox, "wc -c < file") == "200000"
    assert [entry.path for entry in (await sandbox.scan()).entries] == [FILE]


async def test_a_list_of_many_pages_is_read_to_its_end(scene: Scene) -> None:
    labels = {"vaporform": "sandbox", "vaporform-store": "fault"}
    for number in range(101):
        scene.service.outcome("creating")
        ask(scene.service, "/sandbox", {"name": f"other-{number}", "labels": labels, "snapshot": "daytona-small"})
    with pytest.raises(LimitReached, match="101 sandboxes of this store"):
        await scene.acquire()


async def test_what_is_kept_of_a_sandbox_shows_neither_its_environment_nor_a_key(scene: Scene) -> None:
    """The SDK's own shows its environment to whoever logs it."""
    sandbox = await scene.acquire(Spec(provider="daytona", env={"TOKEN": "s3cret"}))
    assert await say(sandbox, "echo $TOKEN") == "s3cret"
    config = daytona_config(store_id="fault")
    service = Service(config)
    shown = repr((config, await service.find(NAME)))
    await service.aclose()
    assert sandbox.sandbox_id in shown
    assert "s3cret" not in shown
    assert scene.service.key not in shown
