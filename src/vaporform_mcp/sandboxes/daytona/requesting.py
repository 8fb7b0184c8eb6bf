"""One request to the service: bounded in time, repeated where that is safe, and its failure as values of ours."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import anyio
from daytona import DaytonaConnectionError, DaytonaError
from daytona_api_client_async.exceptions import OpenApiException

from vaporform_mcp.errors import VaporformError
from vaporform_mcp.sandboxes.daytona.faults import Failure, is_transient, printable

__all__ = ["CONTROL_S", "Refused", "Requests"]

T = TypeVar("T")

CONTROL_S = 30.0
"""How long one request about a sandbox, not to it, may take."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
LIMITED_S = 60.0
"""How long we wait in all because the service said that we ask too often."""

AT_ONCE = 32

_STATUS = re.compile(r"\b([45]\d\d), message=")
"""How the HTTP library words a status, in a text that the SDK passes on without it."""


class Refused(Exception):
    """A request that failed for good, or as often as it was tried."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.said)
        self.failure = failure


class Requests:
    """After `close` every request is refused. `key` is taken out of whatever is told."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._closed = False
        self._room = anyio.CapacityLimiter(AT_ONCE)

    def close(self) -> bool:
        """False where it was already."""
        was_open, self._closed = not self._closed, True
        return was_open

    async def ask(self, request: Callable[[], Awaitable[T]], *, within_s: float = CONTROL_S, repeat: bool = True) -> T:
        """One request, tried again where the service asks for time and, with `repeat`, where it did not answer."""
        pause_s = FIRST_PAUSE_S
        waited_s = 0.0
        tries = 4
        while True:
            failure = await self._try(request, within_s)
            if not isinstance(failure, Failure):
                return failure
            tries -= 1
            delay_s = failure.retry_after_s or pause_s
            if failure.is_limited and waited_s + delay_s <= LIMITED_S:
                waited_s += delay_s  # it was refused before anything was done
            elif repeat and tries > 0 and is_transient(failure):
                delay_s = pause_s
            else:
                raise Refused(failure)
            # Never before the time that the service asks for, and not all at once.
            await anyio.sleep(delay_s * random.uniform(1.0, 1.3))  # noqa: S311
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _try(self, request: Callable[[], Awaitable[T]], within_s: float) -> T | Failure:
        if self._closed:
            return Failure(said="this server is ending", status=None)
        try:
            async with self._room:
                with anyio.fail_after(within_s):
                    return await request()
        except TimeoutError:
            return Failure(status=504, said=f"no answer within {within_s:.0f} s")
        except (DaytonaError, OpenApiException, aiohttp.ClientError, OSError, ValueError) as error:
            if (ours := _cause_of_ours(error)) is not None:
                raise ours from None
            return _failure(error, self._key)


def _cause_of_ours(error: BaseException) -> VaporformError | None:
    """The error of ours that the SDK wrapped into one of its own."""
    found: BaseException | None = error
    for _ in range(10):
        if found is None or isinstance(found, VaporformError):
            return found
        found = found.__cause__ or found.__context__
    return None


def _failure(error: Exception, key: str) -> Failure:
    status: object = getattr(error, "status_code", None) or getattr(error, "status", None)
    if not isinstance(status, int):
        # Downloads tell it in their text alone.
        told = _STATUS.search(str(error)[:160])
        status = int(told[1]) if told else None
    dropped = isinstance(error, (DaytonaConnectionError, aiohttp.ClientError, OSError)) and status is None
    return Failure(
        status=status,
        said=printable(_said(error), key),
        retry_after_s=_retry_after(getattr(error, "headers", None)),
        dropped=dropped,
    )


def _said(error: Exception) -> str:
    body: object = getattr(error, "body", None)
    if isinstance(body, str):
        try:
            fields: object = json.loads(body)
        except ValueError:
            return body
        if isinstance(fields, dict):
            said: object = fields.get("message") or fields.get("error")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if said:
                return str(said)  # pyright: ignore[reportUnknownArgumentType]
        return body
    # "Failed to get sandbox: " alone says nothing.
    said = str(error)
    return "" if said.endswith(": ") else said


def _retry_after(headers: object) -> float | None:
    """Of `Retry-After` and of `Retry-After-{throttler}`, in whatever case, the longest."""
    found: list[float] = []
    if isinstance(headers, Mapping):
        pairs: Mapping[Any, Any] = headers  # pyright: ignore[reportUnknownVariableType]
        for name, value in pairs.items():
            if str(name).lower().startswith("retry-after"):
                try:
                    seconds = float(value)
                except ValueError:
                    continue
                if math.isfinite(seconds):
                    found.append(max(0.0, seconds))
    return max(found, default=None)
