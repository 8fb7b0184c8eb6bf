"""What of a person's folder is pushed, and what its ignore rules keep out."""

from __future__ import annotations

import os
from pathlib import Path

from vaporform_mcp.exclusions import Exclusions
from vaporform_mcp.transfer.folders import open_folder
from vaporform_mcp.transfer.scanning import Scanned, scan_folder
from vaporform_mcp.types import parse_path


def scan(folder: Path, *lines: str, with_ignored: bool = False) -> Scanned:
    with open_folder(folder) as opened:
        return scan_folder(opened, Exclusions(lines), with_ignored=with_ignored)


def make(folder: Path, *paths: str, **contents: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(contents.get(path, ""), encoding="utf-8")


def names(scanned: Scanned) -> set[str]:
    return set(scanned.files)


def test_the_nearest_gitignore_has_the_last_word_and_nothing_comes_back_below_an_ignored_folder(tmp_path: Path) -> None:
    make(tmp_path, "a.log", "keep.log", "sub/b.log", "sub/own.txt", "out/x", "out/keep.log", "deep/er/secret", "secret")
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\n/secret\nout/\n", encoding="utf-8")
    (tmp_path / "sub" / ".gitignore").write_text("!b.log\nown.txt\n", encoding="utf-8")
    assert names(scan(tmp_path)) == {".gitignore", "keep.log", "sub/.gitignore", "sub/b.log", "deep/er/secret"}
    everything = names(scan(tmp_path, with_ignored=True))
    assert {"a.log", "out/x", "sub/own.txt", "secret"} <= everything


def test_the_rules_of_the_clone_the_project_and_the_settings_are_honoured_and_the_repository_stays_out(
    tmp_path: Path,
) -> None:
    make(
        tmp_path,
        ".git/HEAD",
        ".GIT/HEAD",
        "git~1",
        "mine",
        "node_modules/m/i.js",
        "data/d",
        "big.bin",
        "build/b",
        "src/.git/HEAD",
        "src/a",
    )
    (tmp_path / ".git" / "info").mkdir()
    (tmp_path / ".git" / "info" / "exclude").write_text("mine\n", encoding="utf-8")
    (tmp_path / ".vaporformignore").write_text("data/\n!build/\n", encoding="utf-8")
    assert names(scan(tmp_path, "*.bin")) == {".vaporformignore", "build/b", "src/a"}
    assert names(scan(tmp_path, "!.git", with_ignored=True)) == {
        ".vaporformignore", "build/b", "src/a", "mine", "big.bin",
    }  # fmt: skip


def test_a_line_that_is_no_rule_is_passed_over_as_git_does(tmp_path: Path) -> None:
    make(tmp_path, "a", "b", "c", "d")
    for name, ignored in ((".gitignore", "a"), (".vaporformignore", "b"), (".git/info/exclude", "c")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"!\n[z-a]\n\\\n{ignored}\n", encoding="utf-8")
    assert names(scan(tmp_path)) == {".gitignore", ".vaporformignore", "d"}


def test_links_are_links_and_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    make(outside, "secret")
    folder = tmp_path / "folder"
    make(folder, "a", "naïve name")
    (folder / "link").symlink_to(outside)
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    (folder / "new\nline").write_bytes(b"")
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff"))).write_bytes(b"")
    scanned = scan(folder)
    assert names(scanned) == {"a", "naïve name", "link", "dangling"}
    assert {name for name, why in scanned.problems.items() if "cannot be kept" in why} == {"new\nline", "\\udcff"}
    assert "FIFO" in scanned.problems[parse_path("fifo")]


def test_an_ignore_file_that_is_a_link_or_a_folder_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    make(folder, "a", "sub/b")
    (tmp_path / "rules").write_text("*\n", encoding="utf-8")
    (folder / ".gitignore").symlink_to(tmp_path / "rules")
    (folder / "sub" / ".gitignore").mkdir()
    assert names(scan(folder)) == {".gitignore", "a", "sub/b"}
