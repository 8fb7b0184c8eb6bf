"""Requests to a Daytona sandbox that go wrong on the way, and sandboxes that sleep, fail or vanish under them."""

from __future__ import annotations

import os

import anyio
import pytest

from tests.contract.sandboxes import no_phase, until
from tests.fault.daytona import Scene, open_scene, say
from vaporform_mcp.errors import LimitReached, SandboxLost, SandboxUnavailable
from vaporform_mcp.sandboxes.base import (
    Command,
    CommandResult,
    FileContent,
    FileFault,
    FileStat,
    FileWrite,
    RunState,
)
from vaporform_mcp.sandboxes.daytona.sandbox import DaytonaSandbox
from vaporform_mcp.types import Spec, WorkspacePath

pytestmark = pytest.mark.usefixtures("namespaces")

FILE = WorkspacePath("file")

UNHEARD: tuple[dict[str, object], ...] = (
    {"drop": "before"},
    {"status": 502},
    {"status": 502, "body": "<html><h1>Bad Gateway</h1></html>"},
    {"status": 503, "body": '{"message": "unavailable"}'},
    {"status": 504, "body": "<html>504 Gateway Time-out</html>"},
    {"status": 429, "body": '{"message": "Too Many Requests"}', "headers": {"Retry-After-authenticated": "1"}},
)


async def written(sandbox: DaytonaSandbox, content: bytes) -> FileStat:
    (done,) = await sandbox.write_files([FileWrite(path=FILE, content=content)])
    assert isinstance(done, FileStat), done
    return done


@pytest.mark.parametrize("fault", UNHEARD, ids=["dropped", "502 empty", "502 page", "503", "504 page", "429"])
async def test_a_command_that_was_not_heard_is_sent_again(
    scene: Scene, sandbox: DaytonaSandbox, fault: dict[str, object]
) -> None:
    scene.service.fault("execute", **fault)
    assert await say(sandbox, "echo x >> file; cat file") == "x"


async def test_a_command_whose_answer_is_lost_runs_once(scene: Scene, sandbox: DaytonaSandbox) -> None:
    scene.service.fault("execute", drop="after")
    assert await say(sandbox, "echo x >> file; cat file") == "x"


async def test_a_write_whose_answer_is_lost_is_no_conflict_with_itself(scene: Scene, sandbox: DaytonaSandbox) -> None:
    before = await written(sandbox, b"one")
    scene.service.fault("execute", drop="after")
    (done,) = await sandbox.write_files([FileWrite(path=FILE, content=b"two", expected=before.stat)])
    assert isinstance(done, FileStat), done
    assert await say(sandbox, "cat file") == "two"


async def test_a_large_request_whose_answer_is_lost_is_answered_and_leaves_nothing_behind(
    scene: Scene, sandbox: DaytonaSandbox
) -> None:
    scene.service.fault("execute", drop="after")
    given = os.urandom(300_000)
    result = await sandbox.exec(Command(text="wc -c; echo x >> ran; wc -l < ran", stdin=given, timeout_s=30))
    assert result.head.split() == [b"300000", b"1"]
    names = [WorkspacePath(f"folder/{os.urandom(40).hex()}") for _ in range(3_000)]
    scene.service.fault("execute", drop="after")
    assert await sandbox.stat_files(names) == [None] * 3_000
    content = os.urandom(1_000_000)
    for _ in range(3):
        await written(sandbox, content)
        (read,) = await sandbox.read_files([FILE], max_bytes=len(content))
        assert isinstance(read, FileContent), read
        assert read.content == content
    assert await say(sandbox, "ls ~/.vaporform/staged | wc -l") == "0"


async def test_a_full_disk_is_told_as_such(scene: Scene) -> None:
    sandbox = await scene.acquire(Spec(provider="daytona", image="small-disk:1"))
    content = os.urandom(1_000_000)
    await written(sandbox, content)
    assert "full" in await say(sandbox, "head -c 20M /dev/zero 2>/dev/null > big || echo full")
    (new,) = await sandbox.write_files([FileWrite(path=WorkspacePath("new"), content=b"new")])
    assert isinstance(new, FileFault), new
    assert isinstance(new.error, LimitReached)
    with pytest.raises(LimitReached, match=r"full|no space"):
        await sandbox.write_files([FileWrite(path=WorkspacePath("new"), content=content)])
    with pytest.raises(LimitReached, match="full"):  # the answer is too long to be printed
        await sandbox.read_files([FILE], max_bytes=len(content))
    assert await say(sandbox, "echo still") == "still"
    await sandbox.remove_files([WorkspacePath("big")])
    await written(sandbox, content)


