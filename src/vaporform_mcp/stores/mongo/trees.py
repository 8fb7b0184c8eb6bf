"""The trees at the heads that this process has seen: what an append is counted against."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bson import ObjectId

from vaporform_mcp.stores.mongo import folds, history
from vaporform_mcp.stores.mongo.database import Tables
from vaporform_mcp.stores.mongo.entries import Step, Torn
from vaporform_mcp.stores.mongo.tables import Doc
from vaporform_mcp.stores.mongo.workspaces import state_of
from vaporform_mcp.types import Entry, Head, TreeCount, WorkspacePath

__all__ = ["Known", "Trees"]

_TRIES = 5  # each is lost only to a prune that comes while it reads
MOST_ENTRIES = 400_000
"""How many entries are remembered together; the tree in use is, whatever its size."""


@dataclass(slots=True, kw_only=True)
class Known:
    """A committed revision and its tree. Revisions never change, so it may be old but is never wrong.

    `document` is the revision's own id, None before the first; `steps` is what came since the last fold.
    """

    key: ObjectId
    document: ObjectId | None = None
    number: int = 0
    epoch: int = 0
    files: int = 0
    size_bytes: int = 0
    tree: dict[WorkspacePath, Entry] = field(default_factory=dict[WorkspacePath, Entry])
    steps: int = 0

    @property
    def head(self) -> Head:
        return Head(number=self.number, epoch=self.epoch)

    @property
    def count(self) -> TreeCount:
        return TreeCount(files=self.files, size_bytes=self.size_bytes)

    def follow(self, document: Doc, steps: Sequence[Step]) -> None:
        """Go on to the next revision that is kept."""
        history.apply(self.tree, steps)
        self.document = document["_id"]
        self.number, self.epoch = document["number"], document["epoch"]
        self.files, self.size_bytes = document["files"], document["size_bytes"]
        self.steps += 1 + len(steps)


class Trees:
    """By workspace, the latest used last. Nothing is awaited between a look at one and what is done about it."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()

    def remembered(self, workspace_id: str) -> Known | None:
        return self._known.get(workspace_id)

    def forget(self, workspace_id: str) -> None:
        self._known.pop(workspace_id, None)

    async def current(self, tables: Tables, workspace_id: str) -> Known:
        """The head, as it is now or later. Raises `NotFound`."""
        state = await state_of(tables.workspaces, workspace_id)
        for _ in range(_TRIES):
            known = self._known.get(workspace_id)
            # Of what was removed since by a revision that was pruned, those that follow need not tell.
            if known is None or known.key != state["key"] or known.number < state["pruned_to"]:
                known = await self._load(tables, workspace_id, state)
                self._remember(workspace_id, known)
            after = known.number
            documents = await history.since(tables, state, after)
            try:
                steps = await history.steps_of(tables, documents)
            except Torn:
                steps = None
            if documents:
                state = await state_of(tables.workspaces, workspace_id)
            if steps is None or known.key != state["key"] or after < state["pruned_to"]:
                continue
            for document in documents:
                if document["number"] > known.number:  # another task may have been here meanwhile
                    known.follow(document, steps[document["number"]])
            await self.fold(tables, workspace_id, known)
            return known
        raise Torn

    async def fold(self, tables: Tables, workspace_id: str, known: Known) -> None:
        """Keep the tree where that is due."""
        if not folds.is_due(known.steps, len(known.tree)):
            return
        known.steps = 0
        await folds.keep(tables, workspace_id, known.key, known.number, dict(known.tree))

    async def _load(self, tables: Tables, workspace_id: str, state: Doc) -> Known:
        head = await history.newest(tables, state)
        if head is None:
            return Known(key=state["key"])
        tree, steps = await history.tree(tables, workspace_id, head["number"])
        return Known(
            key=state["key"],
            document=head["_id"],
            number=head["number"],
            epoch=head["epoch"],
            files=head["files"],
            size_bytes=head["size_bytes"],
            tree=tree,
            steps=steps,
        )

    def _remember(self, workspace_id: str, known: Known) -> None:
        self._known[workspace_id] = known
        self._known.move_to_end(workspace_id)
        held = sum(len(each.tree) for each in self._known.values())
        while held > MOST_ENTRIES and len(self._known) > 1:
            _, dropped = self._known.popitem(last=False)
            held -= len(dropped.tree)
