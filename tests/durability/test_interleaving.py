"""Two servers write one workspace at the same time: one history, with every revision that either was told of."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.durability.kills import LONG, assert_is_sound
from tests.durability.machine import Machine, a_machine, digest, digests_inside
from tests.e2e.stdio_client import StdioServer
from tests.fault.writers import Writer, Written, contents
from vaporform_mcp import app
from vaporform_mcp.settings import Settings
from vaporform_mcp.types import Revision

WRITES = 1_000 if LONG else 100
SHARED = 6

Tree = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All revisions, oldest first, and by number the tree of each, with what it says of paths: digests."""

    revisions: list[Revision]
    trees: Mapping[int, Tree]


@pytest.mark.timeout(1800 if LONG else 120)
def test_interleaved_writes_of_two_servers_make_one_history_that_has_them_all(tmp_path: Path) -> None:
    """Half of the writes of each are to files of its own, half to some that both write."""
    chance = random.Random(1)  # noqa: S311  # nothing secret is made with it
    with a_machine(tmp_path) as machine, machine.server() as one, machine.server() as two:
        servers = {"one": one, "two": two}
        for server in servers.values():
            assert server.call("open_workspace", name="default").facts["state"] == "ready"
        everything = interleaved(servers, chance)
        history = anyio.run(read, machine.settings)
        assert_one_chain(history)
        assert_kept(everything, history)
        for server in servers.values():
            assert server.call("attempt_completion", result="done").facts["mirrored"]
        assert_last(machine, everything)
        for server in servers.values():
            server.process.kill()
            server.wait()
        assert_is_sound(machine.store_file)


def interleaved(servers: Mapping[str, StdioServer], chance: random.Random) -> list[Written]:
    """Both have a few writes under way at any time, and neither gets far ahead of the other."""
    plans = {who: plan(who, chance) for who in servers}
    written: list[Written] = []
    while any(plans.values()):
        count = chance.choice((1, 1, 2, 5))
        writers = {who: Writer(server) for who, server in servers.items()}
        for who, writer in writers.items():
            writer.start(plans[who][:count])
            del plans[who][:count]
        for writer in writers.values():
            written += writer.finish()
    assert len(written) == WRITES
    return written


def plan(who: str, chance: random.Random) -> list[tuple[str, str]]:
    names = [f"{who}/{number % (WRITES // 10)}.txt" for number in range(WRITES // 4)]
    names += [f"shared/{chance.randrange(SHARED)}.txt" for _ in range(WRITES // 4)]
    chance.shuffle(names)
    return [(name, contents(chance, who, number)) for number, name in enumerate(names)]


async def read(settings: Settings) -> History:
    """Each tree as the store folds it for that revision, and as its revisions one after the other make it: the same."""
    async with app.open_store(settings) as store:
        record = await store.get_workspace(app.OWNER, settings.workspace)
        assert record is not None
        revisions = list(reversed(await store.log(record.id, limit=100_000)))
        trees: dict[int, Tree] = {0: {}}
        for revision in revisions:
            grown = dict(trees[revision.number - 1])
            for change in await store.changes(record.id, after=revision.number - 1, upto=revision.number):
                if change.entry is None:
                    del grown[change.path]
                else:
                    grown[change.path] = change.entry.digest
            trees[revision.number] = grown
            tree = await store.tree(record.id, revision.number)
            assert {path: entry.digest for path, entry in tree.items()} == grown
        report = await store.verify()
        assert not report.missing
        assert not report.corrupt
        return History(revisions=revisions, trees=trees)


def assert_one_chain(history: History) -> None:
    numbers = [each.number for each in history.revisions]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({each.id for each in history.revisions}) == len(numbers)
    assert {each.epoch for each in history.revisions} == {1}


def assert_kept(written: list[Written], history: History) -> None:
    """Each write is a revision of its own, in whose tree its content is; in one of both, it may be the later one's."""
    told = [each.revision for each in written]
    assert None not in told
    assert len(set(told)) == len(told)
    sent: dict[str, set[str]] = {}
    for each in written:
        sent.setdefault(each.path, set()).add(digest(each.content))
    for each in written:
        assert each.revision is not None
        there = history.trees[each.revision][each.path]
        possible = sent[each.path] if each.path.startswith("shared/") else {digest(each.content)}
        assert there in possible, (each.path, each.revision)


def assert_last(machine: Machine, written: list[Written]) -> None:
    """Sandbox and store agree, and of its own files they have what each server wrote last."""
    inside = digests_inside(machine)
    assert {path: digest(content) for path, content in machine.stored().items()} == inside
    last: dict[str, Written] = {}
    for each in written:
        if not each.path.startswith("shared/") and (each.revision or 0) > (
            last[each.path].revision or 0 if each.path in last else 0
        ):
            last[each.path] = each
    assert {path: inside[path] for path in last} == {path: digest(each.content) for path, each in last.items()}
    assert inside.keys() == {each.path for each in written}
