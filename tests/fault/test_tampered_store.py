"""A store that somebody has changed: what is wrong in it is named, and never reaches a sandbox or leaves it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.durability.machine import Machine, a_machine, in_time, run
from tests.e2e.judging import assert_fit
from tests.e2e.stdio_client import StdioServer
from vaporform_mcp import app
from vaporform_mcp.settings import Settings
from vaporform_mcp.stores.base import VerifyReport

MIB = 1024 * 1024
SMALL = b"small content\n"
MIDDLE = b"".join(b"%d\n" % number for number in range(400_000))  # three chunks
LARGE = b"".join(b"%d\n" % number for number in range(1_600_000))  # over what goes into a sandbox in one request
FILES = {"small": SMALL, "middle": MIDDLE, "large": LARGE, "kept": b"kept\n", "src/also-kept": b"also kept\n"}

Damage = Callable[[sqlite3.Connection, str], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a store of some files, no server, and no sandbox any more."""
    assert len(LARGE) > 8 * MIB
    with a_machine(tmp_path_factory.mktemp("made")) as machine:
        with machine.server() as server:
            server.call("open_workspace", name="default")
            folder = machine.files()
            for path, content in FILES.items():
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_bytes(content)
            run(server, "ln -s kept link; ln -s src inner; ln -s /tmp outer")
            assert server.call("attempt_completion", result="made").facts["mirrored"]
            server.end_input()
            server.wait()
        machine.destroy_sandbox()
        return machine.data_dir


@pytest.fixture
def machine(made: Path, tmp_path: Path) -> Iterator[Machine]:
    shutil.copytree(made, tmp_path / "data")
    with a_machine(tmp_path) as machine:
        yield machine


def by_hand(machine: Machine, work: Callable[[sqlite3.Connection], object]) -> None:
    with closing(sqlite3.connect(machine.store_file)) as connection:
        work(connection)
        connection.commit()


def digest_of(path: str) -> str:
    return hashlib.sha256(FILES[path]).hexdigest()


# Contents -----------------------------------------------------------------------------------------------------------


def a_bit_flipped(db: sqlite3.Connection, digest: str) -> None:
    row, content = last_chunk(db, digest)
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]
    db.execute("UPDATE chunks SET content = ? WHERE id = ?", (changed, row))


def cut_short(db: sqlite3.Connection, digest: str) -> None:
    row, content = last_chunk(db, digest)
    db.execute("UPDATE chunks SET content = ? WHERE id = ?", (content[:-1], row))


def lengthened(db: sqlite3.Connection, digest: str) -> None:
    row, content = last_chunk(db, digest)
    db.execute("UPDATE chunks SET content = ? WHERE id = ?", (content + b"; rm -rf /", row))


def a_chunk_gone(db: sqlite3.Connection, digest: str) -> None:
    row, _ = last_chunk(db, digest)
    db.execute("DELETE FROM chunks WHERE id = ?", (row,))


def the_blob_gone(db: sqlite3.Connection, digest: str) -> None:
    db.execute("DELETE FROM chunks WHERE blob = (SELECT id FROM blobs WHERE digest = ?)", (digest,))
    db.execute("DELETE FROM blobs WHERE digest = ?", (digest,))


def chunks_swapped(db: sqlite3.Connection, digest: str) -> None:
    """The first two trade places; of a blob of one, with another blob's."""
    rows = db.execute(
        "SELECT id, content FROM chunks WHERE blob = (SELECT id FROM blobs WHERE digest = ?) ORDER BY seq LIMIT 2",
        (digest,),
    ).fetchall()
    if len(rows) == 1:
        other = "x" * len(rows[0][1])
        db.execute("UPDATE chunks SET content = ? WHERE id = ?", (other.encode(), rows[0][0]))
        return
    for (row, _), (_, content) in zip(rows, reversed(rows), strict=True):
        db.execute("UPDATE chunks SET content = ? WHERE id = ?", (content, row))


def another_size_told(db: sqlite3.Connection, digest: str) -> None:
    db.execute("UPDATE blobs SET size = size + 1 WHERE digest = ?", (digest,))
    a_bit_flipped(db, digest)


def last_chunk(db: sqlite3.Connection, digest: str) -> tuple[int, bytes]:
    sql = "SELECT id, content FROM chunks WHERE blob = (SELECT id FROM blobs WHERE digest = ?) ORDER BY seq DESC"
    return db.execute(sql, (digest,)).fetchone()


DAMAGES: list[Mapping[str, Damage]] = [
    {"small": a_bit_flipped, "middle": chunks_swapped, "large": cut_short},
    {"small": the_blob_gone, "middle": lengthened, "large": chunks_swapped},
    {"small": lengthened, "middle": another_size_told, "large": a_chunk_gone},
    {"small": cut_short, "middle": the_blob_gone, "large": a_bit_flipped},
]


