"""kill -9 to the server, at any moment while it writes: what it answered `mirrored: true` for is never lost."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.durability.kills import LONG, LONG_ROUNDS
from tests.durability.machine import Machine, a_machine, digest, digests_inside
from tests.e2e.stdio_client import StdioServer
from tests.fault.writers import Writer, Written, acknowledged, chance_of, contents, possible

ROUNDS = LONG_ROUNDS if LONG else 5
WRITES = 60
LATEST_KILL_S = 0.15
FILES = 200
LATEST_HEAL_S = 1.2


@pytest.mark.timeout(3600 if LONG else 120)
def test_a_server_killed_again_and_again_while_it_writes_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    with a_machine(tmp_path) as machine:
        rounds_of_writes(machine, ROUNDS)


def rounds_of_writes(machine: Machine, least: int) -> None:
    """Each: dozens of writes under way, SIGKILL; then the sandbox lives, is killed too, or is destroyed."""
    kept: dict[str, bytes] = {}
    confirmed = unanswered = 0
    number = 0
    # Where the machine is busy all kills may come before the first answer: then there are more, and later ones.
    while number < least or not (confirmed and unanswered):
        chance = chance_of(number)
        writes = round_of_writes(machine, chance, number)
        confirmed += len([each for each in writes if each.revision is not None])
        unanswered += len([each for each in writes if each.revision is None])
        check_store(machine, writes, kept)
        match number % 3:
            case 1:
                machine.kill_sandbox()
            case 2:
                machine.destroy_sandbox()
            case _:
                pass
        kept = check_sandbox(machine, writes, kept)
        number += 1


@pytest.mark.timeout(3600 if LONG else 120)
def test_a_server_killed_again_and_again_while_it_rebuilds_a_sandbox_removes_nothing_from_the_mirror(
    tmp_path: Path,
) -> None:
    with a_machine(tmp_path) as machine:
        rounds_of_rebuilding(machine, ROUNDS)


def rounds_of_rebuilding(machine: Machine, count: int) -> None:
    with machine.server() as server:
        writer = Writer(server)
        writer.start([(f"{number % 9}/{number}.txt", f"{number} " * number) for number in range(FILES)])
        kept = {each.path: each.content for each in writer.finish() if each.revision is not None}
    assert len(kept) == FILES
    for number in range(count):
        machine.destroy_sandbox()
        with machine.server() as server:
            server.begin_call("execute_command", {"command": "ls"})
            time.sleep(chance_of(number).uniform(0.3, LATEST_HEAL_S))  # the moment of the kill is the point
            server.process.kill()
            server.wait()
        machine.assert_is_sound()
        assert machine.stored() == kept
    with machine.server() as server:
        server.call("open_workspace", name="default")
        assert digests_inside(machine) == {path: digest(content) for path, content in kept.items()}
        complete(server)
    assert machine.stored() == kept


def round_of_writes(machine: Machine, chance: random.Random, number: int) -> list[Written]:
    with machine.server() as server:
        server.call("open_workspace", name="default")
        writer = Writer(server)
        writer.start(plan(chance, number))
        time.sleep(
            chance.uniform(0, LATEST_KILL_S * (1 + number // ROUNDS))
        )  # the moment of the kill is what is being varied
        server.process.kill()
        return writer.finish()


def plan(chance: random.Random, number: int) -> list[tuple[str, str]]:
    """New files and old ones, each path once or several times."""
    paths = [f"round-{number % 10}/{index % 7}/{index}.txt" for index in range(WRITES // 2)]
    paths += [f"always/{chance.randrange(8)}.txt" for _ in range(WRITES // 2)]
    chance.shuffle(paths)
    return [(path, contents(chance, f"{number}", index)) for index, path in enumerate(paths)]


def check_store(machine: Machine, writes: list[Written], kept: dict[str, bytes]) -> None:
    """Whole and verified: what was acknowledged is there, and nothing that nobody sent."""
    machine.assert_is_sound()
    may = possible(writes, kept)
    stored = machine.stored()
    assert acknowledged(writes) | kept.keys() <= stored.keys()
    for path, content in stored.items():
        assert content in may.get(path, ()), path


def check_sandbox(machine: Machine, writes: list[Written], kept: dict[str, bytes]) -> dict[str, bytes]:
    """What a new server finds inside, which is also what its completion leaves in the store."""
    may = possible(writes, kept)
    with machine.server() as server:
        server.call("open_workspace", name="default")
        inside = digests_inside(machine)
        assert acknowledged(writes) | kept.keys() <= inside.keys()
        for path, found in inside.items():
            assert found in map(digest, may.get(path, ())), path
        complete(server)
    stored = machine.stored()
    assert {path: digest(content) for path, content in stored.items()} == inside
    return stored


def complete(server: StdioServer) -> None:
    assert server.call("attempt_completion", result="a round").facts["mirrored"]
