"""A sandbox is saved as a snapshot, and new workspaces are opened from it, as the emulated Daytona has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.contract.sandboxes import daytona_config, emulator
from tests.emulators.daytona.emulator import Emulator
from tests.workspace.helpers import OWNER, WAIT_S, eventually, path, run, shell
from tests.workspace.seams import seam_server
from vaporform_mcp.errors import (
    Conflict,
    InvalidArgument,
    LimitReached,
    NotFound,
    NotSupported,
    SandboxUnavailable,
    VaporformError,
)
from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager import Manager, OpenRequest, open_manager
from vaporform_mcp.sandboxes.daytona.provider import open_daytona
from vaporform_mcp.sandboxes.snapshots import Snapshot, SnapshotState
from vaporform_mcp.stores.sqlite import SqliteStore, open_sqlite
from vaporform_mcp.types import Spec, WorkspaceName
from vaporform_mcp.workspace import Workspace

pytestmark = pytest.mark.usefixtures("namespaces")

APP, COPY = WorkspaceName("app"), WorkspaceName("copy")


class Scene:
    def __init__(self, manager: Manager, store: SqliteStore, service: Emulator) -> None:
        self.manager = manager
        self.store = store
        self.service = service

    async def open(self, name: WorkspaceName = APP, *, snapshot: str | None = None) -> Workspace:
        """Raises what the opening failed with."""
        opened = await self.manager.open(OWNER, name, OpenRequest(snapshot=snapshot), wait_s=WAIT_S)
        assert opened.state == "ready", opened
        return await self.manager.workspace(OWNER, name, wait_s=WAIT_S)

    async def save(self, name: str, *, wait_s: float = WAIT_S) -> Snapshot:
        return await self.manager.snapshots.save(OWNER, APP, name, wait_s=wait_s)

    async def names(self) -> dict[str, str]:
        return {each.snapshot.name: each.snapshot.state.value for each in await self.manager.snapshots.list(OWNER)}

    def asked(self, route: str) -> int:
        return sum(each["route"] == route for each in self.service.requests())


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    service = emulator()
    service.reset()
    async with (
        open_sqlite(tmp_path / "vaporform.sqlite3") as store,
        open_daytona(daytona_config(store_id=tmp_path.name)) as provider,
        open_manager(
            store, provider, lambda name: HostLock(tmp_path / "locks" / name), Spec(provider="daytona")
        ) as manager,
    ):
        yield Scene(manager, store, service)


async def test_a_workspace_opened_from_a_snapshot_has_its_files_and_what_was_installed_and_is_one_of_its_own(
    scene: Scene,
) -> None:
    app = await scene.open()
    await shell(app, "echo one > a; mkdir -p node_modules/x; echo two > node_modules/x/y; echo three > ~/tool")
    await run(app, "sleep 300", background=True)
    await app.sync(made_by="test")
    assert (marks := await _marks(app))
    saved = await scene.save("shop-base")
    assert (saved.name, saved.state, saved.workspace_id) == ("shop-base", SnapshotState.ACTIVE, app.record.id)
    (listed,) = [each for each in await scene.manager.snapshots.list(OWNER) if not each.snapshot.is_general]
    assert (listed.snapshot.name, listed.workspace) == ("shop-base", "app")

    copy = await scene.open(COPY, snapshot="shop-base")
    assert await shell(copy, "cat a node_modules/x/y ~/tool") == "one\ntwo\nthree\n"
    assert [each.command for each in await copy.processes() if "sleep" in each.command] == []
    assert "sleep 300" in [each.command for each in await app.processes()]
    # What lies in it is mirrored without being written again, and each of the two goes its own way.
    await eventually(lambda: _has(scene, copy, "a"))
    await shell(copy, "echo changed > a")
    assert await shell(app, "cat a") == "one\n"
    # Of the sandbox that it was made from nothing is left beside the files, and no key was ever in it.
    assert not marks & await _marks(copy)
    assert await shell(copy, "cat ~/.vaporform/whose") == f"{copy.record.id} 1"
    looked = await run(copy, f"grep -rslF '{scene.service.key[:6]}''{scene.service.key[6:]}' ~ /workspace /tmp; true")
    assert looked.result.head == b""


async def test_one_rebuilt_is_as_its_mirror_says_and_not_as_the_snapshot_was(scene: Scene) -> None:
    app = await scene.open()
    await shell(
        app,
        "git init -qb main .; git config user.email a@b.c; git config user.name A; echo 1 > gone; mkdir folder; "
        "echo 1 > folder/file; echo 1 > changed; mkdir node_modules; echo 1 > node_modules/x; git add gone; "
        "git commit -qm one",
    )
    await scene.save("old")
    copy = await scene.open(COPY, snapshot="old")
    await shell(
        copy, "rm -r gone folder; echo 2 > folder; echo 2 > changed; git add -A gone folder changed; git commit -qm two"
    )
    await copy.sync(made_by="test")
    scene.service.vanish(f"vaporform-{copy.record.id}-1")
    found = await shell(copy, "cat folder changed node_modules/x; ls; git log --format=%s; git status --short")
    assert found == "2\n2\n1\nchanged\nfolder\nnode_modules\ntwo\none\n?? node_modules/\n"
    await copy.sync(made_by="test")
    assert path("gone") not in await scene.store.tree(copy.record.id)
    # A workspace outlives the snapshot that it was opened from.
    assert await scene.manager.snapshots.delete("old", wait_s=WAIT_S)
    copy.take_notices()
    scene.service.vanish(f"vaporform-{copy.record.id}-2")
    assert await shell(copy, "cat folder changed; ls node_modules 2>&1 || true; git log --format=%s") == (
        "2\n2\nls: cannot access 'node_modules': No such file or directory\ntwo\none\n"
    )
    assert any("The snapshot old is not there any more" in each for each in copy.take_notices())


async def test_a_save_that_takes_longer_than_a_call_may_is_joined_by_the_next(scene: Scene) -> None:
    app = await scene.open()
    scene.service.settings(timings={"snapshotting": 1.5})
    assert (await scene.save("slow", wait_s=0.3)).state is SnapshotState.SAVING
    assert (await scene.save("slow")).state is SnapshotState.ACTIVE
    assert scene.asked("snapshot_sandbox") == 1
    assert await shell(app, "echo on") == "on\n"
    with pytest.raises(Conflict, match=r"a snapshot slow already \(active\)"):
        await scene.save("slow")


async def test_a_save_whose_answer_is_lost_is_made_once(scene: Scene) -> None:
    await scene.open()
    lost: list[dict[str, object]] = [{"drop": "after"}, {"drop": "before"}, {"status": 503}]
    for at, fault in enumerate(lost):
        scene.service.fault("snapshot_sandbox", **fault)
        scene.service.fault("get_snapshot", status=502, skip=1, body="")
        assert (await scene.save(f"base-{at}")).state is SnapshotState.ACTIVE
    expected = {"base-0": "active", "base-1": "active", "base-2": "active", "daytona-small": "active"}
    assert await scene.names() == expected


async def test_a_save_that_fails_is_told_with_its_reason_and_keeps_no_name(scene: Scene) -> None:
    app = await scene.open()
    scene.service.settings(timings={"snapshotting": 0.5})
    scene.service.outcome("error", reason="the registry is full")
    with pytest.raises(SandboxUnavailable, match="could not be saved: the registry is full"):
        await scene.save("base")
    await eventually(lambda: _is_free(scene, "base"))
    assert await shell(app, "echo on") == "on\n"
    assert (await scene.save("base")).state is SnapshotState.ACTIVE
    scene.service.fault("snapshot_sandbox", status=400, body='{"message": "Snapshot quota exceeded. Maximum: 30"}')
    with pytest.raises(LimitReached, match="Snapshot quota exceeded"):
        await scene.save("more")


async def test_a_name_that_cannot_be_used_is_refused_before_anything_is_opened(scene: Scene) -> None:
    for name in ("", "-x", "a b", "a/b", "x" * 65, "ends.", "two\nlines"):
        with pytest.raises(InvalidArgument, match="not a name for a snapshot"):
            await scene.save(name)
    assert await scene.manager.list(OWNER) == []
    assert scene.asked("create_sandbox") == 0


async def test_one_is_deleted_by_its_exact_name_and_one_that_is_not_there_makes_no_workspace(
    scene: Scene,
) -> None:
    await scene.open()
    await scene.save("shop-base")
    shelf = scene.manager.snapshots
    with pytest.raises(NotFound, match="no snapshot shop-bas") as told:
        await shelf.delete("shop-bas", wait_s=WAIT_S)
    assert told.value.hint == "Did you mean shop-base?"
    with pytest.raises(NotSupported, match="Daytona's own"):
        await shelf.delete("daytona-small", wait_s=WAIT_S)
    scene.service.forget_requests()
    for snapshot in ("shop-bsae", "unheard-of"):
        with pytest.raises(NotFound, match=f"no snapshot {snapshot}") as told:
            await scene.open(COPY, snapshot=snapshot)
        assert ("shop-base" in told.value.hint) == (snapshot == "shop-bsae")
    assert [each.name for each in await scene.manager.list(OWNER)] == [APP]
    assert scene.asked("create_sandbox") == 2
    assert await shelf.delete("shop-base", wait_s=WAIT_S)
    assert await scene.names() == {"daytona-small": "active"}


async def test_one_that_is_inactive_or_still_being_saved_is_made_usable_and_waited_for(scene: Scene) -> None:
    app = await scene.open()
    await shell(app, "echo 1 > a")
    scene.service.settings(timings={"snapshotting": 1.0})
    assert (await scene.save("base", wait_s=0.1)).state is SnapshotState.SAVING
    assert await shell(await scene.open(COPY, snapshot="base"), "cat a") == "1\n"
    scene.service.deactivate_snapshot("base")
    assert await scene.names() == {"base": "inactive", "daytona-small": "active"}
    assert await shell(await scene.open(WorkspaceName("more"), snapshot="base"), "cat a") == "1\n"
    assert scene.asked("activate_snapshot") == 1
    # What lies in it is not cloned over.
    request = OpenRequest(snapshot="base", git_url="https://example.org/a.git")
    with pytest.raises(InvalidArgument, match="the snapshot base has files"):
        await scene.manager.open(OWNER, WorkspaceName("cloned"), request, wait_s=WAIT_S)
    assert {each.name for each in await scene.manager.list(OWNER)} == {APP, COPY, "more"}


async def test_where_there_are_none_each_request_says_so_and_what_there_is_instead(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        shelf = server.manager.snapshots
        for ask in (
            lambda: shelf.save(OWNER, APP, "base", wait_s=WAIT_S),
            lambda: shelf.list(OWNER),
            lambda: shelf.delete("base", wait_s=WAIT_S),
        ):
            with anyio.fail_after(5), pytest.raises(NotSupported, match="no snapshots of local sandboxes") as told:
                await ask()
            assert "checkpoint" in told.value.hint
        assert await server.manager.list(OWNER) == []


async def _marks(workspace: Workspace) -> set[str]:
    return set((await shell(workspace, "ls ~/.vaporform | grep ^mark- || true")).split())


async def _has(scene: Scene, workspace: Workspace, name: str) -> bool:
    return path(name) in await scene.store.tree(workspace.record.id)


async def _is_free(scene: Scene, name: str) -> bool:
    try:
        await scene.manager.snapshots.find(OWNER, name)
    except VaporformError:
        return True
    return False
