"""The commands that work on the store alone: the installed program over a store with a history."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.contract.stores import append, digest_of, file, link, record, streamed, write
from tests.e2e.test_cli import PROGRAM, read_until, run
from vaporform_mcp.app import OWNER
from vaporform_mcp.stores.base import Blob
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.transfer.folders import TEMPORARY
from vaporform_mcp.types import Digest

LARGE = os.urandom(17 * 1024 * 1024)
DAY_S = 86_400.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "VAPORFORM_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def store_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "vaporform.sqlite3"


async def fill(store_file: Path) -> None:
    """`todo`: four revisions in four days, the second a checkpoint; and `other`, with a content of its own."""
    clock = Times(time.time() - 10 * DAY_S)
    async with open_sqlite(store_file, clock=clock) as store:
        todo = (await store.create_workspace(record("todo", owner=OWNER))).id
        await write(store, todo, {"a.txt": b"first", "src/run.sh": b"#!/bin/sh\n", "gone.txt": b"gone"})
        clock.now += DAY_S
        await write(store, todo, {"a.txt": b"second"}, label="release")
        clock.now += DAY_S
        await store.put_blobs([Blob(digest=digest_of(b"src/run.sh"), content=b"src/run.sh", mime_type="x/y")])
        changes = {"src/run.sh": file(b"#!/bin/sh\n", mode=0o4755), "run": link(b"src/run.sh"), "gone.txt": None}
        await append(store, todo, changes)
        clock.now += DAY_S
        await write(store, todo, {"a.txt": b"third", "naïve/ü.txt": b"", "empty": b""})
        other = (await store.create_workspace(record("other", owner=OWNER))).id
        await write(store, other, {"b.txt": b"other"})


class Times:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def tree_of(folder: Path) -> Mapping[str, bytes | str]:
    """Every file's content and every link's target (as text), by path."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def by_hand(store_file: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(store_file)) as connection:
        assert connection.execute(sql, values).rowcount > 0
        connection.commit()


def tamper(store_file: Path, digest: Digest) -> None:
    sql = "UPDATE chunks SET content = zeroblob(length(content)) WHERE blob = (SELECT id FROM blobs WHERE digest = ?)"
    by_hand(store_file, sql, digest)


async def test_export_writes_plain_files_as_they_are_now_or_were(
    environment: dict[str, str], store_file: Path, tmp_path: Path
) -> None:
    await fill(store_file)
    now = tmp_path / "new" / "now"
    done = run(environment, "export", "todo", str(now))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"todo at revision 4: 5 files in {now}.\n"
    assert tree_of(now) == {
        "a.txt": b"third", "src/run.sh": b"#!/bin/sh\n", "run": "src/run.sh", "naïve/ü.txt": b"", "empty": b"",
    }  # fmt: skip
    mode = (now / "src/run.sh").stat().st_mode
    assert stat.S_IMODE(mode) == 0o755  # executable, but never with another user's rights
    times = {path.lstat().st_mtime for path in (now / "a.txt", now / "run", now / "src/run.sh")}
    assert len(times) == 1  # the revision's, as from an archive
    assert time.time() - times.pop() > 6 * DAY_S
    for at in ("release", "2"):
        then = tmp_path / at
        assert run(environment, "export", "todo", str(then), "--at", at).returncode == 0
        assert tree_of(then) == {"a.txt": b"second", "src/run.sh": b"#!/bin/sh\n", "gone.txt": b"gone"}


async def test_export_into_a_folder_with_files_is_refused_unless_asked(
    environment: dict[str, str], store_file: Path, tmp_path: Path
) -> None:
    await fill(store_file)
    folder, outside = tmp_path / "mine", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "a.txt").write_bytes(b"mine")
    (folder / "own.txt").write_bytes(b"own")
    (folder / "src").symlink_to(outside)
    (outside / "run.sh").write_bytes(b"untouched")
    refused = run(environment, "export", "todo", str(folder))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is not empty" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert (folder / "a.txt").read_bytes() == b"mine"
    done = run(environment, "export", "todo", str(folder), "--overwrite")
    # What lies behind a link is named, and nothing is written there.
    assert done.returncode == 1
    assert "not written: src/run.sh" in done.stderr
    assert tree_of(outside) == {"run.sh": b"untouched"}
    assert tree_of(folder)["a.txt"] == b"third"
    assert tree_of(folder)["own.txt"] == b"own"


async def test_a_file_in_the_place_of_the_folder_or_an_unknown_name_is_told(
    environment: dict[str, str], store_file: Path, tmp_path: Path
) -> None:
    await fill(store_file)
    (tmp_path / "file").write_bytes(b"")
    in_the_way = run(environment, "export", "todo", str(tmp_path / "file" / "x"))
    assert in_the_way.returncode == 1
    assert "something of another kind" in in_the_way.stderr
    unknown = run(environment, "export", "tod", str(tmp_path / "x"))
    assert unknown.returncode == 1
    assert "Did you mean todo?" in unknown.stderr
    unheard = run(environment, "export", "todo", str(tmp_path / "x"), "--at", "9")
    assert unheard.returncode == 1
    assert "there is no revision 9 yet" in unheard.stderr
    assert not (tmp_path / "x").exists()
    assert "Traceback" not in in_the_way.stderr + unknown.stderr + unheard.stderr


