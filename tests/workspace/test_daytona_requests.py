"""What each operation of a workspace costs in requests to Daytona, a scan included where the watch cannot tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.sandboxes import daytona_config, emulator, no_phase, until
from tests.emulators.daytona.emulator import Emulator
from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager import open_manager
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.sandboxes.daytona.provider import DaytonaProvider, open_daytona
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.types import Spec, WorkspaceName, parse_path
from vaporform_mcp.workspace import Workspace

pytestmark = pytest.mark.usefixtures("namespaces")

WAIT_S = 60.0


class Counted:
    """A workspace, and what it has asked of the service since it was last looked at."""

    def __init__(self, workspace: Workspace, provider: DaytonaProvider, service: Emulator) -> None:
        self.workspace = workspace
        self.provider = provider
        self._service = service

    def requests(self) -> Counter[str]:
        found = Counter(str(each["route"]) for each in self._service.requests())
        self._service.forget_requests()
        return found

    async def run(self, text: str) -> None:
        """In the sandbox, without a sync that would follow it."""
        sandbox = await self.provider.acquire(Spec(provider="daytona"), self.workspace.record.id, 1, no_phase)
        assert (await sandbox.exec(Command(text=text, timeout_s=WAIT_S))).exit_code == 0
        self.requests()

    async def until_synced(self) -> None:
        async def is_synced() -> bool:
            return not self.workspace.mirror_state().pending

        await until(is_synced)


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[Counted]:
    service = emulator()
    service.reset()
    async with (
        open_sqlite(tmp_path / "vaporform.sqlite3") as store,
        open_daytona(daytona_config(store_id="counted")) as provider,
        open_manager(store, provider, lambda name: HostLock(tmp_path / "locks" / name), Spec(provider="daytona")) as m,
    ):
        workspace = await m.workspace("ada", WorkspaceName("counted"), wait_s=WAIT_S)
        made = Counted(workspace, provider, service)
        await made.until_synced()
        made.requests()
        yield made


async def test_a_write_costs_two_requests(counted: Counted) -> None:
    await counted.workspace.write(parse_path("a.txt"), b"x" * 100, made_by="test")
    assert counted.requests().total() <= 3, "the file, and whether the mark holds and where the file lies, once"
    await counted.workspace.write(parse_path("b.txt"), b"x" * 100, made_by="test")
    assert counted.requests() <= Counter({"execute": 2, "get_sandbox": 1})


async def test_a_read_costs_one_request(counted: Counted) -> None:
    await counted.run("echo hello > a.txt")
    await counted.workspace.read(parse_path("a.txt"))
    assert counted.requests() == Counter({"execute": 1})


async def test_a_command_that_ends_within_a_second_costs_one_request(counted: Counted) -> None:
    await counted.run("true")
    sandbox = await counted.provider.acquire(Spec(provider="daytona"), counted.workspace.record.id, 1, no_phase)
    counted.requests()
    said: list[bytes] = []
    await sandbox.exec(Command(text="echo one; sleep 0.2; echo two"), on_output=said.append)
    assert b"".join(said) == b"one\ntwo\n"
    assert counted.requests() == Counter({"execute": 1})


@pytest.mark.parametrize("files", [200, pytest.param(10_000, marks=pytest.mark.long)])
async def test_syncs_and_restores_cost_requests_by_their_size_and_not_by_the_number_of_files(
    counted: Counted, files: int
) -> None:
    workspace = counted.workspace
    make = f"for i in $(seq 1 {files}); do mkdir -p d$((i % 100)); echo content $i > d$((i % 100))/f$i.txt; done"
    await counted.run(make)
    await workspace.sync(made_by="test")
    assert counted.requests().total() <= 20

    await counted.run("for i in $(seq 1 10); do echo changed > d$i/f$i.txt; done")
    await workspace.sync(made_by="test")
    assert counted.requests().total() <= 8

    change = Command(text="for i in $(seq 1 10); do echo changed again > d$i/f$i.txt; done")
    await workspace.execute(change, wait_s=WAIT_S, background=False, on_output=None)
    await counted.until_synced()
    assert counted.requests().total() <= 1 + 8

    await workspace.complete(command=None, wait_s=WAIT_S)
    assert counted.requests().total() <= 12

    await counted.provider.destroy(workspace.record.id, 1)
    counted.requests()
    await workspace.read(parse_path("d1/f1.txt"))
    inside = counted.requests()
    # Those about the sandbox itself are as many as it takes looks until it runs.
    assert inside["execute"] + inside["upload_files"] + inside["download_files"] <= 40
