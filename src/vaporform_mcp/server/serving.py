"""What a server is given to serve."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaporform_mcp.types import WorkspaceName

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.manager import Manager
    from vaporform_mcp.tools.catalogue import Profile

__all__ = ["Serving"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """`open_manager` is entered at the first call that needs it, and left when the server ends: leaving it runs the
    pending syncs within a bound of its own. `workspace` is that of a call which names none. `wait_limit_s` is how
    long a call may take before it answers while its work goes on. `load` imports what the first call will need; it is
    called in a thread once the tools have been listed, since a client that lists them is likely to call one.
    """

    open_manager: Callable[[], AbstractAsyncContextManager[Manager]]
    load: Callable[[], None]
    owner: str
    workspace: WorkspaceName
    tools: Profile
    wait_limit_s: float
