"""What commands do to files reaches the mirror, and only that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.contract.stores import entry_of
from tests.workspace.conftest import Server
from tests.workspace.helpers import eventually, opened, path, run, shell
from tests.workspace.seams import Gate, seam_server
from vaporform_mcp.stores.base import Blob
from vaporform_mcp.types import Change, EntryKind
from vaporform_mcp.workspace.files import digest_of


async def test_files_that_a_command_made_changed_and_removed_reach_the_mirror_by_themselves(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("old.txt"), b"x", made_by="write_to_file")
    await workspace.write(path("changed.txt"), b"x", made_by="write_to_file")
    await shell(workspace, "rm old.txt; echo more >> changed.txt; mkdir d; echo new > d/new.txt")

    async def followed() -> bool:
        tree = await server.store.tree(workspace.record.id)
        return set(tree) == {"changed.txt", "d/new.txt"} and tree[path("changed.txt")].size == 6

    async def settled() -> bool:
        return not workspace.mirror_state().pending

    await eventually(followed)
    await eventually(settled)


async def test_the_revision_tells_which_command_made_it(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "echo 1 > made.txt")

    async def told() -> bool:
        revisions = await server.store.log(workspace.record.id, path=path("made.txt"))
        return [revision.made_by for revision in revisions] == ["execute_command: echo 1 > made.txt"]

    await eventually(told)


async def test_a_sync_in_which_nothing_changed_makes_no_revision(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"x", made_by="write_to_file")
    first = await workspace.sync(made_by="test")
    second = await workspace.sync(made_by="test")
    assert (first.revision, first.changed) == (second.revision, second.changed) == (1, 0)


async def test_a_label_makes_a_revision_even_where_nothing_changed(server: Server) -> None:
    workspace = await opened(server.manager)
    report = await workspace.sync(made_by="test", label="here")
    labelled = await server.store.labelled(workspace.record.id, "here")
    assert labelled is not None
    assert labelled.number == report.revision


async def test_what_is_installed_or_built_stays_out_unless_it_was_written_by_a_tool(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("dist/kept.js"), b"1", made_by="write_to_file")
    await shell(workspace, "mkdir -p node_modules/x .git; touch node_modules/x/i.js .git/HEAD dist/built.js a.pyc")
    await workspace.sync(made_by="test")
    assert set(await server.store.tree(workspace.record.id)) == {"dist/kept.js"}
    await shell(workspace, "echo 22 > dist/kept.js")
    await workspace.sync(made_by="test")
    entry = await entry_of(server.store, workspace.record.id, path("dist/kept.js"))
    assert entry is not None
    assert entry.size == 3
    await shell(workspace, "rm dist/kept.js")
    await workspace.sync(made_by="test")
    assert await entry_of(server.store, workspace.record.id, path("dist/kept.js")) is None


async def test_links_modes_empty_files_and_names_in_any_script_come_back(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(
        workspace, "touch empty; ln -s empty link; ln -s /nowhere broken; echo ü > 'ñ 日本.txt'; chmod 700 empty"
    )
    report = await workspace.sync(made_by="test")
    assert report.problems == []
    tree = await server.store.tree(workspace.record.id)
    assert {name: entry.kind for name, entry in tree.items()} == {
        "empty": EntryKind.FILE,
        "link": EntryKind.SYMLINK,
        "broken": EntryKind.SYMLINK,
        "ñ 日本.txt": EntryKind.FILE,
    }
    await server.provider.destroy(workspace.record.id, 1)
    assert await shell(workspace, "readlink link broken; cat 'ñ 日本.txt'; stat -c %a empty") == (
        "empty\n/nowhere\nü\n700\n"
    )


async def test_a_name_that_cannot_be_mirrored_is_reported_and_costs_only_itself(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, r"""touch "$(printf 'new\nline')" "$(printf 'no\377utf8')" fine""")
    report = await workspace.sync(made_by="test")
    assert set(await server.store.tree(workspace.record.id)) == {"fine"}
    assert len(report.problems) == 2


async def test_a_file_that_cannot_be_read_keeps_what_the_mirror_has_of_it(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"first", made_by="write_to_file")
    await shell(workspace, "echo second > a.txt; chmod 000 a.txt")
    report = await workspace.sync(made_by="test")
    assert [problem.partition(":")[0] for problem in report.problems] == ["a.txt"]
    entry = await entry_of(server.store, workspace.record.id, path("a.txt"))
    assert entry is not None
    assert entry.size == 5


async def test_files_that_change_within_one_tick_of_the_clock_are_never_missed(server: Server) -> None:
    workspace = await opened(server.manager)
    for number in range(10):
        await shell(workspace, f"printf {number} > racy.txt")  # always of the same size
        await workspace.sync(made_by="test")
        entry = await entry_of(server.store, workspace.record.id, path("racy.txt"))
        assert entry is not None
        assert (await server.store.get_blobs({entry.digest}))[entry.digest] == str(number).encode()


async def test_a_running_process_that_keeps_writing_is_followed(server: Server) -> None:
    workspace = await opened(server.manager)
    await run(workspace, "sleep 0.6; echo late > late.txt; sleep 60", wait_s=0)
    await shell(workspace, "true")

    async def followed() -> bool:
        return await entry_of(server.store, workspace.record.id, path("late.txt")) is not None

    await eventually(followed, limit_s=40)


async def test_what_a_child_in_the_background_writes_after_its_command_is_followed(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "(sleep 3; echo late > late.txt) >/dev/null 2>&1 &")

    async def followed() -> bool:
        return await entry_of(server.store, workspace.record.id, path("late.txt")) is not None

    await eventually(followed, limit_s=60)


async def test_a_folder_that_became_a_link_takes_the_files_under_it_out_of_the_tree(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("d/a.txt"), b"old", made_by="write_to_file")
    await shell(workspace, "mv d other; ln -s other d")
    await workspace.sync(made_by="test")
    assert set(await server.store.tree(workspace.record.id)) == {"d", "other/a.txt"}
    written = await workspace.write(path("d/b.txt"), b"new", made_by="write_to_file")
    assert written.mirrored
    assert set(await server.store.tree(workspace.record.id)) == {"d", "other/a.txt", "other/b.txt"}
    await server.provider.destroy(workspace.record.id, 1)
    assert await shell(workspace, "readlink d; cat d/a.txt d/b.txt") == "other\noldnew"


@pytest.mark.parametrize("before", ["echo x > thing", "ln -s /nowhere thing"])
async def test_a_file_or_link_that_became_a_folder_leaves_the_tree_to_what_is_in_it(
    server: Server, before: str
) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, before)
    await workspace.sync(made_by="test")
    await shell(workspace, "rm thing; mkdir thing; echo inner > thing/a.txt")
    await workspace.sync(made_by="test")
    assert set(await server.store.tree(workspace.record.id)) == {"thing/a.txt"}
    await server.provider.destroy(workspace.record.id, 1)
    assert await shell(workspace, "cat thing/a.txt") == "inner\n"


async def test_a_large_file_that_cannot_be_read_or_keeps_growing_holds_nothing_else_up(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "head -c 9000000 /dev/zero > closed.bin; chmod 000 closed.bin; echo x > fine.txt")
    await run(workspace, "while :; do head -c 9000000 /dev/zero >> growing.log; done", wait_s=0.5)
    report = await workspace.sync(made_by="test")
    assert {problem.partition(":")[0] for problem in report.problems} >= {"closed.bin"}
    assert path("fine.txt") in await server.store.tree(workspace.record.id)


async def test_a_mirror_that_came_to_differ_behind_an_unchanged_file_is_put_right(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"in the sandbox", made_by="write_to_file")
    await anyio.sleep(0.1)  # past the clock's grain, so that the index would vouch for the file
    await workspace.sync(made_by="test")
    wrong = b"somebody's late commit"
    entry = await entry_of(server.store, workspace.record.id, path("a.txt"))
    assert entry is not None
    late = replace(entry, digest=digest_of(wrong), size=len(wrong))
    await server.store.put_blobs([Blob(digest=late.digest, content=wrong, mime_type="text/plain")])
    head = await server.store.head(workspace.record.id)
    change = Change(path=path("a.txt"), entry=late)
    await server.store.append(
        workspace.record.id, parent=head.number, revision_id="late", epoch=head.epoch, changes=[change], made_by="other"
    )
    await workspace.sync(made_by="test")
    entry = await entry_of(server.store, workspace.record.id, path("a.txt"))
    assert entry is not None
    assert entry.digest == digest_of(b"in the sandbox")


async def test_what_a_process_writes_last_is_mirrored_although_it_has_ended(server: Server) -> None:
    workspace = await opened(server.manager)
    await run(workspace, "for i in 1 2 3 4 5 6 7 8; do echo $i > last.txt; sleep 0.1; done", wait_s=0)

    async def followed() -> bool:
        entry = await entry_of(server.store, workspace.record.id, path("last.txt"))
        return entry is not None and entry.digest == digest_of(b"8\n")

    await eventually(followed, limit_s=40)


async def test_one_folder_that_cannot_be_read_keeps_its_own_files_and_no_others(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "mkdir closed; echo x > closed/kept.txt; echo y > gone.txt")
    await workspace.sync(made_by="test")
    await shell(workspace, "chmod 000 closed; rm gone.txt")
    report = await workspace.sync(made_by="test")
    assert set(await server.store.tree(workspace.record.id)) == {"closed/kept.txt"}
    assert any("closed" in problem for problem in report.problems)
    await shell(workspace, "chmod 755 closed")


async def test_what_changes_while_a_sync_begins_is_told_of_the_command_that_changed_it(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server, anyio.create_task_group() as group:
        workspace = await opened(server.manager)
        gate = server.store.before["head"] = Gate()

        async def look() -> None:
            await workspace.sync(made_by="diff")

        group.start_soon(look)
        with anyio.fail_after(30):
            await gate.reached.wait()
        await shell(workspace, "echo 1 > made.txt")
        gate.opened.set()

        async def told() -> bool:
            revisions = await server.store.log(workspace.record.id, path=path("made.txt"))
            return [revision.made_by for revision in revisions] == ["execute_command: echo 1 > made.txt"]

        await eventually(told)
