"""The storage format's page: what it tells a stranger to do gets the files out."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.contract.stores import append, blob, digest_of, file, link, make_workspace, streamed, write
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.stores.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION

PAGE = (Path(__file__).parents[2] / "docs" / "storage-format.md").read_text(encoding="utf-8")
LARGE = os.urandom(2 * 1024 * 1024 + 100)
FIRST = {"README.md": b"# hi\n", "src/a b's.py": "print('grüß')\n".encode(), "empty": b"", "nul": bytes(range(256)) * 9}

needs_shell = pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 shell")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with one workspace of three revisions, and another one whose files must not come out."""
    anyio.run(fill, tmp_path)
    return tmp_path


async def fill(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "vaporform.sqlite3") as store:
        workspace = await make_workspace(store)
        await write(store, workspace, FIRST)
        await store.put_blobs([blob(b"#!/bin/sh\n"), blob(b"../README.md")])
        await store.put_large_blob(digest_of(LARGE), len(LARGE), streamed(LARGE, 100_000), "text/plain")
        run, shortcut = file(b"#!/bin/sh\n", mode=0o755), link(b"../README.md")
        await append(store, workspace, {"bin/run": run, "bin/readme": shortcut, "large": file(LARGE), "empty": None})
        await write(store, workspace, {"README.md": b"# changed\n", "nul": None})
        await write(store, await make_workspace(store, "other"), {"other": b"other"})


def read_back(folder: Path) -> dict[str, bytes]:
    found = [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]
    return {str(each.relative_to(folder)): each.read_bytes() for each in found}


def assert_links_and_modes(restored: Path) -> None:
    assert (restored / "bin/readme").readlink() == Path("../README.md")
    assert stat.S_IMODE((restored / "bin/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((restored / "README.md").stat().st_mode) == 0o644


def run(command: str | list[str], folder: Path) -> str:
    is_shell = isinstance(command, str)
    done = subprocess.run(command, shell=is_shell, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def second() -> dict[str, bytes]:
    kept = {name: content for name, content in FIRST.items() if name != "empty"}
    return {**kept, "bin/run": b"#!/bin/sh\n", "large": LARGE}


def third() -> dict[str, bytes]:
    return {name: content for name, content in {**second(), "README.md": b"# changed\n"}.items() if name != "nul"}


@needs_shell
def test_the_shell_restores_the_newest_revision_and_an_older_one(folder: Path) -> None:
    backup, listings, restore = blocks("sh")
    run(backup, folder)
    assert (folder / "copy.db").stat().st_size > len(LARGE)
    assert run(listings, folder).count("\n") == 2 + 3
    run(restore, folder)
    assert read_back(folder / "restored") == third()
    assert_links_and_modes(folder / "restored")
    (older,) = blocks("sql")
    run(restore.replace("latest", older).replace("restored/", "older/"), folder)
    assert read_back(folder / "older") == second()
    assert_links_and_modes(folder / "older")


@pytest.mark.parametrize(("revision", "expected"), [(1, FIRST), (2, second()), (3, third())])
def test_a_few_lines_of_python_restore_any_revision(folder: Path, revision: int, expected: dict[str, bytes]) -> None:
    (script,) = blocks("python")
    run([sys.executable, "-c", script, "vaporform.sqlite3", "1", str(revision), "out"], folder)
    assert read_back(folder / "out") == expected
    if revision > 1:
        assert_links_and_modes(folder / "out")


def test_the_page_names_the_numbers_that_mark_the_file() -> None:
    assert f"`PRAGMA application_id` is {APPLICATION_ID} (`{APPLICATION_ID:#x}`)" in PAGE
    assert f"version {SCHEMA_VERSION}." in PAGE
