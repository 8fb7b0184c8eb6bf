"""What a tool is given for one call: the workspace, how long it may wait, and whom it may ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import anyio

from vaporform_mcp.tools.output import last_line
from vaporform_mcp.types import Phase, WorkspaceName, parse_name

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.manager import Manager
    from vaporform_mcp.workspace import Workspace

__all__ = ["Activity", "Answer", "Context"]

MESSAGE_CHARS = 200


class Answer(Enum):
    """What came of asking the person at the client."""

    YES = "yes"
    NO = "no"
    NOBODY = "nobody"  # the client cannot ask
    SILENCE = "silence"  # asked, and no answer came, or none that can be understood


Ask = Callable[[str], Awaitable[Answer]]
"""Put a yes-or-no question to the person. A tool that asks may be run again from its start with the answer, so it
changes nothing before."""


@dataclass(slots=True)
class Activity:
    """What a call is doing at the moment, in a line of at most `MESSAGE_CHARS`, for whoever watches."""

    message: str = ""

    def phase(self, phase: Phase, percent: float) -> None:
        self.message = f"{phase.value}: {percent:.0f} %"

    def output(self, data: bytes) -> None:
        if line := last_line(data):
            self.message = line[:MESSAGE_CHARS]


@dataclass(slots=True, kw_only=True)
class Context:
    """One call. `name` is the workspace that it is about; `offered` are the tools that the client knows.

    `manager` opens the server's state at the first call that needs it. `opened` is the workspace once it was needed.
    """

    owner: str
    name: WorkspaceName
    wait_limit_s: float
    offered: Collection[str]
    manager: Callable[[], Awaitable[Manager]]
    ask: Ask
    activity: Activity = field(default_factory=Activity)
    opened: Workspace | None = None
    began_at: float = field(default_factory=anyio.current_time)

    async def workspace(self) -> Workspace:
        """The workspace that this call is about, opened (and made, if it never was).

        Raises:
            SandboxUnavailable: it is not ready within the wait limit; the work goes on and repeating the call joins it.
        """
        manager = await self.manager()
        self.opened = await manager.workspace(
            self.owner, self.name, wait_s=self.remaining_s(), on_phase=self.activity.phase
        )
        return self.opened

    def remaining_s(self) -> float:
        """Seconds of the wait limit that are left."""
        return max(0.0, self.began_at + self.wait_limit_s - anyio.current_time())

    def rename(self, name: str) -> WorkspaceName:
        """Make this call about the workspace of that name. Raises `InvalidArgument`."""
        self.name = parse_name(name)
        return self.name
