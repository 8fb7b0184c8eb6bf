"""Whether the server can be reached: what one call has waited for in vain, no other waits for until it is there."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio
import anyio.lowlevel
from pymongo.errors import ServerSelectionTimeoutError
from pymongo.monitoring import (
    ServerHeartbeatFailedEvent,
    ServerHeartbeatListener,
    ServerHeartbeatStartedEvent,
    ServerHeartbeatSucceededEvent,
)

from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.mongo.failures import too_slow, translated

__all__ = ["LOOK_MS", "Reach"]

LOOK_MS = 5000
"""How often the driver looks at each server by itself, from the first call on: so a server that is back is noticed."""


class Reach(ServerHeartbeatListener):
    """Told by the driver what its looks found. `has_failed`: one of them did, since there was this."""

    def __init__(self) -> None:
        self._lost: StoreUnavailable | None = None
        self.has_failed = False

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        """Nothing is learnt of it."""

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        if event.reply.is_writable:
            self._lost = None

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        self.has_failed = True

    async def check(self) -> None:
        """Raises `StoreUnavailable` at once while it is known that nobody would answer."""
        if (lost := self._lost) is not None:
            await anyio.lowlevel.checkpoint()  # whoever tries again and again must not keep the driver from looking
            raise StoreUnavailable(lost.message, hint=lost.hint)

    def lose(self, error: StoreUnavailable) -> None:
        """Nobody need wait for the server until a look of the driver's has found one that takes writes."""
        self._lost = error

    @contextmanager
    def bounded(self, limit_s: float) -> Generator[None]:
        """Around each command. Raises `StoreUnavailable` for what fails and what takes too long."""
        # Not by the driver's own limit: under that it repeats what fails until the time is over, and tells only that.
        try:
            with translated(), anyio.fail_after(limit_s):
                yield
        except TimeoutError as error:
            raise too_slow() from error
        except StoreUnavailable as error:
            if isinstance(error.__cause__, ServerSelectionTimeoutError):
                self.lose(error)
            raise
