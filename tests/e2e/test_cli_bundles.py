"""A workspace and its history as one file: the installed program exports and imports it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.stores import record, write
from tests.e2e.test_cli import PROGRAM, arun, call, client, read_until, run
from tests.e2e.test_cli_store import fill, tree_of
from vaporform_mcp.app import OWNER
from vaporform_mcp.stores.sqlite import open_sqlite


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "VAPORFORM_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture
def elsewhere(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Another machine, as far as the data folder makes one."""
    return {**environment, "VAPORFORM_DATA_DIR": str(tmp_path / "elsewhere")}


async def test_a_workspace_goes_with_its_history_to_another_machine_and_lives_on_there(
    environment: dict[str, str], elsewhere: dict[str, str], tmp_path: Path
) -> None:
    await fill(tmp_path / "data" / "vaporform.sqlite3")
    bundle = tmp_path / "todo.vaporform"
    exported = await arun(environment, "export", "todo", "--bundle", str(bundle))
    assert (exported.returncode, exported.stderr) == (0, "")
    assert exported.stdout == f"todo: 4 revisions, 7 contents, 40 B in {bundle}.\n"
    with closing(sqlite3.connect(bundle)) as connection:
        assert connection.execute("SELECT count(*) FROM revisions").fetchone() == (4,)
    again = await arun(environment, "export", "todo", "--bundle", str(bundle))
    assert again.returncode == 1
    assert "is there already" in again.stderr
    imported = await arun(elsewhere, "import", str(bundle), "mine", "--json")
    assert (imported.returncode, imported.stderr) == (0, "")
    assert json.loads(imported.stdout)["revisions"] == 4
    then = tmp_path / "then"
    assert (await arun(elsewhere, "export", "mine", str(then), "--at", "release")).returncode == 0
    assert tree_of(then)["a.txt"] == b"second"
    twice = await arun(elsewhere, "import", str(bundle), "mine")
    assert twice.returncode == 1
    assert "there is a workspace mine already" in twice.stderr
    async with client(elsewhere) as connected:
        assert "third" in await call(connected, "read_file", path="a.txt", workspace="mine")
        await call(connected, "write_to_file", path="a.txt", content="fourth", workspace="mine")
    await arun(elsewhere, "stop", "--all")


async def test_a_server_works_on_a_bundle_that_is_put_in_the_place_of_its_store(
    environment: dict[str, str], elsewhere: dict[str, str], tmp_path: Path
) -> None:
    await fill(tmp_path / "data" / "vaporform.sqlite3")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place = tmp_path / "elsewhere" / "vaporform.sqlite3"
    assert (await arun(environment, "export", "todo", "--bundle", str(place))).returncode == 0
    async with client(elsewhere) as connected:
        assert "third" in await call(connected, "read_file", path="a.txt", workspace="todo")
        assert '"mirrored":true' in await call(
            connected, "write_to_file", path="a.txt", content="fourth", workspace="todo"
        )
    await arun(elsewhere, "stop", "--all")


async def test_what_is_no_bundle_or_has_several_workspaces_is_told(
    environment: dict[str, str], elsewhere: dict[str, str], tmp_path: Path
) -> None:
    store_file = tmp_path / "data" / "vaporform.sqlite3"
    await fill(store_file)
    (tmp_path / "text").write_bytes(b"no database at all")
    for file, said in (
        (tmp_path / "text", "cannot be imported"),
        (tmp_path / "none", "there is no file"),
        (tmp_path / ("x" * 300), "' cannot be read: "),
    ):
        refused = run(elsewhere, "import", str(file))
        assert refused.returncode == 1
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr
    # A whole store that was copied is a bundle too.
    several = run(elsewhere, "import", str(store_file))
    assert several.returncode == 1
    assert "other, todo" in several.stderr
    assert run(elsewhere, "import", str(store_file), "--workspace", "other").stdout.startswith("other is there")
    both = run(environment, "export", "todo", "--bundle", str(tmp_path / "x"), "--at", "2")
    assert (both.returncode, both.stdout) == (2, "")


async def test_a_bundle_does_not_take_the_place_of_the_store_that_it_is_made_of(
    environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "data" / "vaporform.sqlite3"
    async with open_sqlite(file) as store:
        for name in ("one", "two"):
            await write(store, (await store.create_workspace(record(name, owner=OWNER))).id, {"a": b"first"})
    (tmp_path / "link").symlink_to(tmp_path / "data")
    refused = run(environment, "export", "one", "--bundle", str(tmp_path / "link" / file.name), "--overwrite")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is the store itself" in refused.stderr
    async with open_sqlite(file) as store:
        assert {each.name for each in await store.list_workspaces(OWNER)} == {"one", "two"}


def interrupted(environment: dict[str, str], bundle: Path, number: signal.Signals) -> int:
    """The exit status of an import that got the signal when it had begun to take contents over."""
    for _ in range(20):
        ours, theirs = pty.openpty()
        try:
            taking = subprocess.Popen([*PROGRAM, "import", str(bundle), "big"], env=environment, stderr=theirs)
            os.close(theirs)
            read_until(ours, "importing  [")
            taking.send_signal(number)
            status = taking.wait(timeout=60)
        finally:
            os.close(ours)
        if status != 0:
            return status
        shutil.rmtree(environment["VAPORFORM_DATA_DIR"])  # it was done before the signal came
    pytest.fail("every import was quicker than the signal")


async def test_an_import_that_is_interrupted_leaves_nothing_and_one_that_was_killed_nothing_that_is_seen(
    environment: dict[str, str], elsewhere: dict[str, str], tmp_path: Path
) -> None:
    async with open_sqlite(tmp_path / "data" / "vaporform.sqlite3") as store:
        big = (await store.create_workspace(record("big", owner=OWNER))).id
        await write(store, big, {f"{name}": b"%d" % name for name in range(2000)})
        await write(store, big, {f"{name}": b"x%d" % name for name in range(2000)})
    bundle = tmp_path / "big.vaporform"
    assert run(environment, "export", "big", "--bundle", str(bundle)).returncode == 0
    assert interrupted(elsewhere, bundle, signal.SIGINT) == 130
    async with open_sqlite(tmp_path / "elsewhere" / "vaporform.sqlite3") as store:
        assert await store.list_workspaces(OWNER) == await store.list_workspaces(OWNER, deleted=True) == []
    assert interrupted(elsewhere, bundle, signal.SIGKILL) == -signal.SIGKILL
    async with open_sqlite(tmp_path / "elsewhere" / "vaporform.sqlite3") as store:
        assert await store.list_workspaces(OWNER) == await store.list_workspaces(OWNER, deleted=True) == []
    done = run(elsewhere, "import", str(bundle))
    assert (done.returncode, done.stderr) == (0, "")
    assert run(elsewhere, "verify").returncode == 0
