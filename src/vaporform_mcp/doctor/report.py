"""What an examination finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Check", "Report", "State"]


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, and something about it should be known
    FAILED = "failed"  # the server is of no use until it is mended
    SKIPPED = "skipped"  # it could not be examined, because of what failed before


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was examined: what was found in a line, further facts, and the exact steps that mend it."""

    name: str
    state: State
    finding: str
    details: Sequence[str] = ()
    mend: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    checks: Sequence[Check]

    @property
    def is_usable(self) -> bool:
        """Whether an agent can work here."""
        return all(check.state is not State.FAILED for check in self.checks)
