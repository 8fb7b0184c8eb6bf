"""A folder that nothing leads out of, and that one command at a time writes into."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vaporform_mcp.errors import Conflict, InvalidArgument, LimitReached, PermissionDenied
from vaporform_mcp.transfer.folders import TEMPORARY, open_folder, told
from vaporform_mcp.types import WorkspacePath

A, BELOW = WorkspacePath("a"), WorkspacePath("sub/a")


def test_a_file_is_replaced_whole_and_a_link_of_its_name_is_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.write_bytes(b"untouched")
    (folder / "a").symlink_to(outside)
    (folder / "sub").symlink_to(tmp_path)
    with open_folder(folder) as opened:
        opened.write(A, b"new", mode=0o4751)
        with pytest.raises(OSError, match=r"a directory|symbolic"):
            opened.write(BELOW, b"escaped", mode=0o644)
        assert opened.stat(BELOW) is None
    assert outside.read_bytes() == b"untouched"
    assert (folder / "a").read_bytes() == b"new"
    assert (folder / "a").stat().st_mode & 0o7777 == 0o751
    assert sorted(path.name for path in folder.iterdir()) == ["a", "sub"]


@pytest.mark.parametrize(
    ("umask", "modes"),
    [(0o022, (0o644, 0o755, 0o600, 0o755)), (0o077, (0o600, 0o700, 0o600, 0o700)), (0, (0o666, 0o777, 0o600, 0o755))],
)
def test_a_file_can_be_executed_as_it_was_kept_and_used_by_whom_the_umask_lets(
    tmp_path: Path, umask: int, modes: tuple[int, ...]
) -> None:
    before = os.umask(umask)
    try:
        with open_folder(tmp_path, to_write=True) as opened:
            for number, mode in enumerate((0o666, 0o777, 0o600, 0o4755)):
                opened.write(WorkspacePath(f"{number}"), b"", mode=mode)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert tuple((tmp_path / f"{number}").stat().st_mode & 0o7777 for number in range(4)) == modes


def test_what_a_kill_left_of_a_file_goes_when_the_file_is_written_again(tmp_path: Path) -> None:
    with open_folder(tmp_path) as opened:
        left = opened.start(A)
        opened.extend(left, b"half")
        for descriptor in (left.file, left.parent):
            os.close(descriptor)
        (found,) = tmp_path.iterdir()
        assert found.name.startswith(TEMPORARY)
        opened.link(A, b"target")
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_removing_takes_the_folders_that_it_leaves_empty_and_no_other(tmp_path: Path) -> None:
    with open_folder(tmp_path) as opened:
        for name in ("x/y/z", "x/own"):
            opened.write(WorkspacePath(name), b"", mode=0o644)
        opened.remove(WorkspacePath("x/y/z"))
        opened.remove(WorkspacePath("x/y/z"))
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["x", "x/own"]


def test_a_link_to_what_no_path_can_be_is_refused_as_the_system_would(tmp_path: Path) -> None:
    with open_folder(tmp_path) as opened, pytest.raises(OSError, match="Invalid argument"):
        opened.link(A, b"target\0", mtime=None)
    assert list(tmp_path.iterdir()) == []


def test_two_commands_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with open_folder(tmp_path, to_write=True):
        with pytest.raises(Conflict, match="another command"), open_folder(tmp_path, to_write=True):
            pass
        with open_folder(tmp_path):
            pass
    with open_folder(tmp_path, to_write=True):
        pass


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (2, InvalidArgument), (13, PermissionDenied), (20, InvalidArgument), (28, LimitReached), (30, PermissionDenied),
        (40, InvalidArgument),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_said_in_words(number: int, kind: type[Exception]) -> None:
    error = told(OSError(number, os.strerror(number)), "'x'")
    assert type(error) is kind
    assert "'x'" in error.message
    assert error.hint
