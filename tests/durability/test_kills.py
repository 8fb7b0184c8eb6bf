"""kill -9 at any moment of a sync and of a restore: nothing is lost, nothing is half, and repeated it finishes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.durability.kills import LONG, Moments, rounds
from tests.durability.machine import Machine, a_machine, digest, digests_inside
from tests.e2e.stdio_client import Result, StdioServer, result_of

FILES = 150
LARGE_BYTES = 9 * 1024 * 1024  # streamed, not sent with others
Tree = Mapping[str, bytes]


# Sync ---------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(7200 if LONG else 120)
def test_a_server_killed_while_it_syncs_leaves_each_file_as_it_was_or_as_it_is_and_the_next_finishes(
    tmp_path: Path,
) -> None:
    with a_machine(tmp_path) as machine:
        rounds_of_syncs(machine, short=3)


def rounds_of_syncs(machine: Machine, *, short: int) -> None:
    """Each: files change in the sandbox as commands change them, a sync of all of it begins, SIGKILL."""
    moments = Moments(0.6)
    synced: Tree = {}
    live: Tree = {}
    for number, chance in rounds(short):
        with machine.server() as server:
            server.call("open_workspace", name="default")
            # What the round before began.
            assert server.call("attempt_completion", result="finished").facts["mirrored"]
            assert digests_inside(machine) == {name: digest(content) for name, content in live.items()}
            synced = live
            live, passing = changed(machine, live, chance, number)
            told = f"told {number} {chance.random()}".encode()
            written = server.call("write_to_file", path="told.txt", content=told.decode())
            assert written.facts["mirrored"]
            live = {**live, "told.txt": told}
            begun = time.monotonic()
            call = server.begin_call("attempt_completion", {"result": "a round"})
            time.sleep(moments.choose(chance))  # the moment of the kill is what is being varied
            server.process.kill()
            server.wait()
            if answered(server, call) is None:
                moments.met()
            else:
                moments.missed(time.monotonic() - begun)
        machine.assert_is_sound()
        stored = machine.stored()
        assert stored["told.txt"] == told
        for name in synced.keys() | live.keys() | stored.keys():
            assert stored.get(name) in (synced.get(name), live.get(name), *passing.get(name, ())), (number, name)
    moments.assert_some_in_time()
    with machine.server() as server:
        server.call("open_workspace", name="default")
        assert server.call("attempt_completion", result="finished").facts["mirrored"]
    assert_same(machine, live)


def assert_same(machine: Machine, live: Tree) -> None:
    expected = {name: digest(content) for name, content in live.items()}
    assert digests_inside(machine) == expected
    assert {name: digest(content) for name, content in machine.stored().items()} == expected


def changed(
    machine: Machine, before: Tree, chance: random.Random, number: int
) -> tuple[Tree, Mapping[str, set[bytes | None]]]:
    """Change what is in the sandbox, behind the server's back: made anew, in the place, removed.

    Answers with what is there then, and with what each file was for a moment: a sync under way may have met that.
    """
    folder = machine.files()
    now = dict(before)
    passing: dict[str, set[bytes | None]] = {}
    for name in chance.sample(sorted(before), len(before) // 4):
        (folder / name).unlink()
        del now[name]
        passing[name] = {None}
    for count in range(FILES):
        name = f"{chance.randrange(10)}/{chance.randrange(40)}.txt"
        passing.setdefault(name, set()).update({b"", now.get(name)})
        now[name] = f"{name} {number} {count} ".encode() * chance.choice((1, 5, 400))
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(now[name])
    if number % 9 == 0:
        passing.setdefault("large.bin", set()).update({b"", now.get("large.bin")})
        now["large.bin"] = chance.randbytes(LARGE_BYTES)
        (folder / "large.bin").write_bytes(now["large.bin"])
    owner = folder.stat()
    for each in folder.rglob("*"):
        os.chown(each, owner.st_uid, owner.st_gid)  # run by root, commands are somebody else
    return now, passing


# Restore ------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(7200 if LONG else 120)
def test_a_server_killed_while_it_restores_leaves_one_whole_tree_or_the_other_and_the_next_finishes(
    tmp_path: Path,
) -> None:
    with a_machine(tmp_path, VAPORFORM_TOOLS="all") as machine:
        rounds_of_restores(machine, short=2)


def rounds_of_restores(machine: Machine, *, short: int) -> None:
    """Each goes from one of two points to the other, SIGKILL; never does a mixture of both reach the mirror."""
    moments = Moments(0.6)
    chosen = random.Random(0)  # noqa: S311  # nothing secret is made with it
    points: dict[str, Tree] = {}
    with machine.server() as server:
        server.call("open_workspace", name="default")
        tree: Tree = {}
        for number, label in enumerate("ab"):
            tree, _ = changed(machine, tree, chosen, 9 * number)
            assert not server.call("checkpoint", label=label).is_error
            points[label] = tree
    for _, chance in rounds(short):
        with machine.server() as server:
            server.call("open_workspace", name="default")
            here = label_of(machine.stored(), points)
            inside = digests_inside(machine)
            assert inside == {name: digest(content) for name, content in points[here].items()}
            there = "ba"["ab".index(here)]
            begun = time.monotonic()
            call = server.begin_call("restore", {"to": there, "confirm": True})
            time.sleep(moments.choose(chance))  # the moment of the kill is what is being varied
            server.process.kill()
            server.wait()
            answer = answered(server, call)
            if answer is None:
                moments.met()
            else:
                moments.missed(time.monotonic() - begun)
                assert not answer.is_error, answer.text
                assert "Not as at" not in answer.text, answer.text
        machine.assert_is_sound()
        assert label_of(machine.stored(), points) in {here, there}
    moments.assert_some_in_time()
    with machine.server() as server:
        server.call("open_workspace", name="default")
        for label in "ab":
            assert not server.call("restore", to=label, confirm=True).is_error
            assert_same(machine, points[label])


def answered(server: StdioServer, call: int) -> Result | None:
    """What a server that was killed had answered before that."""
    try:
        answer = server.answer(call)
    except AssertionError:
        return None  # its output has ended
    return result_of(answer)


def label_of(stored: Tree, points: Mapping[str, Tree]) -> str:
    """Which of the points it is, whole."""
    differing = {
        label: sorted(name for name in tree.keys() | stored.keys() if tree.get(name) != stored.get(name))
        for label, tree in points.items()
    }
    assert [] in differing.values(), differing
    return next(label for label, names in differing.items() if not names)
