"""kill -9 at any moment of a prune, of an export and of an import: nothing is lost, and repeated it finishes."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import pytest

from tests.contract.stores import blob as blob_of
from tests.contract.stores import digest_of, file, path, record
from tests.durability.kills import LONG, Moments, assert_is_sound, killed, rounds
from tests.durability.machine import Machine, a_machine
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
        for number, chance in rounds(short=3):
            anyio.run(grown, machine.settings, trees, chance)
            # Nobody else has the file open, so that its log appears with the first step of the command's own.
            log = machine.store_file.with_name(f"{machine.store_file.name}-wal")
            assert not log.exists()
            killed(PRUNE, machine.environment, moments, chance, begins=log.exists)
            assert_is_sound(machine.store_file)
            anyio.run(checked, machine.settings, trees)
            if number % 2:
                finished(PRUNE, machine)
                assert_is_sound(machine.store_file)
                kept = anyio.run(checked, machine.settings, trees)
                assert kept == {*sorted(kept)[-KEPT:], *(each for each in kept if each % CHECKPOINT == 0)}
                anyio.run(assert_nothing_is_left, machine.settings)
        moments.assert_some_in_time()


async def made(settings: Settings) -> None:
    async with app.open_store(settings) as store:
        await store.create_workspace(record("default", owner=app.OWNER, id="pruned"))


async def grown(settings: Settings, trees: dict[int, Tree], chance: random.Random, revisions: int = GROWTH) -> None:
    """More revisions, as another store has them, some with a label; `trees` learns what each one's tree is."""
    async with app.open_store(settings) as store:
        first = (await store.head("pruned")).number + 1
        tree = dict(trees.get(first - 1, {}))
        contents: list[bytes] = []
        adopted: list[Adopted] = []
        for number in range(first, first + revisions):
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


# Export and import --------------------------------------------------------------------------------------------------


@pytest.mark.timeout(7200 if LONG else 120)
def test_an_export_killed_at_any_moment_leaves_no_half_file_and_repeated_it_finishes(tmp_path: Path) -> None:
    bundle = tmp_path / "there" / "bundle"
    bundle.parent.mkdir()
    command = (*PROGRAM, "export", "default", "--bundle", str(bundle))
    with a_machine(tmp_path) as machine:
        trees = filled(machine)
        moments = Moments(0.3)
        for number, chance in rounds(short=2):
            killed(command, machine.environment, moments, chance, begins=lambda: any(bundle.parent.iterdir()))
            assert_is_sound(machine.store_file)
            if bundle.exists():
                assert_holds(machine, bundle, trees, tmp_path / f"{number}")
                bundle.unlink()
        moments.assert_some_in_time()
        finished(command, machine)
        assert_holds(machine, bundle, trees, tmp_path / "last")
        assert list(bundle.parent.iterdir()) == [bundle], "what was killed has left something"


@pytest.mark.timeout(7200 if LONG else 120)
def test_an_import_killed_at_any_moment_shows_nothing_or_all_and_repeated_it_finishes(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    with a_machine(tmp_path) as machine:
        trees = filled(machine)
        finished((*PROGRAM, "export", "default", "--bundle", str(bundle)), machine)
        head = anyio.run(head_in, machine.settings, "default")
        moments = Moments(0.5)
        log = machine.store_file.with_name(f"{machine.store_file.name}-wal")
        for number, chance in rounds(short=2):
            command = (*PROGRAM, "import", str(bundle), f"copy-{number}")
            assert not log.exists()
            killed(command, machine.environment, moments, chance, begins=log.exists)
            assert_is_sound(machine.store_file)
            if anyio.run(head_in, machine.settings, f"copy-{number}") is None:
                finished(command, machine)
            assert anyio.run(head_in, machine.settings, f"copy-{number}") == head
            assert anyio.run(tree_in, machine.settings, f"copy-{number}") == trees[max(trees)]
            anyio.run(forget, machine.settings, f"copy-{number}")
        moments.assert_some_in_time()
        anyio.run(checked, machine.settings, trees)


def filled(machine: Machine, revisions: int = GROWTH) -> dict[int, Tree]:
    """A store with a workspace of so many revisions."""
    trees: dict[int, Tree] = {}
    anyio.run(made, machine.settings)
    chance = random.Random(0)  # noqa: S311  # nothing secret is made with it
    anyio.run(grown, machine.settings, trees, chance, revisions)
    return trees


def finished(command: Sequence[str], machine: Machine) -> None:
    done = subprocess.run(command, env=machine.environment, capture_output=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr.decode()


def assert_holds(machine: Machine, bundle: Path, trees: Mapping[int, Tree], folder: Path) -> None:
    """The file is a store with the whole history: what a server of its own finds in it."""
    assert_is_sound(bundle)
    folder.mkdir()
    settings = Settings(data_dir=folder)
    shutil.copy(bundle, app.store_file(settings))
    (name,) = anyio.run(names_in, settings)
    assert name == "default"
    assert anyio.run(head_in, settings, name) == anyio.run(head_in, machine.settings, name)
    assert anyio.run(tree_in, settings, name) == trees[max(trees)]


async def names_in(settings: Settings) -> list[str]:
    async with app.open_store(settings) as store:
        return [each.name for each in await store.list_workspaces(app.OWNER)]


async def head_in(settings: Settings, name: str) -> int | None:
    async with app.open_store(settings) as store:
        found = await store.get_workspace(app.OWNER, name)
        return None if found is None else (await store.head(found.id)).number


async def tree_in(settings: Settings, name: str) -> Tree:
    async with app.open_store(settings) as store:
        found = await store.get_workspace(app.OWNER, name)
        assert found is not None
        tree = await store.tree(found.id)
        contents = await store.get_blobs({entry.digest for entry in tree.values()})
        return {name: contents[entry.digest] for name, entry in tree.items()}


async def forget(settings: Settings, name: str) -> None:
    async with app.open_store(settings) as store:
        found = await store.get_workspace(app.OWNER, name)
        assert found is not None
        await store.delete_workspace(found.id)