async def test_paths_of_a_tampered_store_never_leave_the_folder(
    environment: dict[str, str], store_file: Path, tmp_path: Path
) -> None:
    await fill(store_file)
    for path in ("../escaped", "/tmp/escaped", "a.txt/below", "src/../../escaped", "./dot", "run/below"):
        by_hand(
            store_file,
            "INSERT INTO latest SELECT workspace, ?, number, kind, mode, size, digest, mime_type FROM latest"
            " WHERE path = 'a.txt' AND workspace = 1",
            path,
        )
        by_hand(
            store_file,
            "INSERT INTO changes SELECT workspace, ?, number, kind, mode, size, digest, mime_type FROM latest"
            " WHERE path = 'a.txt' AND workspace = 1",
            path,
        )
    folder = tmp_path / "out" / "safe"
    done = run(environment, "export", "todo", str(folder), "--json")
    assert done.returncode == 1
    assert set(json.loads(done.stdout)["problems"]) == {
        "../escaped", "/tmp/escaped", "a.txt/below", "src/../../escaped", "./dot", "run/below",
    }  # fmt: skip
    assert len(tree_of(folder)) == 5
    assert set(tree_of(tmp_path / "out")) == {f"safe/{path}" for path in tree_of(folder)}


async def test_verify_is_quiet_where_all_is_whole_and_names_what_is_not(
    environment: dict[str, str], store_file: Path, tmp_path: Path
) -> None:
    await fill(store_file)
    whole = run(environment, "verify")
    assert (whole.returncode, whole.stderr) == (0, "")
    assert whole.stdout.startswith("All whole: 8 contents, ")
    tamper(store_file, digest_of(b"second"))
    tamper(store_file, digest_of(b"other"))
    by_hand(store_file, "DELETE FROM blobs WHERE digest = ?", digest_of(b"#!/bin/sh\n"))
    damaged = run(environment, "verify", "--json")
    assert damaged.returncode == 1
    found = json.loads(damaged.stdout)
    assert set(found["corrupt"]) == {digest_of(b"second"), digest_of(b"other")}
    assert found["missing"] == [digest_of(b"#!/bin/sh\n")]
    named = {(each["workspace"], each["path"], each["first"], each["last"]) for each in found["affected"]}
    assert named == {
        ("todo", "a.txt", 2, 3), ("todo", "src/run.sh", 1, 2), ("todo", "src/run.sh", 3, None),
        ("other", "b.txt", 1, None),
    }  # fmt: skip
    shown = run(environment, "verify", "todo")
    assert shown.returncode == 1
    assert "src/run.sh" in shown.stdout
    assert "b.txt" not in shown.stdout
    # What is whole can still be had; what is not is named, and not written.
    exported = run(environment, "export", "todo", str(tmp_path / "out"))
    assert exported.returncode == 1
    assert "src/run.sh: its content is missing or damaged" in exported.stderr
    assert set(tree_of(tmp_path / "out")) == {"a.txt", "run", "naïve/ü.txt", "empty"}


def apply(patch: str, folder: Path) -> None:
    subprocess.run(["git", "apply"], cwd=folder, input=patch, text=True, timeout=60, check=True)


async def test_history_and_diff_show_what_was_done(
    environment: dict[str, str], store_file: Path, tmp_path: Path
) -> None:
    await fill(store_file)
    found = json.loads(run(environment, "history", "todo", "--json").stdout)
    assert [(each["number"], each["label"]) for each in found] == [(4, None), (3, None), (2, "release"), (1, None)]
    shown = run(environment, "history", "todo", "src", "--limit", "1").stdout.splitlines()
    assert shown[0].split()[:2] == ["REVISION", "TIME"]
    assert shown[1].split()[0] == "3"
    assert len(shown) == 2
    # The patch is one that git takes.
    then = tmp_path / "then"
    assert run(environment, "export", "todo", str(then), "--at", "1").returncode == 0
    patch = run(environment, "diff", "todo", "1", "release").stdout
    apply(patch, then)
    assert tree_of(then)["a.txt"] == b"second"
    between = json.loads(run(environment, "diff", "todo", "release", "--json").stdout)
    assert (between["from"], between["to"]) == (2, 4)
    assert {(each["path"], each["status"]) for each in between["files"]} == {
        ("a.txt", "changed"), ("empty", "added"), ("gone.txt", "removed"), ("naïve/ü.txt", "added"), ("run", "added"),
        ("src/run.sh", "changed"),
    }  # fmt: skip
    unknown = run(environment, "diff", "todo", "relaese")
    assert unknown.returncode == 1
    assert "release" in unknown.stderr


