"""What every run of the demo has in common: opening, losing the sandbox, and what is checked of an answer."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vaporform_mcp.demo.agent import Agent, Answer
from vaporform_mcp.demo.facts import Facts
from vaporform_mcp.demo.outside import Page, Visitor
from vaporform_mcp.demo.telling import Teller, conclude, expect

__all__ = ["Scene", "exited", "finished", "said_at_the_beginning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The agent, the visitor, and `destroy`, which takes the workspace's sandbox away with everything in it.

    `destroy` is no tool and asks no server: it stands for a crash, a full disk's clean-up or a lost machine.
    """

    agent: Agent
    visitor: Visitor
    tell: Teller
    destroy: Callable[[], Awaitable[None]]
    keeps_previews: bool

    async def open(self, **arguments: object) -> Answer:
        """Open the workspace, and tell which isolation is in force and what it leaves open."""
        answer = await self.agent.open(_opened, **arguments)
        facts = answer.facts
        reason = facts.text("isolation_reason")
        isolation = facts.text("isolation") or "unknown"
        self.tell.fact("isolation", f"{isolation}, since {reason}" if reason else isolation)
        self.tell.fact("network", facts.text("network") or "unknown")
        self.tell.fact("not isolated", "; ".join(facts.texts("gaps")) or "nothing that is known")
        self.tell.fact("inside", _inside(facts))
        return answer

    async def lose_the_sandbox(self, url: str | None) -> None:
        """Destroy it, and see that nobody answers at `url` any more."""
        began = time.perf_counter()
        await self.destroy()
        conclude(self.tell, "destroy", "the sandbox", began=began, check=lambda: "processes and files are gone")
        if url is not None:
            await self.visitor.visits(url, _nobody)

    def expect_same_place(self, before: str | None, now: str | None) -> None:
        """A preview of this computer's is where it was; one for others is its sandbox's. Raises `Differs`."""
        same = now == before if self.keeps_previews else (now is None) == (before is None)
        expect(same, f"the preview is at {now} now, expected {before}")


def exited(code: int) -> Callable[[Answer], str]:
    """A check that a command ended with that exit status."""

    def check(answer: Answer) -> str:
        state, found = answer.facts.text("state"), answer.facts.number("exit_code")
        expect(state == "exited", f"the command is {state}, not exited\n{answer.text}")
        expect(found == code, f"exit status {_shown(found)}, expected {code}\n{answer.text}")
        return f"exit status {code}"

    return check


def finished(answer: Answer) -> str:
    """A check of a completion: everything is in the mirror."""
    facts = answer.facts
    expect(facts.is_true("mirrored"), f"not everything is mirrored\n{answer.text}")
    stack = facts.inner("tech_stack")
    made_with = ", ".join(filter(None, (stack.text("language"), stack.text("framework")))) or "unknown"
    return f"{_shown(facts.number('files_total'))} files mirrored as {facts.text('checkpoint')}; made with {made_with}"


def said_at_the_beginning(answer: Answer) -> str:
    """The notice in brackets that the first answer after a loss begins with, as one line. Raises `Differs`."""
    notice = re.match(r"\[(.+?)\]\n", answer.text, re.DOTALL)
    expect(notice, f"the answer does not begin by saying what did not come back\n{answer.text[:400]}")
    return " ".join(notice[1].split()) if notice else ""


def _opened(answer: Answer) -> str:
    state = answer.facts.text("state")
    expect(state == "ready", f"the workspace is {state}, not ready\n{answer.text}")
    how = "new" if answer.facts.is_true("created") else "found"
    return f"{how}, ready, {_shown(answer.facts.number('files'))} files"


def _nobody(page: Page) -> str:
    expect(page.status != 200, "the preview still answers, though its sandbox was destroyed")
    return "nobody answers, as it should be"


def _inside(facts: Facts) -> str:
    tools = facts.inner("toolchains").named_texts()
    return ", ".join(f"{name} {version}" for name, version in tools.items()) or "no toolchain"


def _shown(number: float | None) -> str:
    return "no" if number is None else f"{number:g}"
