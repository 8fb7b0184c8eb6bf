"""Every store: whatever is written, relabelled, removed and pruned, each kept revision reads back as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.contract.stores import KINDS, LONG, Clock, digest_of, entry_of, file, make_workspace, open_store, path, write
from vaporform_mcp.errors import NotFound
from vaporform_mcp.types import Entry, TreeCount

T = TypeVar("T")

NAMES = ["a", "a/b", "a/c", "a0", "ä"]
CONTENTS = [b"", b"1", b"22", b"333"]
GRACE_S = 10.0

some_changes = st.dictionaries(st.sampled_from(NAMES), st.none() | st.sampled_from(CONTENTS), max_size=4)


class History(RuleBasedStateMachine):
    """`trees` and `labels` tell what every kept revision is to be; `head` is the newest one's number."""

    kind = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            self.portal = stack.enter_context(start_blocking_portal())
            self.clock = Clock()
            opened = open_store(self.kind, Path(folder), self.clock)
            self.store = stack.enter_context(self.portal.wrap_async_context_manager(opened))
            self.workspace = self.call(lambda: make_workspace(self.store))
            self.stack = stack.pop_all()
        self.trees: dict[int, dict[str, Entry]] = {}
        self.labels: dict[int, str | None] = {}
        self.head = 0

    def call(self, ask: Callable[[], Awaitable[T]]) -> T:
        return self.portal.call(ask)

    @rule(changes=some_changes, label=st.none() | st.sampled_from(["x", "y"]))
    def append(self, changes: dict[str, bytes | None], label: str | None) -> None:
        before = self.trees.get(self.head, {})
        made = self.call(lambda: write(self.store, self.workspace, changes, label=label))
        now = {**before, **{name: file(content) for name, content in changes.items() if content is not None}}
        for name, content in changes.items():
            if content is None:
                now.pop(name, None)
        self.head += 1
        assert made.number == self.head
        assert made.added == len(now.keys() - before.keys())
        assert made.removed == len(before.keys() - now.keys())
        assert made.changed == sum(1 for name in now.keys() & before.keys() if now[name] != before[name])
        self.trees[self.head], self.labels[self.head] = now, label

    @precondition(lambda self: self.head > 0)
    @rule(data=st.data())
    def prune(self, data: st.DataObject) -> None:
        keep_after = data.draw(st.integers(0, self.head))
        self.clock.now += GRACE_S + 1
        told, done = (
            self.call(
                lambda dry_run=dry_run: self.store.prune(
                    self.workspace, keep_after=keep_after, grace_s=GRACE_S, dry_run=dry_run
                )
            )
            for dry_run in (True, False)
        )
        assert told == done
        gone = [n for n in self.trees if n <= keep_after and n < self.head and self.labels[n] is None]
        assert told.revisions == len(gone)
        for number in gone:
            del self.trees[number]
        named = {entry.digest for tree in self.trees.values() for entry in tree.values()}
        missing = self.call(lambda: self.store.missing([digest_of(content) for content in CONTENTS]))
        assert missing.isdisjoint(named)

    @precondition(lambda self: len(self.trees) > 1)
    @rule(data=st.data())
    def compare_two(self, data: st.DataObject) -> None:
        after, upto = sorted(data.draw(st.tuples(*[st.sampled_from(sorted(self.trees))] * 2)))
        told = self.call(lambda: self.store.changes(self.workspace, after=after, upto=upto))
        replayed = dict(self.trees[after])
        for change in told:
            if change.entry is None:
                replayed.pop(change.path, None)
            else:
                replayed[change.path] = change.entry
        assert replayed == self.trees[upto]

    @invariant()
    def every_kept_revision_reads_back(self) -> None:
        log = self.call(lambda: self.store.log(self.workspace, limit=1000))
        assert [revision.number for revision in log] == sorted(self.trees, reverse=True)
        for number, tree in self.trees.items():
            assert self.call(lambda number=number: self.store.tree(self.workspace, number)) == tree

    @invariant()
    def the_head_is_told_rightly(self) -> None:
        now = self.trees.get(self.head, {})
        count = TreeCount(files=len(now), size_bytes=sum(entry.size for entry in now.values()))
        assert self.call(lambda: self.store.tree(self.workspace)) == now
        assert self.call(lambda: self.store.count(self.workspace)) == count
        for name in NAMES:
            assert self.call(lambda name=name: entry_of(self.store, self.workspace, path(name))) == now.get(name)
            last = self.call(lambda name=name: self.store.last_entry(self.workspace, path(name)))
            if name in now:
                assert last is not None
                assert last[1] == now[name]

    @invariant()
    def a_revision_that_is_not_kept_is_not_found(self) -> None:
        for number in set(range(1, self.head + 2)) - self.trees.keys():
            with pytest.raises(NotFound):
                self.call(lambda number=number: self.store.tree(self.workspace, number))

    def teardown(self) -> None:
        report = self.call(self.store.verify)
        assert not report.missing
        assert not report.corrupt
        self.stack.close()


@pytest.mark.timeout(3600 if LONG else 600)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kept_revision_reads_back_as_it_was(kind: str) -> None:
    machine = type("Kept", (History,), {"kind": kind})
    few = 2 if kind == "mongo" else 15  # each step is some thirty commands
    profile = settings(stateful_step_count=40 if LONG else 12, max_examples=200 if LONG else few)
    run_state_machine_as_test(machine, settings=profile)
