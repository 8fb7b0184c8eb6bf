"""What every question to a supervisor has in common, however it reaches it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vaporform_mcp.errors import SandboxLost
from vaporform_mcp.sandboxes.supervised.fields import Fields, JsonValue

__all__ = ["ANSWER_S", "WORKSPACE", "Asking", "LostMeanwhile", "OnEvent", "Reply"]

WORKSPACE = "/workspace"
"""Where commands find the workspace, and how every sandbox lets it be named."""

ANSWER_S = 30.0
"""How long an answer may take, beyond what was asked to be waited for."""

OnEvent = Callable[[Fields, bytes], None]


@dataclass(frozen=True, slots=True)
class Reply:
    fields: Fields
    data: bytes


class LostMeanwhile(SandboxLost):
    """The sandbox ended after it was asked: whether it did what was asked nobody can tell."""

    def __init__(self) -> None:
        super().__init__(
            "the sandbox has ended, and with it what it ran",
            hint="Repeat the call: the sandbox is started again, with its files.",
        )


class Asking(ABC):
    """A handle of one sandbox, by which its supervisor is asked."""

    workspace_id: str
    epoch: int

    @property
    @abstractmethod
    def start(self) -> int:
        """How many supervisors this sandbox has had, this one included: each counts its processes anew."""

    @property
    @abstractmethod
    def shown_at(self) -> str:
        """The workspace's folder, as commands name it."""

    @abstractmethod
    def check(self) -> None:
        """Raises `SandboxLost` where it is known not to be what the handle was made for any more."""

    @abstractmethod
    async def ask(
        self,
        op: str,
        fields: Mapping[str, JsonValue] | None = None,
        data: bytes = b"",
        *,
        within_s: float | None = ANSWER_S,
        on_event: OnEvent | None = None,
        cancels: bool = False,
    ) -> Reply:
        """Ask, and give the reply; `on_event` gets each event before it.

        `within_s` bounds the wait; None is bounded by the supervisor's being alive. With `cancels`, giving up ends
        what was asked for.

        Raises:
            LostMeanwhile: the sandbox ended since it was asked.
            SandboxLost: it ended before.
            SandboxUnavailable: no reply in time, or one that is none.
            VaporformError: what the supervisor reports.
        """

    async def ask_both(self, first: str, then: str) -> tuple[Reply, Reply]:
        """What two questions without fields are answered with, in one round trip where each costs one."""
        return await self.ask(first), await self.ask(then)

    @abstractmethod
    async def flush(self) -> None:
        """Have what was written in the workspace on its disk, as far as that can be had in good time."""
