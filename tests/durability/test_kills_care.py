"""kill -9 at any moment of a prune, of an export and of an import: nothing is lost, and repeated it finishes."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from tests.contract.stores import blob as blob_of
from tests.contract.stores import digest_of, file, path, record
from tests.durability.kills import LONG, Moments, assert_is_sound, killed, rounds
from tests.durability.machine import a_machine
from tests.e2e.stdio_client import LIMIT_S, PROGRAM
from vaporform_mcp import app
from vaporform_mcp.settings import Settings
from vaporform_mcp.stores.base import Adopted
from vaporform_mcp.types import Change, Digest, Revision

KEPT = 8
GROWTH = 150
CHECKPOINT = 70  # every so many revisions there is one
PRUNE = (*PROGRAM, "prune", "default", "--keep-last", str(KEPT), "--grace-hours", "0", "--json")
Tree = Mapping[str, bytes]


@pytest.mark.timeout(7200 if LONG else 120)
def test_a_prune_killed_at_any_moment_loses_nothing_that_is_kept_and_repeated_it_finishes(tmp_path: Path) -> None:
    """Each round: revisions are made, and a prune of them is killed; every other time it is repeated."""
    with a_machine(tmp_path) as machine:
        trees: dict[int, Tree] = {}
        anyio.run(made, machine.settings)
        moments = Moments(0.2)
        for number, chance in rounds(short=4):
            anyio.run(grown, machine.settings, trees, chance)
            # Nobody else has the file open, so that its log appears with the first step of the command's own.
            log = machine.store_file.with_name(f"{machine.store_file.name}-wal")
            assert not log.exists()
            killed(PRUNE, machine.environment, moments, chance, begins=log.exists)
            assert_is_sound(machine.store_file)
            anyio.run(checked, machine.settings, trees)
            if number % 2:
                done = subprocess.run(PRUNE, env=machine.environment, capture_output=True, timeout=LIMIT_S, check=False)
                assert done.returncode == 0, done.stderr.decode()
                assert_is_sound(machine.store_file)
                kept = anyio.run(checked, machine.settings, trees)
                assert kept == {*sorted(kept)[-KEPT:], *(each for each in kept if each % CHECKPOINT == 0)}
                anyio.run(assert_nothing_is_left, machine.settings)
        assert moments.in_time


async def made(settings: Settings) -> None:
    async with app.open_store(settings) as store:
        await store.create_workspace(record("default", owner=app.OWNER, id="pruned"))


async def grown(settings: Settings, trees: dict[int, Tree], chance: random.Random) -> None:
    """More revisions, as another store has them, some with a label; `trees` learns what each one's tree is."""
    async with app.open_store(settings) as store:
        first = (await store.head("pruned")).number + 1
        tree = dict(trees.get(first - 1, {}))
        contents: list[bytes] = []
        adopted: list[Adopted] = []
        for number in range(first, first + GROWTH):
            changes = {f"{chance.randrange(200)}": chance.choice((None, chance.randbytes(60))) for _ in range(8)}
            contents += [content for content in changes.values() if content is not None]
            adopted.append(adopted_as(number, changes))
            tree = {name: content for name, content in {**tree, **changes}.items() if content is not None}
            trees[number] = tree
        await store.put_blobs([blob_of(content) for content in contents])
        await store.adopt("pruned", adopted)


def adopted_as(number: int, changes: Mapping[str, bytes | None]) -> Adopted:
    revision = Revision(
        number=number,
        id=f"{number}",
        epoch=1,
        time=float(number),
        made_by="test",
        label=f"checkpoint {number}" if number % CHECKPOINT == 0 else None,
        added=0,
        changed=len(changes),
        removed=0,
    )
    entries = {name: None if content is None else file(content) for name, content in changes.items()}
    return Adopted(revision=revision, changes=[Change(path=path(name), entry=entry) for name, entry in entries.items()])


async def checked(settings: Settings, trees: dict[int, Tree]) -> set[int]:
    """Every revision that is still there has its tree, contents included; the others are forgotten in `trees` too.

    Answers with the numbers of those that are there.
    """
    async with app.open_store(settings) as store:
        kept = {each.number for each in await store.log("pruned", limit=100_000)}
        assert kept.issuperset(sorted(trees)[-KEPT:])
        assert kept.issuperset(number for number in trees if number % CHECKPOINT == 0)
        named: set[Digest] = set()
        for number in kept:
            entries = await store.tree("pruned", number)
            assert {name: entry.digest for name, entry in entries.items()} == {
                name: digest_of(content) for name, content in trees[number].items()
            }
            named.update(entry.digest for entry in entries.values())
        assert (await store.get_blobs(named)).keys() == named
        report = await store.verify()
        assert not report.missing
        assert not report.corrupt
    for number in trees.keys() - kept:
        del trees[number]
    return kept


async def assert_nothing_is_left(settings: Settings) -> None:
    async with app.open_store(settings) as store:
        forecast = await store.prune("pruned", keep_after=0, grace_s=0, dry_run=True)
        assert (forecast.revisions, forecast.blobs) == (0, 0)