@pytest.mark.parametrize("damages", DAMAGES if os.environ.get("TEST_LONG", "") not in ("", "0") else DAMAGES[:1])
def test_a_damaged_content_is_named_and_never_written_and_written_again_it_is_mended(
    machine: Machine, damages: Mapping[str, Damage]
) -> None:
    by_hand(machine, lambda db: [damage(db, digest_of(path)) for path, damage in damages.items()])
    with machine.server() as server:
        opened = server.call("execute_command", command="ls")
        assert "3 file(s) could not be restored" in opened.text
        for path in damages:
            assert f"{path} (its content is missing or damaged in the store)" in opened.text
        assert_fit(opened, machine.data_dir)
        assert_all_but(machine, damages.keys())
        read = server.call("read_file", path="small")
        assert read.is_error
        assert "is damaged" in read.text
        # Their absence is no deletion, and a sync of it all makes nothing worse.
        assert server.call("attempt_completion", result="checked").facts["mirrored"]
        report = verified(machine)
        assert {*report.missing, *report.corrupt} == {digest_of(path) for path in damages}
        for path in damages:
            (machine.files() / path).write_bytes(FILES[path])
        assert server.call("attempt_completion", result="mended").facts["mirrored"]
    stored = machine.stored()
    assert {path: stored[path] for path in FILES} == FILES


@pytest.mark.long
def test_what_is_damaged_in_an_old_revision_alone_harms_no_newer_one(machine: Machine) -> None:
    with machine.server() as server:
        assert server.call("write_to_file", path="small", content="newer").facts["mirrored"]
        server.end_input()
        server.wait()
    machine.destroy_sandbox()
    by_hand(machine, lambda db: a_bit_flipped(db, digest_of("small")))
    with machine.server() as server:
        opened = server.call("execute_command", command="cat small")
        assert "newer" in opened.text
        assert "could not be restored" not in opened.text
    assert list(verified(machine).corrupt) == [digest_of("small")]


def assert_all_but(machine: Machine, paths: Collection[str]) -> None:
    folder = machine.files()
    found = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file() and not each.is_symlink()}
    assert found == FILES.keys() - set(paths), "a damaged one, a half of it or a temporary file is there"
    for name in found:
        assert (folder / name).read_bytes() == FILES[name]


def verified(machine: Machine) -> VerifyReport:
    return anyio.run(verify, machine.settings)


async def verify(settings: Settings) -> VerifyReport:
    async with app.open_store(settings) as store:
        return await store.verify()


# Paths --------------------------------------------------------------------------------------------------------------

ESCAPES = (
    "../stolen",
    "../../../../../../stolen",
    "/stolen",
    "/tmp/stolen",
    "/workspace/stolen",
    "src/../../stolen",
    "outer/stolen",
    "inner/stolen",
    "link/stolen",
    "kept/stolen",
    "src//stolen",
    "./stolen",
    "stolen/.",
    "stolen/..",
    "stolen/",
    "..",
    ".",
    "stolen\0nul",
    "stolen\nline",
    "stolen" * 60,
)


def test_a_path_that_leaves_the_workspace_is_refused_and_named_and_everything_else_comes_back(machine: Machine) -> None:
    """Of small files, which go into a sandbox many at once, and of large ones, which are streamed."""
    large = [path.replace("stolen", "stolen-large") for path in ESCAPES if "stolen" in path]
    by_hand(machine, lambda db: (plant(db, "small", ESCAPES), plant(db, "large", large)))
    count = len(ESCAPES) + len(large)
    with machine.server() as server:
        opened = server.call("execute_command", command="find / -name 'stolen*' -not -path '/proc/*' 2>/dev/null")
        assert f"{count} file(s) could not be restored" in opened.text
        assert "would leave the workspace" in opened.text
        assert_fit(opened, machine.data_dir)
        assert "\0" not in opened.text
        listed = opened.text.partition("find /")[2] or opened.text
        assert not re.search(r"^/.*stolen", listed, re.MULTILINE)
        assert_all_but(machine, ())
        assert_none_stolen(machine)
        synced(server)
        assert_all_but(machine, ())
    machine.destroy_sandbox()
    with machine.server() as server:
        assert f"{count} file(s)" in server.call("execute_command", command="true").text, "they were forgotten"
    assert_none_stolen(machine)


def test_a_size_that_is_a_lie_costs_its_own_file_alone(machine: Machine) -> None:
    """An entry of a few bytes whose content is many megabytes must not keep the others of its batch away."""

    def lie(db: sqlite3.Connection) -> None:
        for table in ("latest", "changes"):
            db.execute(f"UPDATE {table} SET size = 3 WHERE path IN ('large', 'small')")  # noqa: S608  # our own names
        db.execute("UPDATE blobs SET size = 100000000 WHERE digest = ?", (digest_of("small"),))

    by_hand(machine, lie)
    with machine.server() as server:
        opened = server.call("execute_command", command="ls")
        assert "2 file(s) could not be restored" in opened.text
        folder = machine.files()
        assert {path: (folder / path).read_bytes() for path in ("kept", "middle")} == {
            "kept": FILES["kept"],
            "middle": MIDDLE,
        }
        assert not (folder / "large").exists()
        assert not (folder / "small").exists()


def plant(db: sqlite3.Connection, content: str, paths: Sequence[str]) -> None:
    for table in ("latest", "changes"):
        db.executemany(
            f"INSERT INTO {table} SELECT workspace, ?, number, kind, mode, size, digest, mime_type FROM latest "  # noqa: S608
            "WHERE path = ?",
            [(path, content) for path in paths],
        )


def assert_none_stolen(machine: Machine) -> None:
    for folder in (machine.data_dir.parent, machine.folder()):
        assert [path for path in folder.rglob("*") if path.name.startswith("stolen")] == []
    assert not Path("/stolen").exists()
    assert not Path("/tmp/stolen").exists()


def synced(server: StdioServer) -> None:
    in_time(lambda: server.call("attempt_completion", result="checked").facts["mirrored"])