@pytest.mark.parametrize("route", ["upload_files", "download_files"])
@pytest.mark.parametrize("fault", [UNHEARD[0], UNHEARD[1], UNHEARD[-1]], ids=["dropped", "502", "429"])
async def test_a_transfer_that_fails_is_repeated(
    scene: Scene, sandbox: DaytonaSandbox, route: str, fault: dict[str, object]
) -> None:
    scene.service.fault(route, **fault)
    content = bytes(range(256)) * 8_000
    await written(sandbox, content)
    (read,) = await sandbox.read_files([FILE], max_bytes=len(content))
    assert getattr(read, "content", None) == content


async def test_a_transfer_whose_answer_is_lost_is_repeated(scene: Scene, sandbox: DaytonaSandbox) -> None:
    scene.service.fault("upload_files", drop="after")
    await written(sandbox, bytes(range(256)) * 8_000)
    assert await say(sandbox, "wc -c < file") == str(256 * 8_000)


async def test_a_service_that_stays_down_is_told_in_time(scene: Scene, sandbox: DaytonaSandbox) -> None:
    scene.service.fault("execute", times=None, status=502)
    with anyio.fail_after(30), pytest.raises(SandboxUnavailable) as told:
        await sandbox.scan()
    assert "502" in str(told.value)
    assert sandbox.sandbox_id in str(told.value)
    assert told.value.hint


@pytest.mark.parametrize("state", ["stopped", "paused", "archived"])
async def test_one_that_sleeps_is_woken_by_the_call_that_needs_it(
    scene: Scene, sandbox: DaytonaSandbox, state: str
) -> None:
    await written(sandbox, b"kept")
    scene.service.happen(sandbox.sandbox_id, state)
    assert await say(sandbox, "cat file") == "kept"


async def test_one_that_failed_and_can_be_recovered_is(scene: Scene, sandbox: DaytonaSandbox) -> None:
    await written(sandbox, b"kept")
    scene.service.happen(sandbox.sandbox_id, "error", reason="the runner was restarted", recoverable=True)
    assert await say(sandbox, "cat file") == "kept"
    assert scene.asked("recover_sandbox") == 1


async def test_one_that_failed_for_good_is_told_with_its_reason(scene: Scene, sandbox: DaytonaSandbox) -> None:
    scene.service.happen(sandbox.sandbox_id, "error", reason="disk on fire")
    with pytest.raises(SandboxUnavailable, match="disk on fire"):
        await sandbox.scan()


async def test_one_that_was_deleted_behind_our_back_is_lost(scene: Scene, sandbox: DaytonaSandbox) -> None:
    scene.service.vanish(sandbox.sandbox_id)
    with pytest.raises(SandboxLost):
        await sandbox.exec(Command(text="true"))
    anew = await scene.acquire()
    assert anew.sandbox_id != sandbox.sandbox_id
    assert await anew.read_mark() is None


async def test_looking_for_one_makes_none_and_finds_and_wakes_the_one_that_there_is(scene: Scene) -> None:
    spec = Spec(provider="daytona")
    assert await scene.provider.find(spec, "ws", 1, no_phase) is None
    assert scene.counts() == {"get_sandbox": 1}
    made = await scene.acquire()
    await written(made, b"kept")
    scene.service.happen(made.sandbox_id, "stopped")
    found = await scene.provider.find(spec, "ws", 1, no_phase)
    assert found is not None
    assert found.sandbox_id == made.sandbox_id
    assert await say(found, "cat file") == "kept"
    scene.service.vanish(made.sandbox_id)
    assert await scene.provider.find(spec, "ws", 1, no_phase) is None
    assert scene.asked("create_sandbox") == 1


