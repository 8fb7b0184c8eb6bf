"""kill -9 of the commands for people at random points: what is there is whole, and repeating finishes it."""

# nothing else waits for the event loop

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import mongod
from tests.contract.stores import record, write
from tests.e2e.test_cli import PROGRAM, run
from tests.e2e.test_cli_store import tree_of
from vaporform_mcp.app import OWNER
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.mongo import open_mongo
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.transfer.folders import TEMPORARY
from vaporform_mcp.types import Revision

ROUNDS = [1, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "VAPORFORM_DATA_DIR": str(tmp_path / "data")}


class Killer:
    """Kills within the time that a whole run has taken, so that each part of one is met."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        self._environment = environment
        self._arguments = arguments
        self._random = random.Random(arguments[0])  # noqa: S311  # the same points each time, as far as times go
        self._whole_s = 1.0

    def finish(self) -> None:
        began = time.monotonic()
        done = run(dict(self._environment), *self._arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        self._whole_s = time.monotonic() - began

    def kill(self) -> None:
        command = [*PROGRAM, *self._arguments]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env=self._environment, stdout=quiet, stderr=quiet)
        try:
            process.wait(self._random.uniform(0.2, 1.0) * self._whole_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def grow(store: Store, workspace: str, revisions: int) -> None:
    for number in range(revisions):
        await write(store, workspace, {f"{path}/f": os.urandom(2000) for path in range(10)} | {f"n{number}": b"n"})


async def kept(store: Store, name: str) -> tuple[str, list[Revision]]:
    found = await store.get_workspace(OWNER, name)
    return ("", []) if found is None else (found.id, list(await store.log(found.id, limit=10_000)))


async def check_whole(store: Store) -> None:
    report = await store.verify()
    assert (list(report.missing), list(report.corrupt)) == ([], [])


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_a_copy_that_is_killed_is_a_shorter_history_and_repeating_finishes_it(
    environment: dict[str, str], tmp_path: Path, rounds: int
) -> None:
    uri = mongod.shared.uri()
    with mongod.dropped(uri) as name:
        environment |= {"VAPORFORM_MONGO__URI": uri, "VAPORFORM_MONGO__DATABASE": name}
        killer = Killer(environment, "copy", "--to", "mongo")
        async with open_sqlite(tmp_path / "data" / "vaporform.sqlite3") as source, open_mongo(uri, name) as target:
            workspace = (await source.create_workspace(record("site", owner=OWNER))).id
            await grow(source, workspace, 10)
            killer.finish()
            for _ in range(rounds):
                await grow(source, workspace, 10)
                killer.kill()
                await check_whole(target)
                (_, whole), (_, part) = await kept(source, "site"), await kept(target, "site")
                assert part == whole[len(whole) - len(part) :]
                assert await target.tree(workspace) == await source.tree(workspace, part[0].number)
            killer.finish()
            assert await kept(target, "site") == await kept(source, "site")
            assert await target.tree(workspace) == await source.tree(workspace)


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_a_prune_that_is_killed_takes_nothing_that_a_kept_revision_has(
    environment: dict[str, str], tmp_path: Path, rounds: int
) -> None:
    killer = Killer(environment, "prune", "--keep-last", "5", "--grace-hours", "0")
    async with open_sqlite(tmp_path / "data" / "vaporform.sqlite3") as store:
        workspace = (await store.create_workspace(record("site", owner=OWNER))).id
        await grow(store, workspace, 40)
        killer.finish()
        for _ in range(rounds):
            await grow(store, workspace, 40)
            newest = (await store.head(workspace)).number
            before = {number: await store.tree(workspace, number) for number in range(newest - 4, newest + 1)}
            killer.kill()
            await check_whole(store)
            left = [revision.number for revision in (await kept(store, "site"))[1]]
            assert left[:5] == list(range(newest, newest - 5, -1))
            assert {number: await store.tree(workspace, number) for number in before} == before
        killer.finish()
        await check_whole(store)
        assert len((await kept(store, "site"))[1]) == 5


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_an_import_that_is_killed_is_not_to_be_seen(
    environment: dict[str, str], tmp_path: Path, rounds: int
) -> None:
    bundle = tmp_path / "site.vaporform"
    async with open_sqlite(tmp_path / "source" / "vaporform.sqlite3") as store:
        await grow(store, (await store.create_workspace(record("site", owner=OWNER))).id, 30)
        _, history = await kept(store, "site")
    there = {**environment, "VAPORFORM_DATA_DIR": str(tmp_path / "source")}
    assert run(there, "export", "site", "--bundle", str(bundle)).returncode == 0
    Killer(environment, "import", str(bundle), "first").finish()
    for number in range(rounds):
        Killer(environment, "import", str(bundle), f"n{number}").kill()
        async with open_sqlite(tmp_path / "data" / "vaporform.sqlite3") as store:
            await check_whole(store)
            assert (await kept(store, f"n{number}"))[1] in ([], history)
    Killer(environment, "import", str(bundle), "last").finish()
    async with open_sqlite(tmp_path / "data" / "vaporform.sqlite3") as store:
        assert (await kept(store, "last"))[1] == history


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_a_pull_and_a_push_that_are_killed_leave_whole_files_and_repeating_finishes_them(
    environment: dict[str, str], tmp_path: Path, rounds: int
) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    contents = {f"{number}": b"%d" % number * 3000 for number in range(200)}
    for name, content in contents.items():
        (mine / name).write_bytes(content)
    push, pull = Killer(environment, "push", str(mine), "site"), Killer(environment, "pull", "site", str(theirs))
    push.finish()
    pull.finish()
    for turn in range(rounds):
        old = dict(contents)
        for name in list(contents)[turn % 2 :: 2]:
            contents[name] = b"%d " % turn * 3000
            (mine / name).write_bytes(contents[name])
        push.kill()
        push.finish()
        pull.kill()
        found = {name: content for name, content in tree_of(theirs).items() if not name.startswith(TEMPORARY)}
        assert all(content in (old[name], contents[name]) for name, content in found.items())
        pull.finish()
        assert tree_of(theirs) == contents  # and nothing half-written beside it
    assert run(environment, "verify").returncode == 0
    run(environment, "stop", "--all")
