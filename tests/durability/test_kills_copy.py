"""kill -9 at any moment of a copy between stores: the source is as it was, the target has a beginning, and repeated it
finishes."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pymongo
import pytest

from tests import mongod
from tests.contract.stores import digest_of
from tests.durability.kills import LONG, Moments, killed, rounds
from tests.durability.machine import Machine, a_machine
from tests.durability.test_kills_care import Tree, filled, finished
from tests.e2e.stdio_client import PROGRAM
from vaporform_mcp import app
from vaporform_mcp.settings import Settings

REVISIONS = 60 if LONG else 30
pytestmark = pytest.mark.timeout(7200 if LONG else 120)


@contextmanager
def two_stores(folder: Path, uri: str) -> Generator[tuple[Machine, Machine]]:
    """The same machine, as it is with the SQLite store and with a new, empty database."""
    with mongod.dropped(uri) as database:
        store = {"VAPORFORM_MONGO__URI": uri, "VAPORFORM_MONGO__DATABASE": database}
        with a_machine(folder, **store) as machine:
            yield machine, replace(machine, environment={**machine.environment, "VAPORFORM_STORE": "mongo"})


def test_a_copy_to_mongo_killed_at_any_moment_leaves_a_beginning_and_repeated_it_finishes(tmp_path: Path) -> None:
    uri = mongod.shared.uri()
    moments = Moments(1.0)
    trees: dict[int, Tree] = {}
    for _, chance in rounds(short=1):
        with two_stores(tmp_path, uri) as (sqlite, mongo):
            trees = trees or filled(sqlite, REVISIONS)
            killed(command("mongo"), sqlite.environment, moments, chance, begins=lambda to=mongo: has_begun(to))
            sqlite.assert_is_sound()
            assert_begins(mongo, trees)
            finished(command("mongo"), sqlite)
            assert_all(mongo, trees)
            assert_all(sqlite, trees)
    moments.assert_some_in_time()


@pytest.mark.long
def test_a_copy_to_sqlite_killed_at_any_moment_leaves_a_beginning_and_repeated_it_finishes(tmp_path: Path) -> None:
    moments = Moments(0.5)
    with two_stores(tmp_path, mongod.shared.uri()) as (sqlite, _):
        trees = filled(sqlite, REVISIONS)
        finished(command("mongo"), sqlite)
        for _, chance in rounds(short=1):
            for path in sqlite.data_dir.glob(f"{sqlite.store_file.name}*"):
                path.unlink()
            log = sqlite.store_file.with_name(f"{sqlite.store_file.name}-wal")
            killed(command("sqlite"), sqlite.environment, moments, chance, begins=log.exists)
            sqlite.assert_is_sound()
            assert_begins(sqlite, trees)
            finished(command("sqlite"), sqlite)
            sqlite.assert_is_sound()
            assert_all(sqlite, trees)
    moments.assert_some_in_time()


def command(to: str) -> tuple[str, ...]:
    return (*PROGRAM, "copy", "--to", to)


def has_begun(mongo: Machine) -> bool:
    uri, database = (mongo.environment[f"VAPORFORM_MONGO__{name}"] for name in ("URI", "DATABASE"))
    with pymongo.MongoClient[dict[str, object]](uri) as client:
        return client[database]["workspaces"].find_one({}) is not None


def assert_all(target: Machine, trees: Mapping[int, Tree]) -> None:
    numbers = assert_begins(target, trees)
    assert numbers == sorted(trees)


def assert_begins(target: Machine, trees: Mapping[int, Tree]) -> list[int]:
    """What is there are the first revisions, which it answers with, and nothing of it lacks a content."""
    numbers, found = anyio.run(kept_in, target.settings)
    assert numbers == sorted(trees)[: len(numbers)]
    for number, tree in found.items():
        assert tree == {name: digest_of(content) for name, content in trees[number].items()}
    return numbers


async def kept_in(settings: Settings) -> tuple[list[int], dict[int, dict[str, str]]]:
    """The numbers of all revisions, and the trees of some with the newest. Every content is verified."""
    async with app.open_store(settings) as store:
        record = await store.get_workspace(app.OWNER, "default")
        if record is None:
            return [], {}
        report = await store.verify()
        assert not report.missing
        assert not report.corrupt
        numbers = sorted(each.number for each in await store.log(record.id, limit=100_000))
        some = [*numbers[:: REVISIONS // 3], *numbers[-1:]]
        trees = {number: await store.tree(record.id, number) for number in some}
        return numbers, {number: {path: entry.digest for path, entry in tree.items()} for number, tree in trees.items()}
