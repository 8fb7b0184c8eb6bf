"""What every sandbox promises about files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.contract.sandboxes import PROVIDERS, open_sandbox
from vaporform_mcp.errors import (
    Conflict,
    InvalidArgument,
    InvalidPath,
    IsDirectory,
    NotADirectory,
    NotFound,
    PermissionDenied,
    TooLarge,
    VaporformError,
)
from vaporform_mcp.sandboxes.base import (
    Command,
    FileContent,
    FileFault,
    FileStat,
    FileWrite,
    Sandbox,
)
from vaporform_mcp.types import EntryKind, Stat, WorkspacePath, parse_path

MEBIBYTE = 1024 * 1024


@pytest.fixture(params=PROVIDERS)
async def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with open_sandbox(request.param, tmp_path) as opened:
        yield opened


async def shell(sandbox: Sandbox, text: str) -> str:
    result = await sandbox.exec(Command(text=text))
    assert result.exit_code == 0, result
    return result.head.decode()


async def read(sandbox: Sandbox, path: str, *, max_bytes: int = MEBIBYTE, follow: bool = True) -> bytes:
    """One file's content, or its fault raised."""
    (found,) = await sandbox.read_files([WorkspacePath(path)], max_bytes=max_bytes, follow=follow)
    if isinstance(found, FileFault):
        raise found.error
    return found.content


async def write(
    sandbox: Sandbox, path: str, content: bytes, *, mode: int | None = None, expected: Stat | None = None
) -> FileStat:
    file = FileWrite(path=WorkspacePath(path), content=content, mode=mode, expected=expected)
    (done,) = await sandbox.write_files([file])
    if isinstance(done, FileFault):
        raise done.error
    return done


def paths_of(entries: Sequence[FileStat]) -> list[str]:
    return [entry.path for entry in entries]


async def test_what_was_written_is_read_back_with_the_same_stat(sandbox: Sandbox) -> None:
    written = await write(sandbox, "src/app.py", b"print()\n")
    (found,) = await sandbox.read_files([parse_path("src/app.py")], max_bytes=MEBIBYTE)
    assert isinstance(found, FileContent)
    assert (found.content, found.stat) == (b"print()\n", written.stat)
    assert (found.stat.kind, found.stat.size, found.stat.mode) == (EntryKind.FILE, 8, 0o644)


async def test_commands_see_what_was_written_and_the_other_way_round(sandbox: Sandbox) -> None:
    await write(sandbox, "in.txt", b"from outside")
    assert await shell(sandbox, "cat in.txt; printf 'from inside' > out.txt") == "from outside"
    assert await read(sandbox, "out.txt") == b"from inside"


async def test_any_bytes_and_any_name_survive(sandbox: Sandbox) -> None:
    content = bytes(range(256)) * 17
    for name in ("ünïcödé/日本語 🎉.bin", "a b'c\"d$e`f;g", "-rf", "x" * 255, "back\\slash"):
        await write(sandbox, name, content)
        assert await read(sandbox, name) == content


