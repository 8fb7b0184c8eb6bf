"""What the demo tells of its progress, and how it says that something is not as it should be."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Differs", "Step", "Teller", "conclude", "expect"]


class Differs(Exception):
    """Something is not as it should be. The message says what was expected and what was found instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was done: `action` and what it is `about`, what came of it in a line, and its time in seconds."""

    action: str
    about: str
    outcome: str
    seconds: float
    is_right: bool


class Teller(Protocol):
    """Where the demo's progress is shown."""

    def fact(self, name: str, value: str) -> None:
        """Something about this run, such as the isolation in force."""
        ...

    def chapter(self, title: str) -> None:
        """The steps that follow belong together."""
        ...

    def step(self, step: Step) -> None: ...

    def note(self, text: str) -> None:
        """Something that a reader should know and that is no failure."""
        ...


def expect(condition: object, otherwise: str) -> None:
    """Raises `Differs`."""
    if not condition:
        raise Differs(otherwise)


def conclude(tell: Teller, action: str, about: str, *, began: float, check: Callable[[], str]) -> None:
    """Tell of a step that began at `began` (of `time.perf_counter`) and has been done: `check` says what came of it.

    Raises:
        Differs: `check` did; it is told as the outcome.
    """
    outcome, is_right = "", False
    try:
        outcome, is_right = check(), True
    except Differs as error:
        outcome = str(error)
        raise
    finally:
        seconds = time.perf_counter() - began
        tell.step(Step(action=action, about=about, outcome=outcome, seconds=seconds, is_right=is_right))
