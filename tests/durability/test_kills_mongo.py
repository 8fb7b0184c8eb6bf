"""kill -9 of a server whose store is MongoDB, and of the database itself, at any moment of what they do."""

from __future__ import annotations

import os
import random
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests import mongod
from tests.durability.kills import LONG, rounds
from tests.durability.machine import Machine, a_machine, digest, digests_inside, in_time
from tests.durability.test_kills import rounds_of_restores, rounds_of_syncs
from tests.e2e.stdio_client import StdioServer, result_of
from tests.fault.test_kill9_server import ROUNDS, rounds_of_rebuilding, rounds_of_writes
from tests.fault.writers import contents

pytestmark = pytest.mark.timeout(7200 if LONG else 120)
WRITES = 40
BACK_S = 60.0


@contextmanager
def a_mongo_machine(folder: Path, uri: str, **settings: str) -> Generator[Machine]:
    with mongod.dropped(uri) as database:
        store = {"VAPORFORM_STORE": "mongo", "VAPORFORM_MONGO__URI": uri, "VAPORFORM_MONGO__DATABASE": database}
        with a_machine(folder, **store, **settings) as machine:
            yield machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with a_mongo_machine(tmp_path, mongod.shared.uri(), VAPORFORM_TOOLS="all") as made:
        yield made


@pytest.mark.long
def test_a_server_killed_while_it_syncs_to_mongo_leaves_each_file_as_it_was_or_as_it_is(machine: Machine) -> None:
    rounds_of_syncs(machine, short=2)


@pytest.mark.long
def test_a_server_killed_while_it_writes_to_mongo_loses_nothing_that_it_answered(machine: Machine) -> None:
    rounds_of_writes(machine, ROUNDS)


@pytest.mark.long
def test_a_server_killed_while_it_rebuilds_from_mongo_removes_nothing(machine: Machine) -> None:
    rounds_of_rebuilding(machine, ROUNDS)


@pytest.mark.long
def test_a_server_killed_while_it_restores_from_mongo_leaves_one_whole_tree_or_the_other(machine: Machine) -> None:
    rounds_of_restores(machine, short=2)


@pytest.mark.long
@pytest.mark.skipif(bool(os.environ.get("TEST_MONGODB_URI")), reason="only a database of our own may be killed")
def test_a_database_killed_while_files_are_written_loses_nothing_that_was_answered_and_follows_once_it_is_back(
    tmp_path: Path,
) -> None:
    """Each round: writes under way, SIGKILL to the database, which starts again on its files. The server lives on."""
    folder = tmp_path / "mongod"
    folder.mkdir()
    database = mongod.start_mongod(folder)
    mirrored = put_off = 0
    try:
        with a_mongo_machine(tmp_path, database.uri) as machine, machine.server() as server:
            server.call("open_workspace", name="default")
            last: dict[str, bytes] = {}
            for number, chance in rounds(short=1):
                confirmed, live = written(server, database, chance, number)
                last = {**last, **live}
                database = mongod.start_mongod(folder, port=database.port)
                stored = machine.stored()
                assert {path: stored.get(path) for path in confirmed} == confirmed
                mirrored, put_off = mirrored + len(confirmed), put_off + len(live) - len(confirmed)
                # By itself, in the background: nobody calls.
                in_time(partial(has, machine, last), limit_s=BACK_S)
                assert digests_inside(machine) == {path: digest(content) for path, content in last.items()}
                assert server.call("attempt_completion", result="a round").facts["mirrored"]
            assert mirrored
            assert put_off
    finally:
        database.stop()


def has(machine: Machine, tree: Mapping[str, bytes]) -> bool:
    return machine.stored() == tree


def written(
    server: StdioServer, database: mongod.Mongod, chance: random.Random, number: int
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What was answered as mirrored, and all that was written. Each path once, so that none is overwritten.

    The database is killed when a few of the answers are there and the rest of the writes are under way.
    """
    sent: list[tuple[int, str, bytes]] = []
    for index in range(WRITES):
        path, content = f"{number % 10}/{index}.txt", contents(chance, f"{number}", index)
        sent.append((server.begin_call("write_to_file", {"path": path, "content": content}), path, content.encode()))
    confirmed: dict[str, bytes] = {}
    last = chance.randrange(WRITES // 2)
    for index, (call, path, content) in enumerate(sent):
        result = result_of(server.answer(call))
        assert not result.is_error, result.text
        if result.facts["mirrored"]:
            confirmed[path] = content
        if index == last:
            database.stop()
    return confirmed, {path: content for _, path, content in sent}
