"""One run of the benchmark: who takes part, how much is done, what had to be left out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.client import ServerFailed
from benchmarks.subjects import Subject

__all__ = ["Bench", "Effort"]

NOTE_CHARS = 300
MAX_FAILURES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How many samples of each kind are taken from each subject."""

    starts: int = 15
    calls: int = 200
    outputs: int = 40
    openings: int = 15
    weighings: int = 5
    projects: int = 36


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run: who takes part, how much is done, and what failed in it."""

    subjects: Sequence[Subject]
    effort: Effort
    _failures: dict[tuple[str, str], list[str]] = field(default_factory=dict[tuple[str, str], list[str]])

    @contextmanager
    def leaving_out(self, subject: Subject, what: str) -> Generator[None]:
        """A subject that fails is missing from that measurement or sample, and the run goes on."""
        try:
            yield
        except ServerFailed as error:
            self._failures.setdefault((subject.name, what), []).append(" ".join(str(error).split()))

    def gave_up(self, subject: Subject, what: str) -> bool:
        """Whether it has failed too often there to be waited for again."""
        return len(self._failures.get((subject.name, what), ())) >= MAX_FAILURES

    @property
    def notes(self) -> Sequence[str]:
        """What failed, a sentence for each measurement of a subject."""
        return [
            f"{name}, {what}: {len(said)} failed, the first so: {said[0][:NOTE_CHARS]}"
            for (name, what), said in self._failures.items()
        ]
