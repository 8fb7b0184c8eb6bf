"""Files of a live sandbox made as they were: whole or not at all, recorded, and undone again."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from tests.contract.stores import entry_of
from tests.workspace.conftest import Server, ServerFactory
from tests.workspace.helpers import eventually, opened, path, run, shell
from tests.workspace.seams import Gate, seam_server
from vaporform_mcp.errors import InvalidArgument, LimitReached, NotFound, StoreUnavailable
from vaporform_mcp.sandboxes.base import FileWrite, RunState
from vaporform_mcp.types import ROOT
from vaporform_mcp.workspace import Workspace
from vaporform_mcp.workspace.results import Restored

WAIT_S = 60.0
LOOK = "find . -path ./node_modules -prune -o \\( -type f -o -type l \\) -printf '%p %y %m %l ' -exec cat {} \\; | sort"


async def restore(workspace: Workspace, to: str, under: str = "", *, wait_s: float = WAIT_S) -> Restored:
    restored = await workspace.restore(
        await workspace.find(to), path(under), wait_s=wait_s, on_progress=lambda done, total: None
    )
    assert restored is not None
    return restored


async def checkpoint(workspace: Workspace, label: str) -> int:
    return (await workspace.checkpoint(label, wait_s=WAIT_S)).point.number


async def test_the_whole_tree_comes_back_with_modes_links_and_empty_files_and_can_be_undone(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(
        workspace, "mkdir -p a/b; echo one > a/b/c; : > empty; echo '#!/bin/sh' > run; chmod 755 run; ln -s a/b/c link"
    )
    await checkpoint(workspace, "first")
    before = await shell(workspace, LOOK)
    await shell(workspace, "rm -r a link; echo two > empty; chmod 644 run; mkdir -p n; echo new > n/new; mkdir link")
    await shell(workspace, "echo in > link/in; echo now a file > a")
    changed = await shell(workspace, LOOK)
    restored = await restore(workspace, "first")
    assert restored.problems == {}
    assert (restored.files_restored, restored.files_removed) == (4, 3)
    assert await shell(workspace, LOOK) == before
    assert await shell(workspace, "test ! -e n && echo gone") == "gone\n"
    undone = await restore(workspace, str(restored.undo))
    assert undone.problems == {}
    assert await shell(workspace, LOOK) == changed


async def test_it_is_a_revision_that_says_what_made_it_and_the_mirror_is_as_the_sandbox(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"one", made_by="write_to_file")
    await workspace.write(path("a.txt"), b"two", made_by="write_to_file")
    restored = await restore(workspace, "1")
    assert restored.revision == 3
    (newest, *_) = (await workspace.history(ROOT, before=None, limit=5)).revisions
    assert (newest.number, newest.made_by, newest.changed) == (3, "restore: to revision 1", 1)
    report = await workspace.sync(made_by="test")
    assert (report.revision, report.changed) == (3, 0)
    assert (await workspace.read(path("a.txt"))).content == b"one"


async def test_one_file_or_folder_comes_back_and_nothing_else_is_touched(server: Server) -> None:
    workspace = await opened(server.manager)
    for name in ("src/a", "src/deep/b", "srcs", "c"):
        await workspace.write(path(name), b"one", made_by="write_to_file")
    await checkpoint(workspace, "one")
    await shell(workspace, "rm -r src; echo two > srcs; echo two > c; mkdir src; echo new > src/new")
    restored = await restore(workspace, "one", "src")
    assert (restored.files_restored, restored.files_removed) == (2, 1)
    assert await shell(workspace, "find src -type f | sort; cat srcs c") == "src/a\nsrc/deep/b\ntwo\ntwo\n"
    await restore(workspace, "one", "c")
    assert await shell(workspace, "cat c srcs") == "onetwo\n"


async def test_what_was_not_mirrored_yet_is_recorded_first_so_that_nothing_is_lost(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"one", made_by="write_to_file")
    await shell(workspace, "echo unmirrored > a.txt; echo new > new.txt")
    restored = await restore(workspace, "1")
    assert await shell(workspace, "cat a.txt; ls") == "onea.txt\n"
    await restore(workspace, str(restored.undo))
    assert await shell(workspace, "cat a.txt new.txt") == "unmirrored\nnew\n"


async def test_what_is_excluded_stays_and_where_it_is_in_the_way_it_is_recorded_first(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("dist/a.js"), b"written by hand", made_by="write_to_file")
    await shell(workspace, "rm -r dist")
    await workspace.sync(made_by="test")
    await shell(
        workspace, "mkdir dist node_modules; echo built > dist/a.js; echo built > dist/b.js; echo 1 > node_modules/m"
    )
    restored = await restore(workspace, "1")
    assert await shell(workspace, "cat dist/a.js dist/b.js node_modules/m") == "written by handbuilt\n1\n"
    await restore(workspace, str(restored.undo))
    assert await shell(workspace, "cat dist/a.js") == "built\n"


async def test_a_running_process_goes_on(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("index.html"), b"one", made_by="write_to_file")
    started = await run(workspace, "python3 -m http.server 8123", background=True)
    await workspace.write(path("index.html"), b"two", made_by="write_to_file")
    await restore(workspace, "1")
    fetch = "python3 -c \"import urllib.request as r; print(r.urlopen('http://127.0.0.1:8123/').read().decode())\""
    assert await shell(workspace, fetch) == "one\n"
    status = await workspace.check(started.result.process_id, wait_s=0, data=None, offset=0, limit=10)
    assert status.status.state is RunState.RUNNING


async def test_a_git_repository_stays_where_it_is(server: Server) -> None:
    workspace = await opened(server.manager)
    commit = "git add -A; git -c user.name=a -c user.email=a@b commit -qm"
    await shell(workspace, f"git init -q .; echo 1 > a; {commit} one")
    await checkpoint(workspace, "one")
    await shell(workspace, f"echo 2 > a; {commit} two")
    restored = await restore(workspace, "one")
    assert restored.files_restored == 1
    assert await shell(workspace, "git log --format=%s; git status --short") == "two\none\n M a\n"
    await workspace.sync(made_by="test")
    await server.provider.destroy(workspace.record.id, 1)
    assert await shell(workspace, "git log --format=%s; cat a") == "two\none\n1\n"
    with pytest.raises(InvalidArgument, match="history of its own"):
        await restore(workspace, "one", ".git")


async def test_a_path_that_never_was_is_named_with_those_near_it(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("src/app.py"), b"one", made_by="write_to_file")
    with pytest.raises(NotFound) as raised:
        await restore(workspace, "1", "src/ap.py")
    assert "src/app.py" in raised.value.hint
    assert (await restore(workspace, "1", "src")).revision == 1
    assert (await server.store.head(workspace.record.id)).number == 1


async def test_damaged_content_is_named_and_never_written(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"first content of a", made_by="write_to_file")
    await workspace.write(path("b.txt"), b"first content of b", made_by="write_to_file")
    await workspace.write(path("gone.txt"), b"content that goes", made_by="write_to_file")
    await shell(workspace, "echo two > a.txt; echo two > b.txt; rm gone.txt")
    await workspace.sync(made_by="test")
    with sqlite3.connect(server.data / "vaporform.sqlite3") as database:
        database.execute("UPDATE chunks SET content = ? WHERE content = ?", (b"evil", b"first content of a"))
        database.execute("DELETE FROM chunks WHERE content = ?", (b"content that goes",))
    database.close()
    restored = await restore(workspace, "3")
    assert restored.problems.keys() == {"a.txt", "gone.txt"}
    assert all("missing or damaged" in why for why in restored.problems.values())
    assert await shell(workspace, "cat a.txt b.txt; ls") == "two\nfirst content of ba.txt\nb.txt\n"
    entry = await entry_of(server.store, workspace.record.id, path("a.txt"))
    assert entry is not None
    assert entry.size == len(b"two\n")
    assert (await workspace.sync(made_by="test")).changed == 0


async def test_a_path_in_the_store_that_leaves_the_workspace_is_refused(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("ok.txt"), b"one", made_by="write_to_file")
    await workspace.write(path("evil.txt"), b"evil", made_by="write_to_file")
    await shell(workspace, "rm ok.txt evil.txt")
    await workspace.sync(made_by="test")
    with sqlite3.connect(server.data / "vaporform.sqlite3") as database:
        for table in ("changes", "latest"):
            database.execute(f"UPDATE {table} SET path = '../evil.txt' WHERE path = 'evil.txt'")  # noqa: S608
    database.close()
    restored = await restore(workspace, "2")
    assert restored.problems == {"../evil.txt": "refused: its path would leave the workspace"}
    assert await shell(workspace, "ls; ls ..; cat ok.txt") == await shell(workspace, "echo ok.txt; ls ..; printf one")
    assert not list(server.data.rglob("evil.txt"))


async def test_a_symbolic_link_that_the_mirror_does_not_know_leads_nothing_astray(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path(".vaporformignore"), b"lib\n", made_by="write_to_file")
    await workspace.write(path("lib/x"), b"old", made_by="write_to_file")
    await shell(workspace, "rm -r lib; mkdir src; echo precious > src/x")
    await workspace.sync(made_by="test")
    await shell(workspace, "ln -s src lib")
    restored = await restore(workspace, "2", "lib/x")
    assert restored.problems == {"lib/x": "'lib' on its way is a symbolic link"}
    assert await shell(workspace, "cat src/x") == "precious\n"


async def test_a_file_too_large_to_be_mirrored_is_not_overwritten(tmp_path: Path) -> None:
    from vaporform_mcp.exclusions import MirrorRules

    async with seam_server(tmp_path, rules=MirrorRules(max_file_bytes=1000)) as server:
        workspace = await opened(server.manager)
        await workspace.write(path("data"), b"small", made_by="write_to_file")
        await shell(workspace, "head -c 5000 /dev/zero > data")
        restored = await restore(workspace, "1")
        # At revision 1 the mirror has it as it still has it now: there is nothing to restore.
        assert restored.files_restored == 0
        await shell(workspace, "echo short > data")
        await workspace.sync(made_by="test")
        await shell(workspace, "head -c 5000 /dev/zero > data")
        restored = await restore(workspace, "1")
        assert "could not be mirrored" in restored.problems[path("data")]
        assert await shell(workspace, "wc -c < data") == "5000\n"


async def test_a_write_beside_a_restore_is_never_lost(start_server: ServerFactory) -> None:
    async with start_server() as first, start_server() as second:
        one, two = await opened(first.manager), await opened(second.manager)
        for number in range(5):
            await one.write(path(f"{number}.txt"), b"then", made_by="write_to_file")
        await checkpoint(one, "then")
        revisions: list[int | None] = []

        async def write() -> None:
            for number in range(20):
                content = f"now {number}".encode()
                written = await two.write(path(f"{number % 5}.txt"), content, made_by="write_to_file")
                revisions.append(written.revision)

        async with anyio.create_task_group() as group:
            group.start_soon(write)
            for _ in range(3):
                await restore(one, "then")
        await restore(one, "then")
        assert await shell(one, "cat *.txt") == "then" * 5
        for number, revision in enumerate(revisions):
            tree = await first.store.tree(one.record.id, revision)
            digest = tree[path(f"{number % 5}.txt")].digest
            assert (await first.store.get_blobs({digest}))[digest] == f"now {number}".encode()
        assert (await two.sync(made_by="test")).changed == 0


Fault = Callable[[], Awaitable[None]]


async def _unavailable() -> None:
    raise StoreUnavailable("the store is down", hint="Start it.")


async def test_a_store_that_fails_half_way_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await shell(
            workspace,
            "for n in 1 2 3; do head -c 6000000 /dev/urandom > $n; done; mkdir node_modules; echo 1 > node_modules/m",
        )
        await checkpoint(workspace, "large")
        await shell(workspace, "rm 1 2 3; echo new > 1")
        calls = 0

        async def second_fails() -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                await _unavailable()

        server.store.before["get_blobs"] = second_fails
        with pytest.raises(StoreUnavailable) as raised:
            await restore(workspace, "large")
        assert raised.value.hint.endswith("Everything is as it was before.")
        assert await shell(workspace, "ls; cat 1 node_modules/m") == "1\nnode_modules\nnew\n1\n"
        assert (await workspace.sync(made_by="test")).changed == 0
        assert (await restore(workspace, "large")).files_restored == 3


async def test_one_that_can_neither_be_finished_nor_undone_is_never_synced(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await shell(workspace, "for n in 1 2 3; do head -c 6000000 /dev/urandom > $n; done")
        await checkpoint(workspace, "large")
        await shell(workspace, "rm 1 2 3; echo new > 1; echo new > 4")
        calls = 0

        async def all_later_fail() -> None:
            nonlocal calls
            calls += 1
            if calls > 1:
                await _unavailable()

        server.store.before["get_blobs"] = all_later_fail
        with pytest.raises(StoreUnavailable) as raised:
            await restore(workspace, "large")
        assert "rebuilds the sandbox" in raised.value.hint
        del server.store.before["get_blobs"]
        assert await shell(workspace, "ls; cat 1 4") == "1\n4\nnew\nnew\n"
        assert any("was rebuilt" in notice for notice in workspace.take_notices())
        assert (await workspace.sync(made_by="test")).changed == 0
        newest = (await workspace.history(ROOT, before=None, limit=20)).revisions
        assert not any(each.made_by.startswith("restore: to") for each in newest)


async def test_a_full_disk_is_told_and_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await workspace.write(path("a"), b"one", made_by="write_to_file")
        await workspace.write(path("a"), b"two", made_by="write_to_file")

        async def full() -> None:
            del server.store.before["get_blobs"]
            raise LimitReached("the disk is full", hint="Remove something.")

        server.store.before["get_blobs"] = full
        with pytest.raises(LimitReached, match="disk is full"):
            await restore(workspace, "1")
        assert await shell(workspace, "cat a") == "two"


async def test_a_long_restore_goes_on_by_itself_and_the_same_call_joins_it(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await workspace.write(path("a"), b"one", made_by="write_to_file")
        await workspace.write(path("a"), b"two", made_by="write_to_file")
        gate = Gate()
        server.store.before["get_blobs"] = gate
        to = await workspace.find("1")

        async def call(wait_s: float) -> Restored | None:
            return await workspace.restore(to, ROOT, wait_s=wait_s, on_progress=lambda done, total: None)

        assert await call(0.2) is None
        await gate.reached.wait()
        assert workspace.is_restoring(to, ROOT)
        outcomes: list[Restored | None] = []

        async def join() -> None:
            outcomes.append(await call(WAIT_S))

        async with anyio.create_task_group() as group:
            group.start_soon(join)
            group.start_soon(join)
            gate.opened.set()
        assert [each.files_restored for each in outcomes if each is not None] == [1, 1]
        assert (await server.store.head(workspace.record.id)).number == 3


async def test_a_server_that_ends_finishes_the_restore_that_is_under_way(tmp_path: Path) -> None:
    gate = Gate()
    async with anyio.create_task_group() as group, seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await shell(workspace, "mkdir node_modules; echo 1 > node_modules/m")
        await workspace.write(path("a"), b"one", made_by="write_to_file")
        await checkpoint(workspace, "one")
        await workspace.write(path("a"), b"two", made_by="write_to_file")
        server.store.before["get_blobs"] = gate
        to = await workspace.find("one")
        assert await workspace.restore(to, ROOT, wait_s=0.1, on_progress=lambda done, total: None) is None
        await gate.reached.wait()

        async def let_go() -> None:
            gate.opened.set()

        group.start_soon(let_go)  # runs when the server has begun to end
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        assert await shell(workspace, "cat a node_modules/m") == "one1\n"
        assert (await server.store.head(workspace.record.id)).epoch == 1


async def test_one_that_nobody_waits_for_any_more_is_told_by_the_next_result(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await workspace.write(path("a"), b"one", made_by="write_to_file")
        await workspace.write(path("a"), b"two", made_by="write_to_file")
        gate = Gate()
        server.store.before["get_blobs"] = gate
        to = await workspace.find("1")
        assert await workspace.restore(to, ROOT, wait_s=0.1, on_progress=lambda done, total: None) is None
        gate.opened.set()

        async def ended() -> bool:
            return not workspace.is_restoring(to, ROOT)

        await eventually(ended)
        (notice,) = workspace.take_notices()
        assert notice == (
            "The restore to 1 that went on is done: 1 files restored, 0 removed. restore(to=2) undoes it."
        )


async def test_a_file_that_cannot_be_written_is_named_and_the_rest_comes_back(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "mkdir d; echo one > d/a; echo one > b")
    await checkpoint(workspace, "one")
    await shell(workspace, "echo two > d/a; echo two > b; chmod 555 d")
    restored = await restore(workspace, "one")
    assert restored.problems.keys() == {"d/a"}
    assert await shell(workspace, "cat d/a b") == "two\none\n"
    assert (await workspace.sync(made_by="test")).changed == 0


async def test_what_a_killed_restore_left_is_replaced_by_whatever_server_is_there(start_server: ServerFactory) -> None:
    async with start_server() as first, start_server() as second:
        one, two = await opened(first.manager), await opened(second.manager)
        await one.write(path("a.txt"), b"whole", made_by="write_to_file")
        record = one.record
        sandbox = await first.provider.acquire(record.spec, record.id, 1, lambda phase, percent: None)
        await one.sync(made_by="test")
        await two.sync(made_by="test")
        await sandbox.clear_mark()  # as a restore does that is killed then, after half of its files
        await sandbox.write_files([FileWrite(path=path("a.txt"), content=b"half")])

        async def healed() -> bool:
            return await shell(two, "cat a.txt") == "whole"

        await eventually(healed)
        assert await shell(one, "cat a.txt") == "whole"
        revisions = (await two.history(path("a.txt"), before=None, limit=9)).revisions
        assert [each.made_by for each in revisions] == ["write_to_file"]


async def test_what_lies_behind_a_symbolic_link_is_not_recorded_as_a_file_of_its_own_nor_removed(
    server: Server,
) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path(".vaporformignore"), b"lib\n", made_by="write_to_file")
    await workspace.write(path("lib/x"), b"old", made_by="write_to_file")
    await shell(workspace, "rm lib/x; ln -s elsewhere lib/x")
    linked = (await workspace.sync(made_by="test")).revision
    await shell(workspace, "rm -r lib; mkdir src; echo precious > src/x")
    await workspace.sync(made_by="test")
    await shell(workspace, "ln -s src lib")
    restored = await restore(workspace, str(linked), "lib/x")
    assert restored.problems == {"lib/x": "'lib' on its way is a symbolic link"}
    assert await shell(workspace, "cat src/x") == "precious\n"
    assert path("lib/x") not in await server.store.tree(workspace.record.id)
    assert (await workspace.sync(made_by="test")).changed == 0


async def test_damaged_content_leaves_also_what_is_of_another_kind_now(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a"), b"content that goes", made_by="write_to_file")
    await shell(workspace, "rm a; ln -s target a")
    await workspace.sync(made_by="test")
    with sqlite3.connect(server.data / "vaporform.sqlite3") as database:
        database.execute("DELETE FROM chunks WHERE content = ?", (b"content that goes",))
    database.close()
    restored = await restore(workspace, "1")
    assert restored.problems.keys() == {"a"}
    assert await shell(workspace, "readlink a") == "target\n"
    assert (await workspace.sync(made_by="test")).changed == 0


async def test_one_with_files_that_could_not_be_is_whole_also_where_the_store_fails_then(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await shell(workspace, "mkdir d node_modules; echo one > d/a; echo one > b; echo 1 > node_modules/m")
        await checkpoint(workspace, "one")
        await shell(workspace, "echo two > d/a; echo two > b; chmod 555 d")
        await workspace.sync(made_by="test")

        async def fails_from_then_on() -> None:
            server.store.before["missing"] = _unavailable

        server.store.before["get_blobs"] = fails_from_then_on
        restored = await restore(workspace, "one")
        assert restored.problems.keys() == {"d/a"}
        assert restored.mirror_error == "the store is down"
        server.store.before.clear()
        assert await shell(workspace, "cat d/a b node_modules/m") == "two\none\n1\n"
        assert (await workspace.sync(made_by="test")).problems == []
        assert (await entry_of(server.store, workspace.record.id, path("b"))) is not None
        assert (await restore(workspace, "one", "b")).files_restored == 0


async def test_what_did_not_come_back_with_the_sandbox_is_not_removed_by_a_restore_that_fails_too(
    tmp_path: Path,
) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await workspace.write(path("a"), b"the first content", made_by="write_to_file")
        await workspace.write(path("a"), b"the second content", made_by="write_to_file")
        with sqlite3.connect(server.data / "vaporform.sqlite3") as database:
            lost = (b"the first content", b"the second content")
            database.execute("DELETE FROM chunks WHERE content IN (?, ?)", lost)
        database.close()
        await server.provider.destroy(workspace.record.id, 1)
        assert await shell(workspace, "ls") == ""
        restored = await restore(workspace, "1")
        assert restored.problems.keys() == {"a"}
        assert path("a") in await server.store.tree(workspace.record.id)
        assert (await workspace.sync(made_by="test")).changed == 0
        assert path("a") in await server.store.tree(workspace.record.id)


async def test_an_edit_of_what_a_killed_restore_left_is_never_mirrored(start_server: ServerFactory) -> None:
    async with start_server() as first, start_server() as second:
        one, two = await opened(first.manager), await opened(second.manager)
        await one.write(path("a.txt"), b"whole\n", made_by="write_to_file")
        record = one.record
        sandbox = await first.provider.acquire(record.spec, record.id, 1, lambda phase, percent: None)
        await one.sync(made_by="test")
        await two.sync(made_by="test")
        await sandbox.clear_mark()  # as a restore does that is killed then, after half of its files
        await sandbox.write_files([FileWrite(path=path("a.txt"), content=b"half\n")])
        diff = "<<<<<<< SEARCH\nhalf\n=======\nhalf and more\n>>>>>>> REPLACE\n"
        with pytest.raises(NotFound):
            await two.replace(path("a.txt"), diff, made_by="replace_in_file")
        assert (await two.read(path("a.txt"))).content == b"whole\n"
        assert [each.made_by for each in (await two.history(path("a.txt"), before=None, limit=9)).revisions] == [
            "write_to_file"
        ]
