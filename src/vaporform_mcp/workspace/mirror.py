"""The writer's side of a workspace's mirror: blobs first, then one revision, whatever others commit meanwhile."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager

import anyio

from vaporform_mcp.errors import Conflict, NotFound, SandboxLost, StoreUnavailable
from vaporform_mcp.stores.base import Blob, Store
from vaporform_mcp.types import Change, Digest, Entry, Head, Revision, WorkspacePath

__all__ = ["Mirror", "Rebase"]

log = logging.getLogger(__name__)

COMMIT_LIMIT_S = 10.0
CHANGES_PER_S = 5_000
"""A first revision has a whole project in it, which may have to go over a slow line."""

APPEND_TRIES = 50
TREE_TRIES = 5  # each is lost only to a commit and a prune that come between two reads
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0

Rebase = Callable[[Sequence[Change], frozenset[WorkspacePath]], Awaitable[Sequence[Change]]]
"""Given the changes about to be committed and the paths among them that others committed meanwhile, read those again
from the sandbox and answer with the changes to commit instead: never old bytes over newer ones."""


class Mirror:
    """One workspace's mirror, as this server writes it in one epoch.

    A store that failed is left alone for a while (1 s, doubling to 30 s, with jitter): callers are told at once, so
    that an agent's work never waits for a store that is down.
    """

    def __init__(self, store: Store, workspace_id: str, head: Head) -> None:
        self._store = store
        self._workspace_id = workspace_id
        self.head = head
        self._tree: dict[WorkspacePath, Entry] | None = None
        self._tree_at = 0
        # Holds: at most one append of ours is under way, so that a server never conflicts with itself.
        self._appending = anyio.Lock()
        self.error: str | None = None
        self._mend = ""
        self._pause_s = FIRST_PAUSE_S
        self._retry_at = 0.0

    @property
    def epoch(self) -> int:
        return self.head.epoch

    @contextmanager
    def attempt(self, *, probe: bool = False) -> Generator[None]:
        """Around every use of the store that may be put off. Raises `StoreUnavailable` at once while it is left alone;
        a failure inside makes it be left alone for longer, a success ends that. Once it failed only a `probe` tries it
        again, so that no write waits for it a second time."""
        if self.error is not None and (not probe or time.monotonic() < self._retry_at):
            raise StoreUnavailable(self.error, hint=f"{self._mend} The mirror follows by itself.".strip())
        try:
            yield
        except StoreUnavailable as error:
            if self.error is None:
                log.warning("the mirror of %s is behind, while work goes on: %s", self._workspace_id, error)
            self.error, self._mend = error.message, error.hint
            self._retry_at = time.monotonic() + self._pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
            raise
        if self.error is not None:
            log.warning("the mirror of %s can be written again", self._workspace_id)
        self.error, self._pause_s, self._retry_at = None, FIRST_PAUSE_S, 0.0

    @property
    def retry_in_s(self) -> float:
        """Seconds until the store may be tried again; 0 when it may be now."""
        return max(0.0, self._retry_at - time.monotonic()) if self.error is not None else 0.0

    async def tree(self) -> Mapping[WorkspacePath, Entry]:
        """Every path at `head`, which is brought up to date first. Read it before the next await, or copy it."""
        for _ in range(TREE_TRIES):
            await self.refresh()
            try:
                return await self._tree_at_head()
            except NotFound:
                self._tree = None  # a revision that it follows from was pruned: only a whole tree tells now
        raise StoreUnavailable("the store is being pruned again and again", hint="Repeat the call when that has ended.")

    async def _tree_at_head(self) -> Mapping[WorkspacePath, Entry]:
        at = self.head.number
        if self._tree is None:
            self._tree = dict(await self._store.tree(self._workspace_id, at))
            self._tree_at = at
        elif self._tree_at < at:
            self._fold(await self._store.changes(self._workspace_id, after=self._tree_at, upto=at), at)
        return self._tree

    async def changed_since(self, number: int) -> Collection[WorkspacePath] | None:
        """Paths that revisions after `number` touched; None where that can no longer be told."""
        if number == self.head.number:
            return frozenset()
        if number > self.head.number:
            return None  # it was synced into another store, of which this one is a copy from before
        try:
            changes = await self._store.changes(self._workspace_id, after=number, upto=self.head.number)
        except NotFound:
            return None
        return frozenset(change.path for change in changes)

    async def refresh(self) -> None:
        """Learn of what others committed. Raises `SandboxLost` when a later epoch has taken over."""
        head = await self._store.head(self._workspace_id)
        if head.epoch > self.epoch:
            raise SandboxLost(
                "another server has replaced this workspace's sandbox", hint="Repeat the call; it uses the new one."
            )
        # Ours stays: before the first revision of an epoch the store still tells the one before it.
        self.head = Head(number=head.number, epoch=self.epoch)

    async def put(self, blobs: Sequence[Blob]) -> None:
        await self._store.put_blobs(blobs)

    async def put_large(self, digest: Digest, size: int, chunks: AsyncIterator[bytes], mime_type: str) -> None:
        await self._store.put_large_blob(digest, size, chunks, mime_type)

    async def missing(self, digests: frozenset[Digest]) -> frozenset[Digest]:
        return await self._store.missing(digests)

    async def commit(
        self,
        changes: Sequence[Change],
        *,
        read_at: int,
        rebase: Rebase,
        made_by: str,
        label: str | None = None,
    ) -> Revision:
        """Append `changes`, which were read from the sandbox when the head was `read_at` or later.

        Shielded from cancellation and bounded: a commit that nobody waits for would leave us not knowing our own
        revision. Raises `StoreUnavailable` or `SandboxLost`.
        """
        try:
            with anyio.fail_after(COMMIT_LIMIT_S + len(changes) / CHANGES_PER_S, shield=True):
                async with self._appending:
                    return await self._append(changes, read_at, rebase, made_by, label)
        except TimeoutError as error:
            raise StoreUnavailable(
                "the store did not confirm the revision in time", hint="The next sync checks and repeats it."
            ) from error

    async def _append(
        self, changes: Sequence[Change], read_at: int, rebase: Rebase, made_by: str, label: str | None
    ) -> Revision:
        revision_id = uuid.uuid4().hex
        for attempt in range(APPEND_TRIES):
            if self.head.number > read_at:
                others = await self.changed_since(read_at)
                # Where it can no longer be told who wrote what, each of them may be older than what is there.
                touched = frozenset(change.path for change in changes if others is None or change.path in others)
                if touched:
                    changes = await rebase(changes, touched)
                read_at = self.head.number
            try:
                revision = await self._store.append(
                    self._workspace_id,
                    parent=self.head.number,
                    revision_id=revision_id,
                    epoch=self.epoch,
                    changes=changes,
                    made_by=made_by,
                    label=label,
                )
            except Conflict:
                await self.refresh()
                # Spread racing servers out; the loser of one round is the likely winner of the next.
                await anyio.sleep(random.uniform(0, 0.002 * min(attempt + 1, 10)))  # noqa: S311 - jitter
                continue
            self._committed(revision, changes)
            return revision
        raise StoreUnavailable(
            "other servers kept committing to this workspace", hint="The next sync catches up by itself."
        )

    def _committed(self, revision: Revision, changes: Sequence[Change]) -> None:
        if self._tree is not None and self._tree_at == revision.number - 1:
            self._fold(changes, revision.number)
        self.head = Head(number=revision.number, epoch=revision.epoch)

    def _fold(self, changes: Sequence[Change], at: int) -> None:
        assert self._tree is not None  # noqa: S101 - the callers have just looked
        for change in changes:
            if change.entry is None:
                self._tree.pop(change.path, None)
            else:
                self._tree[change.path] = change.entry
        self._tree_at = at
