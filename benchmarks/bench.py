"""One run of the benchmark: who takes part, how much is done, what had to be left out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.client import ServerFailed
from benchmarks.subjects import Subject

__all__ = ["Bench", "Effort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How many samples of each kind are taken from each subject."""

    starts: int = 15
    calls: int = 200
    outputs: int = 40
    openings: int = 15
    weighings: int = 5
    projects: int = 20


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run: who takes part, how much is done, and why something was left out."""

    subjects: Sequence[Subject]
    effort: Effort
    notes: list[str] = field(default_factory=list[str])

    @contextmanager
    def leaving_out(self, subject: Subject, what: str) -> Generator[None]:
        """A subject that fails is missing from that measurement, and the run goes on."""
        try:
            yield
        except ServerFailed as error:
            self.notes.append(f"{subject.name} is missing from “{what}”: {error}")
