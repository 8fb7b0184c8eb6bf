"""Saved states of sandboxes, of which new ones are made: what a provider that has them can be asked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vaporform_mcp.errors import InvalidArgument, NotSupported

__all__ = ["NoSnapshots", "Snapshot", "SnapshotState", "Snapshots", "check_snapshot_name", "nearest"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_MOST_NAMED = 3


class SnapshotState(StrEnum):
    SAVING = "saving"
    ACTIVE = "active"
    INACTIVE = "inactive"  # not used for weeks; opening a workspace from it activates it, which takes a while
    FAILED = "failed"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`workspace_id` is of the workspace of this store that it was saved from; None where that is another's, or not
    known any more. `is_general`: the provider's own, for all its users. `created_at` is seconds since the Unix epoch,
    None where there is nothing to see of it yet. `reason` is why it failed.
    """

    name: str
    state: SnapshotState
    size_gb: float | None = None
    created_at: float | None = None
    reason: str = ""
    is_general: bool = False
    workspace_id: str | None = None


class Snapshots(Protocol):
    """Each method raises `NotSupported` where the provider has none."""

    def check_name(self, name: str) -> None:
        """Raises `InvalidArgument` for what no new snapshot can be called."""
        ...

    async def save(self, workspace_id: str, epoch: int, name: str, *, wait_s: float) -> Snapshot:
        """Save the sandbox's disk under the name; answers SAVING after `wait_s`, and being asked again joins it.

        What runs in the sandbox goes on, and is not part of it.

        Raises:
            InvalidArgument: the name cannot be used.
            Conflict: it is taken.
            SandboxLost: the sandbox is gone.
            SandboxUnavailable: it could not be saved, for the provider's reason; nothing of it is left.
            LimitReached: no more snapshots may be had.
        """
        ...

    async def list(self) -> Sequence[Snapshot]:
        """All that sandboxes can be made of, newest first."""
        ...

    async def find(self, name: str) -> Snapshot:
        """Raises `NotFound`, which names the nearest."""
        ...

    async def delete(self, name: str, *, wait_s: float) -> bool:
        """Delete the one of exactly that name. False where it is not gone yet after `wait_s`.

        Raises:
            NotFound: there is none; the nearest are named.
            NotSupported: it is the provider's own.
        """
        ...


class NoSnapshots:
    """Of a provider that has none."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def check_name(self, name: str) -> None:
        raise self._refusal()

    async def save(self, workspace_id: str, epoch: int, name: str, *, wait_s: float) -> Snapshot:
        raise self._refusal()

    async def list(self) -> Sequence[Snapshot]:
        raise self._refusal()

    async def find(self, name: str) -> Snapshot:
        raise self._refusal()

    async def delete(self, name: str, *, wait_s: float) -> bool:
        raise self._refusal()

    def _refusal(self) -> NotSupported:
        return NotSupported(
            f"there are no snapshots of {self._provider} sandboxes: what is in one is saved by its mirror alone",
            hint="Name the state of the files with the tool checkpoint, and go back to it with restore. Snapshots of "
            "whole machines are to be had with VAPORFORM_SANDBOX=daytona.",
        )


def check_snapshot_name(raw: str) -> None:
    """Raises `InvalidArgument` for what no new snapshot can be called."""
    if not _NAME.fullmatch(raw):
        raise InvalidArgument(
            f"{raw[:80]!r} is not a name for a snapshot",
            hint="Use 1 to 64 letters, digits, dots, hyphens and underscores, such as shop-base, the first and last of "
            "them a letter or digit.",
        )


def nearest(name: str, names: Iterable[str]) -> str:
    """Which were probably meant, as the end of a hint; empty where none is near."""
    folded = {each.lower(): each for each in names}
    near = [folded[each] for each in difflib.get_close_matches(name.lower(), folded, n=_MOST_NAMED, cutoff=0.5)]
    return f"Did you mean {' or '.join(near)}?" if near else ""
