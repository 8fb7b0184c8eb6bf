"""Paths and names are parsed once, at the edge; nothing that could leave the workspace gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaporform_mcp.errors import InvalidArgument, InvalidPath
from vaporform_mcp.types import ROOT, parse_name, parse_path


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ("a.txt", "a.txt"),
        ("/workspace/a.txt", "a.txt"),
        ("./src//app.py", "src/app.py"),
        ("src/./app.py/", "src/app.py"),
        ("/workspace//x/", "x"),
        ("workspace/x", "workspace/x"),
        ("..a/b..", "..a/b.."),
        ("日本語/ñ.txt", "日本語/ñ.txt"),
        (" leading and trailing ", " leading and trailing "),
    ],
)
def test_a_path_is_made_relative_to_the_workspace(raw: str, parsed: str) -> None:
    assert parse_path(raw) == parsed


@pytest.mark.parametrize(
    "raw",
    [
        "",
        ".",
        "/",
        "/workspace",
        "/workspace/",
        "/etc/passwd",
        "/workspacex/a",
        "../a",
        "a/../../b",
        "a/..",
        "/workspace/../etc/passwd",
        "a\0b",
        "a\nb",
        "tab\there",
        "\x7f",
        "\ud800",
        "x" * 256,
        "/".join(["y" * 200] * 25),
    ],
)
def test_a_path_that_is_none_is_refused_with_what_would_be_right(raw: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        parse_path(raw)
    assert caught.value.hint


def test_the_root_is_a_path_only_where_a_folder_may_be_meant() -> None:
    assert parse_path("", allow_root=True) == parse_path("/workspace/", allow_root=True) == ROOT


@given(st.text(max_size=40))
def test_whatever_is_accepted_stays_inside_and_parses_to_itself(raw: str) -> None:
    try:
        parsed = parse_path(raw)
    except InvalidPath:
        return
    assert not parsed.startswith("/")
    assert {"", ".", ".."}.isdisjoint(parsed.split("/"))
    assert parse_path(parsed) == parsed or parsed.startswith("workspace")


@pytest.mark.parametrize("name", ["a", "todo-app", "x1", "a" * 40, "a-b-c"])
def test_a_workspace_name_is_short_and_lower_case(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a--b", "a_b", "a" * 41, "a/b", "..", "a b", "ä", "a\n"])
def test_what_is_no_workspace_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_name(name)
