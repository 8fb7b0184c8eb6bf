"""Writing, reading, editing, listing and searching: the sandbox first, then the mirror."""

from __future__ import annotations

import anyio
import pytest

from tests.contract.stores import entry_of
from tests.workspace.conftest import Server, ServerFactory
from tests.workspace.helpers import opened, path, run, shell
from vaporform_mcp.errors import Conflict, InvalidArgument, IsDirectory, LimitReached, NotADirectory, NotFound, TooLarge
from vaporform_mcp.types import ROOT, EntryKind
from vaporform_mcp.workspace.reading import MAX_READ_BYTES


async def test_a_write_is_executable_at_once_and_durable_when_it_is_answered(server: Server) -> None:
    workspace = await opened(server.manager)
    written = await workspace.write(path("src/run.sh"), b"echo it runs\n", made_by="write_to_file")
    assert written.mirrored
    assert await shell(workspace, "sh src/run.sh") == "it runs\n"
    entry = await entry_of(server.store, workspace.record.id, path("src/run.sh"))
    assert entry is not None
    assert (entry.digest, entry.mime_type) == (written.digest, "text/x-shellscript")


async def test_a_file_is_read_as_the_sandbox_has_it(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"old", made_by="write_to_file")
    await shell(workspace, "printf new > a.txt")
    read = await workspace.read(path("a.txt"))
    assert (read.content, read.source, read.removed) == (b"new", "sandbox", False)


async def test_a_file_removed_in_the_sandbox_is_read_from_the_mirror_and_said_to_be_gone(server: Server) -> None:
    workspace = await opened(server.manager)
    written = await workspace.write(path("a.txt"), b"kept", made_by="write_to_file")
    await shell(workspace, "rm a.txt")
    await workspace.sync(made_by="test")
    read = await workspace.read(path("a.txt"))
    assert (read.content, read.source, read.removed, read.revision) == (b"kept", "mirror", True, written.revision)


async def test_a_file_that_never_was_is_answered_with_names_near_it(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("src/main.py"), b"", made_by="write_to_file")
    with pytest.raises(NotFound) as caught:
        await workspace.read(path("main.py"))
    assert "src/main.py" in caught.value.hint


async def test_a_folder_is_no_file(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("src/a.txt"), b"x", made_by="write_to_file")
    with pytest.raises(IsDirectory):
        await workspace.read(path("src"))
    with pytest.raises(IsDirectory):
        await workspace.write(path("src"), b"x", made_by="write_to_file")
    with pytest.raises(NotADirectory):
        await workspace.write(path("src/a.txt/b.txt"), b"x", made_by="write_to_file")


async def test_a_device_a_fifo_and_a_link_that_leaves_the_workspace_are_refused(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "mkfifo pipe; ln -s /etc/passwd out; ln -s /dev/zero zero; ln -s a.txt in; echo hi > a.txt")
    for name in ("pipe", "out", "zero"):
        with pytest.raises(InvalidArgument):
            await workspace.read(path(name))
    for name in ("pipe", "out", "zero"):
        with pytest.raises(InvalidArgument):
            await workspace.write(path(name), b"x", made_by="write_to_file")
    assert (await workspace.read(path("in"))).content == b"hi\n"


async def test_writing_through_a_link_inside_changes_the_file_that_it_names(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "echo old > target.txt; ln -s target.txt link")
    await workspace.sync(made_by="test")
    await workspace.write(path("link"), b"new\n", made_by="write_to_file")
    assert await shell(workspace, "cat target.txt; readlink link") == "new\ntarget.txt\n"
    tree = await server.store.tree(workspace.record.id)
    assert tree[path("link")].kind is EntryKind.SYMLINK
    assert tree[path("target.txt")].size == 4


async def test_a_file_over_the_limit_of_a_read_is_refused_with_the_way_to_read_it(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, f"head -c {MAX_READ_BYTES + 1} /dev/zero > big.bin")
    with pytest.raises(TooLarge) as caught:
        await workspace.read(path("big.bin"))
    assert "execute_command" in caught.value.hint


async def test_a_large_file_is_written_mirrored_and_restored_whole(server: Server) -> None:
    workspace = await opened(server.manager)
    content = bytes(range(256)) * (40 * 4096)  # 40 MiB
    written = await workspace.write(path("large.bin"), content, made_by="write_to_file")
    assert written.mirrored
    await server.provider.destroy(workspace.record.id, 1)
    expected = f"{written.digest}  large.bin\n"
    assert await shell(workspace, "sha256sum large.bin") == expected


async def test_the_mode_of_a_file_survives_a_write_and_a_lost_sandbox(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("tool"), b"#!/bin/sh\necho 1\n", made_by="write_to_file")
    await shell(workspace, "chmod 755 tool")
    await workspace.write(path("tool"), b"#!/bin/sh\necho 2\n", made_by="write_to_file")
    assert await shell(workspace, "./tool") == "2\n"
    await workspace.sync(made_by="test")
    await server.provider.destroy(workspace.record.id, 1)
    assert await shell(workspace, "./tool") == "2\n"


async def test_two_writes_of_one_file_at_once_leave_one_of_them_whole_in_both_places(server: Server) -> None:
    workspace = await opened(server.manager)
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(lambda n: workspace.write(path("one.txt"), str(n).encode() * 1000, made_by="w"), number)
    in_sandbox = (await workspace.read(path("one.txt"))).content
    entry = await entry_of(server.store, workspace.record.id, path("one.txt"))
    assert entry is not None
    assert (await server.store.get_blobs({entry.digest}))[entry.digest] == in_sandbox