async def test_a_command_whose_sandbox_is_stopped_meanwhile_is_lost_and_not_repeated(
    scene: Scene, sandbox: DaytonaSandbox
) -> None:
    results: list[CommandResult] = []

    async def begun() -> bool:
        return await sandbox.stat_files([FILE]) != [None]

    async def run() -> None:
        results.append(await sandbox.exec(Command(text="echo x >> file; sleep 441")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(begun)
        scene.service.happen(sandbox.sandbox_id, "stopped")
    assert [result.state for result in results] == [RunState.LOST]
    assert await say(sandbox, "cat file") == "x"


async def test_processes_of_before_a_stop_are_known_as_lost(scene: Scene, sandbox: DaytonaSandbox) -> None:
    started = await sandbox.exec(Command(text="sleep 442"), wait_s=0)
    scene.service.happen(sandbox.sandbox_id, "stopped")
    assert (await sandbox.process(started.process_id)).state is RunState.LOST
    again = await sandbox.exec(Command(text="sleep 443"), wait_s=0)
    assert again.process_id == "2.1"


async def test_a_command_that_ends_the_supervisor_costs_the_processes_and_nothing_else(
    scene: Scene, sandbox: DaytonaSandbox
) -> None:
    await written(sandbox, b"kept")
    result = await sandbox.exec(Command(text="pkill -9 -f '[i]nside.supervisor'; sleep 444"))
    assert result.state is RunState.LOST
    assert await say(sandbox, "cat file") == "kept"


async def test_a_command_that_removes_the_hand_has_it_brought_again(scene: Scene, sandbox: DaytonaSandbox) -> None:
    await sandbox.exec(Command(text="rm -rf ~/.vaporform"))
    assert await say(sandbox, "echo fine") == "fine"


async def test_a_mark_that_a_command_changed_or_put_in_place_of_another_is_none(sandbox: DaytonaSandbox) -> None:
    await sandbox.write_mark(b"one")
    for forged, seen in (("", b"one"), ("for mark in ~/.vaporform/mark-*; do echo forged > $mark; done", None)):
        await say(sandbox, forged or "true")
        async with open_scene(afresh=False) as another_server:
            assert await (await another_server.acquire()).read_mark() == seen


async def test_a_mark_is_not_about_a_folder_that_was_made_anew(scene: Scene, sandbox: DaytonaSandbox) -> None:
    await sandbox.write_mark(b"one")
    folder = await say(sandbox, "pwd")
    await sandbox.exec(Command(text=f"cd /; rm -rf {folder}; mkdir {folder}", cwd="/tmp"))
    with pytest.raises(SandboxLost):
        await sandbox.scan()
    assert await (await scene.acquire()).read_mark() is None


HOSTILE = """
import os
told = [
    "vaporform-answer " + "9" * 5_000 + " 00000000 AAAA",
    "vaporform-answer 5 00000000 A",
    "vaporform-answer 5 00000000 A\\u00e9==",
    "vaporform-python 3." + "9" * 100_000,
]
at = len(open("/tmp/asked").read()) if os.path.exists("/tmp/asked") else 0
open("/tmp/asked", "a").write("x")
print(told[min(at // 3, 3)])
"""


async def test_a_hand_that_a_command_replaced_cannot_break_the_server(sandbox: DaytonaSandbox) -> None:
    await sandbox.exec(Command(text="cat > ~/.vaporform/supervisor-*.pyz", stdin=HOSTILE.encode(), timeout_s=30))
    for _ in range(4):
        with pytest.raises(SandboxUnavailable) as told:
            await sandbox.stat_files([FILE])
        assert len(str(told.value)) < 1_000
        assert told.value.hint


async def test_what_a_command_prints_costs_what_is_shown_of_it(scene: Scene, sandbox: DaytonaSandbox) -> None:
    scene.service.forget_requests()
    result = await sandbox.exec(Command(text="head -c 100000000 /dev/urandom", timeout_s=30))
    assert result.state is RunState.EXITED
    assert result.omitted_bytes > 99_000_000
    assert sum(int(str(each["sent_bytes"])) for each in scene.service.requests()) < 300_000


async def test_the_key_is_nowhere_in_the_sandbox(scene: Scene, sandbox: DaytonaSandbox) -> None:
    found = await say(sandbox, f"env | grep -c {scene.service.key}; grep -rlsa {scene.service.key} ~ /tmp . ; true")
    assert found == "0"
