"""Removing folders that commands made as nasty as they could."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vaporform_mcp.sandboxes.local.removal import remove


def test_a_folder_goes_with_everything_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b/file").write_text("x")
    (folder / ".hidden").write_text("x")
    os.mkfifo(folder / "a/pipe")
    remove(folder)
    assert not folder.exists()


def test_what_is_not_there_is_no_fault(tmp_path: Path) -> None:
    remove(tmp_path / "missing")


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o500)
    kept.chmod(0o500)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(kept)
    (folder / "to-file").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to("loop")
    remove(folder)
    assert kept.stat().st_mode & 0o777 == 0o500


def test_a_link_in_the_folders_own_place_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (tmp_path / "link").symlink_to(kept)
    with pytest.raises(NotADirectoryError):
        remove(tmp_path / "link")
    assert (kept / "file").exists()


def test_folders_that_nobody_may_enter_go_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "shut/inner/deep").mkdir(parents=True)
    (folder / "shut/inner/deep/file").write_text("x")
    for path in (folder / "shut/inner/deep", folder / "shut/inner", folder / "shut", folder):
        path.chmod(0)
    remove(folder)
    assert not folder.exists()


def test_a_tree_deeper_than_any_path_or_stack_goes_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("a-folder", dir_fd=at)
        above, at = at, os.open("a-folder", os.O_RDONLY, dir_fd=at)
        os.close(above)
    os.close(at)
    remove(folder)
    assert not folder.exists()


def test_names_that_its_own_bookkeeping_uses_are_no_trouble(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in (".vf-0", ".vf-1", "x/.vf-0/.vf-2", "x/.vf-1"):
        (folder / name).mkdir(parents=True)
    (folder / ".vf-2").write_text("a file")
    remove(folder)
    assert not folder.exists()


def test_names_that_are_no_text_go_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkdir(os.fsencode(folder) + b"/\xff\xfe")  # noqa: PTH102  # no Path has such a name
    remove(folder)
    assert not folder.exists()