async def test_an_edit_keeps_what_it_does_not_name_byte_for_byte(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"one\r\ntwo\r\nth\xffree\r\n", made_by="write_to_file")
    diff = "------- SEARCH\ntwo\n=======\n2\n+++++++ REPLACE\n"
    replaced = await workspace.replace(path("a.txt"), diff, made_by="replace_in_file")
    assert replaced.replacements == 1
    assert (await workspace.read(path("a.txt"))).content == b"one\r\n2\r\nth\xffree\r\n"


async def test_an_edit_that_misses_changes_nothing(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"one\n", made_by="write_to_file")
    diff = "------- SEARCH\none\n=======\n1\n+++++++ REPLACE\n------- SEARCH\nthree\n=======\n3\n+++++++ REPLACE\n"
    with pytest.raises(NotFound):
        await workspace.replace(path("a.txt"), diff, made_by="replace_in_file")
    assert (await workspace.read(path("a.txt"))).content == b"one\n"


def adding(line: str) -> str:
    return f"------- SEARCH\nend\n=======\n{line}\nend\n+++++++ REPLACE\n"


async def test_edits_of_one_file_by_two_servers_and_two_names_are_all_kept(start_server: ServerFactory) -> None:
    async with start_server() as first, start_server() as second:
        workspaces = [await opened(first.manager), await opened(second.manager)]
        await workspaces[0].write(path("a.txt"), b"end\n", made_by="write_to_file")
        await shell(workspaces[0], "ln -s a.txt alias.txt")

        async def edit(which: int, name: str) -> None:
            for number in range(10):
                while True:
                    try:
                        await workspaces[which].replace(path(name), adding(f"{which} {name} {number}"), made_by="edit")
                    except Conflict:
                        continue  # said to have failed: so it is repeated
                    break

        async with anyio.create_task_group() as group:
            for which in (0, 1):
                for name in ("a.txt", "alias.txt"):
                    group.start_soon(edit, which, name)
        lines = (await workspaces[0].read(path("a.txt"))).content.decode().splitlines()
    expected = [
        f"{which} {name} {number}" for which in (0, 1) for name in ("a.txt", "alias.txt") for number in range(10)
    ]
    assert sorted(lines) == sorted([*expected, "end"])


async def test_an_edit_of_a_file_that_something_keeps_changing_is_refused_or_whole(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"end\n", made_by="write_to_file")
    busy = "touch begun; while [ ! -e stop ]; do touch a.txt; done"
    started = await run(workspace, busy, wait_s=0.2, background=True)
    outcomes: set[str] = set()
    for number in range(10):
        try:
            await workspace.replace(path("a.txt"), adding(f"line {number}"), made_by="replace_in_file")
        except Conflict:
            continue
        outcomes.add(f"line {number}")
    await workspace.stop(started.result.process_id)
    lines = set((await workspace.read(path("a.txt"))).content.decode().splitlines())
    assert lines == {*outcomes, "end"}


async def test_an_edit_that_makes_a_file_too_large_for_one_piece_is_made(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "head -c 8388000 /dev/zero | tr '\\0' x > a.txt; printf '\nend\n' >> a.txt")
    await workspace.replace(path("a.txt"), adding("y" * 1000), made_by="replace_in_file")
    assert await shell(workspace, "wc -c < a.txt; tail -n 1 a.txt") == f"{8388000 + 5 + 1001}\nend\n"


async def test_a_listing_names_what_it_does_not_descend_into(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "mkdir -p src node_modules/x; touch src/a.py node_modules/x/index.js")
    flat = await workspace.list(ROOT, recursive=False, limit=100)
    assert {item.path for item in flat.entries} == {"src", "node_modules"}
    deep = await workspace.list(ROOT, recursive=True, limit=100)
    assert {item.path for item in deep.entries} == {"src", "src/a.py", "node_modules"}
    assert deep.unlisted == ["node_modules"]


async def test_a_search_finds_lines_with_what_is_around_them(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("src/a.py"), b"import os\ndef main():\n    pass\n", made_by="write_to_file")
    await workspace.write(path("src/b.txt"), b"def main():\n", made_by="write_to_file")
    found = await workspace.search(ROOT, r"def \w+\(", file_pattern="*.py", limit=10)
    [match] = found.matches
    assert (match.path, match.line, match.text) == ("src/a.py", 2, "def main():")
    assert (list(match.before), list(match.after)) == (["import os"], ["    pass"])


async def test_a_search_leaves_out_binary_files_and_says_how_many(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.bin"), b"needle\0", made_by="write_to_file")
    found = await workspace.search(ROOT, "needle", file_pattern=None, limit=10)
    assert (list(found.matches), found.skipped) == ([], 1)


async def test_a_pattern_that_explodes_ends_in_bounded_time_and_one_that_is_none_is_named(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"a" * 60 + b"!\n", made_by="write_to_file")
    with pytest.raises(LimitReached):
        await workspace.search(ROOT, r"(?:(?:a|a)*)*(?:b)\1?$|(a|aa)+$", file_pattern=None, limit=10)
    with pytest.raises(InvalidArgument):
        await workspace.search(ROOT, "(", file_pattern=None, limit=10)


async def test_a_command_that_fails_is_a_result(server: Server) -> None:
    workspace = await opened(server.manager)
    executed = await run(workspace, "echo no >&2; exit 3")
    assert (executed.result.exit_code, executed.result.head) == (3, b"no\n")
