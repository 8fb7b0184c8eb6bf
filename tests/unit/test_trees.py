"""Which paths of a tree can be restored."""

from __future__ import annotations

import pytest

from tests.contract.stores import file, link
from vaporform_mcp.trees import faults_of, is_safe
from vaporform_mcp.types import WorkspacePath


@pytest.mark.parametrize("path", ["a", "a/b", ".a", "..a", "a..", "a b", "workspace/a", "日本/語", "-", "\\"])
def test_a_path_as_this_program_makes_them_is_safe(path: str) -> None:
    assert is_safe(path)


@pytest.mark.parametrize(
    "path", ["", ".", "..", "../a", "a/..", "a/./b", "a//b", "a/", "/a", "/workspace/a", "a\0b", "a\nb", "x" * 256]
)
def test_any_other_is_not(path: str) -> None:
    assert not is_safe(path)
    assert "leave the workspace" in faults_of({WorkspacePath(path): file(b"")})[WorkspacePath(path)]


def test_what_lies_below_a_file_or_a_link_is_named_with_it_and_nothing_else_is() -> None:
    named = {
        "dir/a": file(b""),
        "f": file(b""),
        "f/x/y": file(b""),
        "to": link(b"dir"),
        "to/a": file(b""),
        "fa": link(b""),
    }
    faults = faults_of({WorkspacePath(path): entry for path, entry in named.items()})
    assert faults.keys() == {"f/x/y", "to/a"}
    assert "'f' is a file" in faults[WorkspacePath("f/x/y")]
    assert "'to' is a symbolic link" in faults[WorkspacePath("to/a")]
