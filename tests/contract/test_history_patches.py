"""What differs between revisions, over every store, as paths and as a patch that git takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from tests.contract.stores import append, blob, digest_of, file, link, make_workspace, write
from vaporform_mcp.history import changes_between, excerpt, patches
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import ROOT, Entry, WorkspacePath

LONG = "".join(f"line {number}\n" for number in range(9_000))
REWRITTEN = "".join(f"other {number}\n" for number in range(9_000))

Files = Mapping[str, tuple[bytes, Entry]]


def text(content: str, *, mode: int = 0o644) -> tuple[bytes, Entry]:
    return content.encode(), file(content.encode(), mode=mode)


def symlink(target: str) -> tuple[bytes, Entry]:
    return target.encode(), link(target.encode())


BEFORE: Files = {
    "a.txt": text("one\ntwo\nthree\n"),
    "gone.py": text("print('gone')\n"),
    "no newline": text("a\nb"),
    "crlf.txt": text("a\r\nb\r\nc\r\n"),
    "empty": text(""),
    "run.sh": text("#!/bin/sh\n"),
    "becomes link": text("text\n"),
    "link": symlink("a.txt"),
    'a "quoted" \\ name': text("x\n"),
    "имя/файл.txt": text("да\n"),
    "long.txt": text(LONG),
    "same.txt": text("same\n"),
}
AFTER: Files = {
    "a.txt": text("one\n2\nthree\nfour\n"),
    "no newline": text("a\nc"),
    "crlf.txt": text("a\r\nB\r\nc\r\n"),
    "new empty": text(""),
    "run.sh": text("#!/bin/sh\n", mode=0o755),
    "becomes link": symlink("a.txt"),
    "link": symlink("same.txt"),
    'a "quoted" \\ name': text("y\n"),
    "имя/файл.txt": text("нет\n"),
    "long.txt": text(REWRITTEN),
    "same.txt": text("same\n"),
    "deep/er/new.txt": text("new\n"),
}


async def commit(store: Store, workspace: str, before: Files, after: Files) -> None:
    await store.put_blobs(list({digest_of(content): blob(content) for content, _ in after.values()}.values()))
    changes: dict[str, Entry | None] = {name: entry for name, (_, entry) in after.items()}
    changes |= dict.fromkeys(before.keys() - after.keys())
    await append(store, workspace, changes)


def lay_out(files: Files, folder: Path) -> None:
    for name, (content, entry) in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind.value == "symlink":
            place.symlink_to(content.decode())
        else:
            place.write_bytes(content)
            place.chmod(entry.mode)


def found_in(folder: Path) -> dict[str, tuple[bool, bytes, bool]]:
    """By path: whether it is a link, its content, and whether it may be executed."""
    return {
        str(place.relative_to(folder)): (
            place.is_symlink(),
            str(place.readlink()).encode() if place.is_symlink() else place.read_bytes(),
            not place.is_symlink() and os.access(place, os.X_OK) and bool(place.stat().st_mode & 0o100),
        )
        for place in folder.rglob("*")
        if place.is_symlink() or place.is_file()
    }


@pytest.mark.parametrize("way", ["forth", "back"])
async def test_git_makes_the_one_tree_of_the_other_with_the_patch(store: Store, tmp_path: Path, way: str) -> None:
    workspace = await make_workspace(store)
    await commit(store, workspace, {}, BEFORE)
    await commit(store, workspace, BEFORE, AFTER)
    old, new, numbers = (BEFORE, AFTER, (1, 2)) if way == "forth" else (AFTER, BEFORE, (2, 1))
    changes = await changes_between(store, workspace, *numbers)
    assert "same.txt" not in {change.path for change in changes}
    patch = "".join([f"{each}\n" async for each in patches(store, changes)])
    place, wanted = tmp_path / "tree", tmp_path / "wanted"
    lay_out(old, place)
    lay_out(new, wanted)
    await anyio.run_process(
        ["git", "apply", "--whitespace=nowarn", "-"],
        cwd=place,
        input=patch.encode(),
        env={"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(tmp_path)},
    )
    assert found_in(place) == found_in(wanted)


async def test_changes_tell_what_became_of_each_path_and_can_be_of_one_folder(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"src/a": b"1", "src/b": b"1", "srcs": b"1", ".git/vaporform/state": b"1"})
    await write(store, workspace, {"src/a": b"2", "src/b": None, "srcs": b"2", "src/c": b"1"})
    await write(store, workspace, {"src/c": None, ".git/vaporform/state": b"2"})

    async def told(under: WorkspacePath, before: int, after: int) -> dict[str, str]:
        return {each.path: each.status for each in await changes_between(store, workspace, before, after, under=under)}

    assert await told(WorkspacePath("src"), 1, 2) == {"src/a": "changed", "src/b": "removed", "src/c": "added"}
    assert await told(ROOT, 1, 3) == {"src/a": "changed", "src/b": "removed", "srcs": "changed"}
    assert await told(ROOT, 3, 1) == {"src/a": "changed", "src/b": "added", "srcs": "changed"}
    assert await told(ROOT, 0, 3) == {"src/a": "added", "srcs": "added"}
    assert await told(WorkspacePath(".git"), 1, 3) == {".git/vaporform/state": "changed"}
    assert await told(ROOT, 2, 2) == {}


async def test_changes_are_found_across_revisions_that_were_pruned(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1", "b": b"1"}, label="kept")
    for number in range(2, 6):
        await write(store, workspace, {"a": str(number).encode()})
    await store.prune(workspace, keep_after=4, grace_s=0)
    assert [each.path for each in await changes_between(store, workspace, 1, 5)] == ["a"]


async def test_a_binary_or_very_large_file_is_told_by_size_and_digest(store: Store) -> None:
    workspace = await make_workspace(store)
    picture, other = b"\x89PNG\0\1", b"\x89PNG\0\1\2"
    large = b"x\n" * 600_000
    await write(store, workspace, {"p.png": picture})
    await write(store, workspace, {"p.png": other, "large.txt": large})
    large_patch, patch = [each async for each in patches(store, await changes_between(store, workspace, 1, 2))]
    sizes = f"6 bytes, sha256 {digest_of(picture)} -> 7 bytes, sha256 {digest_of(other)}"
    assert patch.splitlines() == [
        "diff --git a/p.png b/p.png",
        f"Binary files a/p.png and b/p.png differ: {sizes}",
    ]
    assert large_patch.endswith(f"nothing -> 1,200,000 bytes, sha256 {digest_of(large)}")


async def test_an_excerpt_says_where_it_was_cut_and_how_many_files_are_not_in_it(store: Store) -> None:
    workspace = await make_workspace(store)
    contents: dict[str, bytes | None] = {f"{number:03}.txt": b"a line of text\n" * 50 for number in range(100)}
    contents["000.txt"] = b"a line of text\n" * 5_000
    await write(store, workspace, contents)
    changes = await changes_between(store, workspace, 0, 1)
    shown = await excerpt(store, changes, max_chars=10_000)
    assert len(shown.text) <= 10_000
    assert shown.truncated
    assert "more lines of this file's diff are left out]" in shown.text
    assert shown.text.count("diff --git") == 100 - shown.left_out
    assert 1 < shown.text.count("diff --git") < 100
    whole = await excerpt(store, changes[1:3], max_chars=10_000)
    assert not whole.truncated
    assert whole.left_out == 0