async def test_a_batch_is_answered_in_order_one_item_for_each(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir folder; mkfifo pipe; printf a > a; ln -s /etc/passwd leaves; ln -s a inside")
    names = ["a", "missing", "folder", "pipe", "leaves", "inside", "a/below"]
    found = await sandbox.read_files([WorkspacePath(name) for name in names], max_bytes=100)
    kinds = [type(one.error) if isinstance(one, FileFault) else one.content for one in found]
    assert kinds == [b"a", NotFound, IsDirectory, InvalidArgument, InvalidPath, b"a", NotADirectory] or kinds == [
        *(b"a", NotFound, IsDirectory, InvalidArgument, InvalidPath, b"a", NotFound)
    ]
    assert [one.path for one in found] == names


async def test_a_file_over_the_limit_is_too_large(sandbox: Sandbox) -> None:
    await write(sandbox, "big", b"x" * 101)
    with pytest.raises(TooLarge):
        await read(sandbox, "big", max_bytes=100)


async def test_what_no_longer_fits_into_a_batch_is_too_large_but_never_the_first(sandbox: Sandbox) -> None:
    for name in ("one", "two", "three"):
        await write(sandbox, name, name.encode() * MEBIBYTE)
    await shell(sandbox, "cat one two three one two three > huge")
    found = await sandbox.read_files([WorkspacePath("huge"), WorkspacePath("one")], max_bytes=22 * MEBIBYTE)
    assert isinstance(found[0], FileContent)
    assert len(found[0].content) == 22 * MEBIBYTE
    assert isinstance(found[1], FileFault)
    assert isinstance(found[1].error, TooLarge)


async def test_as_much_as_a_batch_carries_is_read_at_once(sandbox: Sandbox) -> None:
    count = sandbox.batch.size_bytes // MEBIBYTE
    await shell(sandbox, f"for i in $(seq {count}); do head -c {MEBIBYTE} /dev/zero > part$i; done")
    paths = [WorkspacePath(f"part{number}") for number in range(1, count + 1)]
    found = await sandbox.read_files(paths, max_bytes=MEBIBYTE, follow=False)
    assert [len(each.content) for each in found if isinstance(each, FileContent)] == [MEBIBYTE] * count


async def test_a_file_that_is_read_by_a_link_on_its_way_lies_elsewhere(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir real; echo hello > real/file; ln -s real way; ln -s file real/link")
    paths = [WorkspacePath(path) for path in ("real/file", "way/file", "real/link", "way/link")]
    found = await sandbox.read_files(paths, max_bytes=100, follow=False)
    assert [each.elsewhere for each in found if isinstance(each, FileContent)] == [False, True, False, True]


async def test_a_link_can_be_read_as_one(sandbox: Sandbox) -> None:
    await shell(sandbox, "ln -s some/where link")
    (found,) = await sandbox.read_files([WorkspacePath("link")], max_bytes=100, follow=False)
    assert isinstance(found, FileContent)
    assert (found.content, found.stat.kind) == (b"some/where", EntryKind.SYMLINK)


async def test_a_link_can_be_written(sandbox: Sandbox) -> None:
    link = FileWrite(path=WorkspacePath("bin/link"), content=b"../target", kind=EntryKind.SYMLINK)
    (done,) = await sandbox.write_files([link])
    assert isinstance(done, FileStat)
    assert await shell(sandbox, "readlink bin/link") == "../target\n"


async def test_a_file_keeps_its_mode_when_it_is_replaced(sandbox: Sandbox) -> None:
    await write(sandbox, "run.sh", b"#!/bin/sh\necho one", mode=0o755)
    done = await write(sandbox, "run.sh", b"#!/bin/sh\necho two")
    assert done.stat.mode == 0o755
    assert await shell(sandbox, "./run.sh") == "two\n"


async def test_a_write_never_shows_half_a_file(sandbox: Sandbox) -> None:
    await write(sandbox, "file", b"a" * MEBIBYTE)
    watcher = await sandbox.exec(
        Command(text="touch started; while [ ! -e stop ]; do stat -c %s file; done | sort -u | tr '\\n' ' '"),
        wait_s=0.3,
    )
    for size in (2, 3, 4):
        await write(sandbox, "file", b"b" * (size * MEBIBYTE))
    await write(sandbox, "stop", b"")
    await sandbox.wait(watcher.process_id, wait_s=10)
    sizes = {int(size) for size in (await sandbox.output(watcher.process_id, offset=0, limit=1000)).data.split()}
    assert sizes <= {size * MEBIBYTE for size in (1, 2, 3, 4)}


async def test_a_file_that_is_as_expected_is_replaced(sandbox: Sandbox) -> None:
    first = await write(sandbox, "file", b"one", mode=0o640)
    second = await write(sandbox, "file", b"two", expected=first.stat)
    assert second.stat.mode == 0o640
    await shell(sandbox, "ln -s file link")
    await write(sandbox, "link", b"three", expected=second.stat)
    assert await shell(sandbox, "cat file; test -L link") == "three"


CHANGES = (
    "printf 2 > file",
    "chmod 600 file",
    "touch file",
    "cp file new; mv new file",
    "rm file; mkdir file",
    "rm file",
)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_file_that_is_not_as_expected_is_left_alone(sandbox: Sandbox, change: str) -> None:
    known = (await write(sandbox, "file", b"1")).stat
    await shell(sandbox, change)
    before = (await sandbox.scan()).entries
    with pytest.raises((Conflict, IsDirectory)):
        await write(sandbox, "file", b"mine", expected=known)
    assert (await sandbox.scan()).entries == before


async def test_a_link_that_is_not_as_expected_is_left_alone(sandbox: Sandbox) -> None:
    await shell(sandbox, "ln -s one link")
    (known,) = await sandbox.stat_files([WorkspacePath("link")])
    assert isinstance(known, FileStat)
    await shell(sandbox, "ln -sfn two link")
    link = FileWrite(path=WorkspacePath("link"), content=b"mine", kind=EntryKind.SYMLINK, expected=known.stat)
    (done,) = await sandbox.write_files([link])
    assert isinstance(done, FileFault)
    assert isinstance(done.error, Conflict)
    assert await shell(sandbox, "readlink link; ls") == "two\nlink\n"


async def test_a_stream_replaces_only_the_file_that_was_expected(sandbox: Sandbox) -> None:
    known = (await write(sandbox, "file", b"old")).stat

    async def source(*, meanwhile: bytes | None) -> AsyncIterator[bytes]:
        yield b"half "
        if meanwhile is not None:
            await write(sandbox, "file", meanwhile)
        yield b"whole"

    with pytest.raises(Conflict):
        await sandbox.write_stream(WorkspacePath("file"), source(meanwhile=b"other"), expected=known)
    assert await read(sandbox, "file") == b"other"
    (known_now,) = await sandbox.stat_files([WorkspacePath("file")])
    assert isinstance(known_now, FileStat)
    await sandbox.write_stream(WorkspacePath("file"), source(meanwhile=None), expected=known_now.stat)
    assert await read(sandbox, "file") == b"half whole"
    assert paths_of((await sandbox.scan()).entries) == ["file"]


async def test_a_write_follows_a_link_that_stays_inside(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir real; ln -s real alias; echo old > real/file; ln -s real/file link")
    await write(sandbox, "alias/new", b"1")
    await write(sandbox, "link", b"2")
    assert await shell(sandbox, "cat real/new real/file; test -L link") == "12"


@pytest.mark.parametrize("target", ["/etc", "..", "/tmp", "/proc/self/root", "../home"])
async def test_a_write_through_a_link_that_leaves_is_refused(sandbox: Sandbox, target: str) -> None:
    await shell(sandbox, f"ln -s {target} out")
    with pytest.raises(InvalidPath):
        await write(sandbox, "out/file", b"x")


async def test_a_write_says_what_is_in_its_way(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir folder; echo > file; mkdir shut; chmod 500 shut")
    for path, error in (("folder", IsDirectory), ("file/below", NotADirectory), ("shut/file", PermissionDenied)):
        with pytest.raises(error):
            await write(sandbox, path, b"x")


async def test_a_batch_over_the_limit_writes_nothing(sandbox: Sandbox) -> None:
    half = b"x" * (sandbox.batch.size_bytes // 2 + 1)
    with pytest.raises(TooLarge):
        await sandbox.write_files([FileWrite(path=WorkspacePath(name), content=half) for name in ("a", "b")])
    assert paths_of((await sandbox.scan()).entries) == []


async def test_one_bad_file_of_a_batch_does_not_keep_the_others_out(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir folder")
    done = await sandbox.write_files(
        [FileWrite(path=WorkspacePath(name), content=b"x") for name in ("one", "folder", "two")]
    )
    assert [isinstance(one, FileFault) for one in done] == [False, True, False]
    assert await shell(sandbox, "ls -p") == "folder/\none\ntwo\n"


async def test_a_batch_of_many_files_is_written_whole(sandbox: Sandbox) -> None:
    names = [f"many/{number:02}" for number in range(50)]
    done = await sandbox.write_files([FileWrite(path=WorkspacePath(name), content=name.encode()) for name in names])
    assert [one.path for one in done if isinstance(one, FileStat)] == names
    assert await shell(sandbox, "cat many/*") == "".join(names)


async def test_a_file_of_any_size_is_streamed_both_ways(sandbox: Sandbox) -> None:
    chunks = [bytes([number]) * (700 * 1024) for number in range(20)]

    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    done = await sandbox.write_stream(WorkspacePath("deep/er/huge.bin"), source(), mode=0o600)
    assert (done.stat.size, done.stat.mode) == (20 * 700 * 1024, 0o600)
    received = [chunk async for chunk in sandbox.read_stream(WorkspacePath("deep/er/huge.bin"))]
    assert b"".join(received) == b"".join(chunks)
    assert len(received) > 1


async def test_a_stream_that_fails_leaves_the_file_as_it_was(sandbox: Sandbox) -> None:
    await write(sandbox, "file", b"old")

    async def source() -> AsyncIterator[bytes]:
        yield b"half"
        raise NotFound("the source ended")

    with pytest.raises(NotFound):
        await sandbox.write_stream(WorkspacePath("file"), source())
    assert await read(sandbox, "file") == b"old"
    assert paths_of((await sandbox.scan()).entries) == ["file"]


async def test_a_stream_of_what_changes_meanwhile_is_a_conflict(sandbox: Sandbox) -> None:
    await shell(sandbox, "head -c 5M /dev/zero > file")
    chunks = aiter(sandbox.read_stream(WorkspacePath("file")))
    await anext(chunks)
    await shell(sandbox, "echo more >> file")
    with pytest.raises(Conflict):
        await anext(chunks)


@pytest.mark.parametrize(("path", "error"), [("missing", NotFound), ("folder", IsDirectory), ("out", InvalidPath)])
async def test_a_stream_raises_what_a_read_has_as_a_fault(
    sandbox: Sandbox, path: str, error: type[VaporformError]
) -> None:
    await shell(sandbox, "mkdir folder; ln -s /etc/passwd out")
    with pytest.raises(error):
        _ = [chunk async for chunk in sandbox.read_stream(WorkspacePath(path))]


async def test_removing_takes_the_folders_that_this_leaves_empty(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir -p a/b/c d; touch a/b/c/one a/b/two d/three d/four; ln -s d/four link")
    names = ("a/b/c/one", "a/b/two", "d/three", "link", "missing", "a/missing/too")
    assert await sandbox.remove_files([WorkspacePath(name) for name in names]) == []
    assert paths_of((await sandbox.scan()).entries) == ["d", "d/four"]


async def test_what_cannot_be_removed_is_a_fault_of_its_own(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir -p folder/below; touch one")
    (fault,) = await sandbox.remove_files([WorkspacePath("folder"), WorkspacePath("one")])
    assert (fault.path, type(fault.error)) == ("folder", IsDirectory)
    assert paths_of((await sandbox.scan()).entries) == ["folder", "folder/below"]


async def test_stat_is_of_the_paths_themselves(sandbox: Sandbox) -> None:
    await shell(sandbox, "printf abc > file; chmod 640 file; ln -s file link; mkdir folder")
    names = [WorkspacePath(name) for name in ("file", "link", "missing", "folder", "file/below")]
    found = await sandbox.stat_files(names)
    kinds = [one.stat.kind if isinstance(one, FileStat) else one for one in found]
    assert kinds == [EntryKind.FILE, EntryKind.SYMLINK, None, EntryKind.DIRECTORY, None]
    assert isinstance(found[0], FileStat)
    assert (found[0].stat.size, found[0].stat.mode) == (3, 0o640)


async def test_what_cannot_be_looked_at_is_a_fault_and_not_said_to_be_missing(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir shut; touch shut/file open; chmod 000 shut; ln -s loop loop; ln -s /etc out")
    names = [WorkspacePath(name) for name in ("shut/file", "open", "loop/file", "out/passwd", "x" * 256, "missing")]
    found = await sandbox.stat_files(names)
    kinds = [type(one.error) if isinstance(one, FileFault) else one and one.stat.kind for one in found]
    assert kinds == [PermissionDenied, EntryKind.FILE, InvalidPath, InvalidPath, InvalidPath, None]
    assert [one.path for one in found if one is not None] == names[:-1]


async def test_a_scan_lists_everything_sorted_with_its_stat(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir -p b/c a; touch b/c/2 b/1 a-file a/x; ln -s a link; mkfifo pipe; echo hi > .hidden")
    scan = await sandbox.scan()
    names = paths_of(scan.entries)
    assert names == sorted([".hidden", "a", "a-file", "a/x", "b", "b/1", "b/c", "b/c/2", "link", "pipe"])
    kinds = {str(entry.path): entry.stat.kind for entry in scan.entries}
    assert (kinds["link"], kinds["pipe"], kinds["b"]) == (EntryKind.SYMLINK, EntryKind.OTHER, EntryKind.DIRECTORY)
    assert (scan.truncated, scan.invalid, scan.unreadable) == (False, [], [])
    stats = await sandbox.stat_files([entry.path for entry in scan.entries])
    assert stats == scan.entries


async def test_the_clock_of_a_scan_is_not_behind_what_it_found(sandbox: Sandbox) -> None:
    done = await write(sandbox, "file", b"x")
    assert (await sandbox.scan()).clock_ns >= done.stat.ctime_ns


async def test_a_scan_does_not_enter_pruned_folders_but_lists_them(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir -p node_modules/x src/node_modules/y; touch node_modules/x/1 src/2")
    scan = await sandbox.scan(prune={"node_modules"})
    assert paths_of(scan.entries) == ["node_modules", "src", "src/2", "src/node_modules"]


async def test_a_scan_goes_as_deep_as_it_is_told_from_where_it_is_told(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir -p a/b/c; touch a/1 a/b/2 a/b/c/3 4")
    assert paths_of((await sandbox.scan(under=WorkspacePath("a"), depth=1)).entries) == ["a/1", "a/b"]
    assert paths_of((await sandbox.scan(under=WorkspacePath("a/b"))).entries) == ["a/b/2", "a/b/c", "a/b/c/3"]


async def test_a_scan_says_when_it_met_its_limit(sandbox: Sandbox) -> None:
    await shell(sandbox, "touch 1 2 3 4 5")
    scan = await sandbox.scan(limit=3)
    assert (len(scan.entries), scan.truncated) == (3, True)


async def test_a_scan_of_what_is_no_folder_is_an_error(sandbox: Sandbox) -> None:
    await write(sandbox, "file", b"")
    with pytest.raises(NotFound):
        await sandbox.scan(under=WorkspacePath("missing"))
    with pytest.raises(NotADirectory):
        await sandbox.scan(under=WorkspacePath("file"))


async def test_names_that_are_no_paths_are_counted_and_named(sandbox: Sandbox) -> None:
    await shell(sandbox, "touch \"$(printf 'new\\nline')\" \"$(printf 'not\\377utf8')\" good")
    scan = await sandbox.scan()
    assert paths_of(scan.entries) == ["good"]
    assert len(scan.invalid) == 2
    assert all(name.isprintable() for name in scan.invalid)


async def test_folders_that_cannot_be_listed_are_named(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir shut open; touch shut/1 open/2; chmod 000 shut")
    scan = await sandbox.scan()
    assert list(scan.unreadable) == ["shut"]
    assert "open/2" in paths_of(scan.entries)


async def test_a_scan_of_many_files_has_them_all(sandbox: Sandbox) -> None:
    await shell(sandbox, "mkdir many; cd many; seq -f %05g 1 6001 | xargs touch")
    names = paths_of((await sandbox.scan()).entries)
    assert names == ["many", *(f"many/{number:05}" for number in range(1, 6002))]


async def test_nothing_asked_for_is_answered_with_nothing(sandbox: Sandbox) -> None:
    assert await sandbox.read_files([], max_bytes=1) == []
    assert await sandbox.write_files([]) == []
    assert await sandbox.remove_files([]) == []
    assert await sandbox.stat_files([]) == []
