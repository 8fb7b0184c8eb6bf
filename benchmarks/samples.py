"""What was measured: samples in rows, and the order in which subjects take turns."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

__all__ = ["BARE", "OURS", "Row", "Target", "Unit", "median", "p95", "turns"]

T = TypeVar("T")

OURS = "vaporform-mcp"
BARE = "bare server"

Unit = Literal["ms", "MB", "bytes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """At most `limit`: times the row's baseline where `relative`, otherwise in the row's unit."""

    limit: float
    relative: bool


@dataclass(slots=True, kw_only=True)
class Row:
    """One measurement of several subjects. `baseline`: the subject that ours is compared with, None where none is."""

    key: str
    title: str
    unit: Unit
    baseline: str | None = BARE
    target: Target | None = None
    samples: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, subject: str, value: float) -> None:
        self.samples.setdefault(subject, []).append(value)

    @property
    def ratio(self) -> float | None:
        """Our median over the baseline's; None where either was not measured."""
        if self.baseline is None or not self.samples.get(OURS) or not self.samples.get(self.baseline):
            return None
        return median(self.samples[OURS]) / median(self.samples[self.baseline])

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none, or nothing to say so by."""
        if self.target is None:
            return None
        if self.target.relative:
            return None if self.ratio is None else self.ratio <= self.target.limit
        ours = self.samples.get(OURS)
        return median(ours) <= self.target.limit if ours else None


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The smallest of the values that at least 95 % of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]


def turns(subjects: Sequence[T], rounds: int) -> Iterator[T]:
    """Each subject once in every round, so that a drift of the machine meets all; every round begins with another."""
    for number in range(rounds):
        start = number % len(subjects)
        yield from subjects[start:]
        yield from subjects[:start]
