"""An existing project as the demo takes it over: which files, and how it is installed and tested."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from vaporform_mcp.demo import Differs, Folder, Repository, parse_source
from vaporform_mcp.demo.recipe import find_recipe
from vaporform_mcp.demo.source import MAX_FILE_BYTES, collect


def made(folder: Path, *paths: str, content: str = "x") -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")


def collected(folder: Path) -> list[str]:
    return [each.path for each in collect(folder).files]


@pytest.mark.parametrize(
    "text", ["https://github.com/org/app.git", "ssh://git@host/app", "git@github.com:org/app.git", "file:///srv/app"]
)
def test_a_url_that_git_understands_is_a_repository(text: str) -> None:
    assert parse_source(text) == Repository(url=text)


def test_a_folder_is_a_folder_and_anything_else_is_refused(tmp_path: Path) -> None:
    assert parse_source(str(tmp_path)) == Folder(path=tmp_path.resolve())
    with pytest.raises(Differs, match="neither a folder nor"):
        parse_source(str(tmp_path / "missing"))


def test_what_git_ignores_and_what_is_made_again_stays_out(tmp_path: Path) -> None:
    made(tmp_path, "src/app.js", "src/app.log", "node_modules/a/index.js", ".git/HEAD", "secret/key", "notes.tmp")
    made(tmp_path, ".gitignore", content="*.log\n/secret/\n*.tmp\n!notes.tmp\n")
    assert collected(tmp_path) == [".gitignore", "notes.tmp", "src/app.js"]


def test_the_rules_of_an_inner_folder_have_the_last_word(tmp_path: Path) -> None:
    made(tmp_path, "a.log", "keep/a.log", "keep/b.txt")
    made(tmp_path, ".gitignore", content="*.log\n")
    made(tmp_path, "keep/.gitignore", content="!a.log\n*.txt\n")
    assert collected(tmp_path) == [".gitignore", "keep/.gitignore", "keep/a.log"]


def test_links_and_large_files_are_counted_and_left_out(tmp_path: Path) -> None:
    made(tmp_path, "app.js")
    (tmp_path / "link").symlink_to("/etc/passwd")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(MAX_FILE_BYTES + 1)
    found = collect(tmp_path)
    assert ([each.path for each in found.files], found.skipped) == (["app.js"], 2)


def test_programs_are_told_from_other_files(tmp_path: Path) -> None:
    made(tmp_path, "run.sh", "app.js")
    (tmp_path / "run.sh").chmod(0o755)
    assert {each.path: each.is_executable for each in collect(tmp_path).files} == {"run.sh": True, "app.js": False}


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Differs, match="no file"):
        collect(tmp_path)


def test_a_name_that_is_not_text_is_counted_and_left_out(tmp_path: Path) -> None:
    made(tmp_path, "app.js")
    try:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system has no such names")
    found = collect(tmp_path)
    assert (len(found.files), found.skipped) == (1, 1)


@pytest.mark.parametrize(
    ("locks", "install"),
    [
        ([], "npm install"),
        (["package-lock.json"], "npm ci"),
        (["pnpm-lock.yaml"], "pnpm install"),
        (["yarn.lock"], "yarn install"),
    ],
)
def test_a_node_project_is_installed_by_the_manager_of_its_lock(locks: list[str], install: str) -> None:
    manifest = json.dumps({"dependencies": {"express": "5"}, "scripts": {"test": "vitest run"}})
    recipe = find_recipe(["package.json", *locks], {"package.json": manifest})
    assert recipe.install == install
    assert recipe.test == f"{install.split()[0]} test"


def test_a_node_project_without_dependencies_or_tests_needs_nothing() -> None:
    manifest = json.dumps({"scripts": {"test": 'echo "Error: no test specified" && exit 1'}})
    recipe = find_recipe(["package.json"], {"package.json": manifest})
    assert (recipe.install, recipe.test) == (None, None)


def test_a_malformed_manifest_is_no_failure() -> None:
    assert find_recipe(["package.json"], {"package.json": "{"}).install is None
    assert find_recipe(["pyproject.toml"], {"pyproject.toml": "["}).install is None


def test_a_python_project_is_installed_into_an_environment_of_its_own() -> None:
    recipe = find_recipe(["requirements.txt", "tests/test_app.py"], {})
    assert recipe.install is not None
    assert recipe.install.startswith("python3 -m venv .venv")
    assert recipe.test is not None
    assert ".venv/bin/python -m pytest" in recipe.test


def test_a_python_project_without_dependencies_is_tested_as_it_is() -> None:
    manifest = '[project]\nname = "app"\ndependencies = []\n'
    recipe = find_recipe(["pyproject.toml", "test_app.py"], {"pyproject.toml": manifest})
    assert recipe.install is None
    assert recipe.test is not None
    assert "python3 -m unittest" in recipe.test