async def test_a_patch_in_a_file_is_the_very_bytes_whatever_the_locale(
    environment: dict[str, str], store_file: Path, tmp_path: Path
) -> None:
    before, after = "all:\n\tcc a.c\r\n\fé\n".encode(), "all:\n\tcc b.c\r\n\fé…\n".encode()
    async with open_sqlite(store_file) as store:
        todo = (await store.create_workspace(record("todo", owner=OWNER))).id
        await write(store, todo, {"Makefile": before})
        await write(store, todo, {"Makefile": after})
    (tmp_path / "Makefile").write_bytes(before)
    asked = [*PROGRAM, "diff", "todo"]
    plain = {**environment, "PYTHONIOENCODING": "ascii"}
    patch = (await anyio.run_process(asked, env=plain)).stdout
    await anyio.run_process(["git", "apply"], cwd=tmp_path, input=patch)
    assert (tmp_path / "Makefile").read_bytes() == after


async def test_prune_keeps_by_age_and_count_and_checkpoints_always(
    environment: dict[str, str], store_file: Path
) -> None:
    await fill(store_file)
    nothing = run(environment, "prune")
    assert (nothing.returncode, nothing.stdout) == (0, "Dropped 0 revisions and 0 contents, 0 B.\n")
    would = run(environment, "prune", "--keep-days", "7", "--dry-run")
    assert would.stdout == "todo: 2 revisions\nWould drop 2 revisions and at least 1 content, 5 B.\n"
    kept = run(environment, "prune", "--keep-days", "7", "--keep-last", "3", "--json")
    assert json.loads(kept.stdout)["workspaces"] == {"other": 0, "todo": 1}
    assert json.loads(kept.stdout)["blobs"] == 1
    done = run(environment, "prune", "todo", "--keep-last", "1")
    assert done.stdout == "todo: 1 revision\nDropped 1 revision and 0 contents, 0 B.\n"
    async with open_sqlite(store_file) as store:
        workspace = await store.get_workspace(OWNER, "todo")
        assert workspace is not None
        assert [revision.number for revision in await store.log(workspace.id)] == [4, 2]
    assert run(environment, "verify").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["prune", "--keep-last", "0"],
        ["prune", "--keep-days", "soon"],
        ["prune", "--grace-hours", "-1"],
        ["export", "a"],
    ],
)
def test_options_that_mean_nothing_end_with_status_2(environment: dict[str, str], arguments: list[str]) -> None:
    done = run(environment, *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def interrupted(environment: dict[str, str], folder: Path, number: signal.Signals) -> int:
    """The exit status of an export that got the signal when its bar was to be seen."""
    for _ in range(20):
        ours, theirs = pty.openpty()
        try:
            export = subprocess.Popen([*PROGRAM, "export", "big", str(folder)], env=environment, stderr=theirs)
            os.close(theirs)
            read_until(ours, "exporting  [")
            export.send_signal(number)
            status = export.wait(timeout=60)
        finally:
            os.close(ours)
        if status != 0:
            return status
        shutil.rmtree(folder)  # it was done before the signal came
    pytest.fail("every export was quicker than the signal")


async def test_an_export_that_is_interrupted_leaves_nothing_and_one_that_was_killed_is_cleared_by_the_next(
    environment: dict[str, str], store_file: Path, tmp_path: Path
) -> None:
    async with open_sqlite(store_file) as store:
        workspace = (await store.create_workspace(record("big", owner=OWNER))).id
        await store.put_large_blob(digest_of(LARGE), len(LARGE), streamed(LARGE, 500_000), "x/y")
        await append(store, workspace, {"z/large": file(LARGE)})
        await write(store, workspace, {f"a/{name}": b"%d" % name for name in range(2000)})
    folder = tmp_path / "out" / "here"
    assert interrupted(environment, folder, signal.SIGKILL) == -signal.SIGKILL
    assert set(tree_of(folder)) == {path for path in tree_of(folder) if path.startswith(TEMPORARY)}
    for number in (signal.SIGINT, signal.SIGTERM):
        assert interrupted(environment, folder, number) == 130
        assert tree_of(folder) == {}
    done = run(environment, "export", "big", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    found = tree_of(folder)
    assert (len(found), found["z/large"]) == (2001, LARGE)


def left_at_the_question(environment: dict[str, str]) -> int:
    """The exit status of a restore that got Ctrl-C in the place of an answer."""
    ours, theirs = pty.openpty()
    asked = [*PROGRAM, "restore", "todo", "1"]
    asking = subprocess.Popen(asked, env=environment, stdin=theirs, stderr=theirs, start_new_session=True)
    try:
        os.close(theirs)
        read_until(ours, "[y/N]")
        asking.send_signal(signal.SIGINT)
        return asking.wait(timeout=30)
    finally:
        asking.kill()
        asking.wait()
        os.close(ours)


async def test_a_question_can_be_left_with_ctrl_c(environment: dict[str, str], store_file: Path) -> None:
    await fill(store_file)
    assert left_at_the_question(environment) == 130
