"""A resource that is opened at its first use, in a task of its own, and closed there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

import anyio

__all__ = ["Lazy"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Attempt(Generic[T]):
    """One opening that any number of callers wait for."""

    def __init__(self) -> None:
        self.settled = anyio.Event()
        self.value: T | None = None
        self.error: Exception | None = None


class Lazy(Generic[T]):
    """Lends the value of a context manager from the first `get` until `finish`.

    `run` has to be running: it enters and leaves the manager in its own task, as task groups inside it demand. An
    opening that failed is told to those who waited for it and tried again by the next `get`.
    """

    def __init__(self, open_resource: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._open = open_resource
        self._wanted = anyio.Event()
        self._finishing = anyio.Event()
        self._attempt: _Attempt[T] | None = None
        self.closed = anyio.Event()

    async def get(self) -> T:
        """Raises what opening raised."""
        if self._finishing.is_set():
            raise RuntimeError("the server is ending")
        attempt = self._attempt
        if attempt is None:
            attempt = self._attempt = _Attempt()
            self._wanted.set()
        await attempt.settled.wait()
        if attempt.value is None:
            raise attempt.error or RuntimeError("the server is ending")
        return attempt.value

    def finish(self) -> None:
        """Let `run` close what is open and return; `closed` is set then."""
        self._finishing.set()
        self._wanted.set()

    async def run(self) -> None:
        try:
            while not self._finishing.is_set():
                await self._wanted.wait()
                self._wanted = anyio.Event()
                if self._attempt is not None:
                    await self._lend(self._attempt)
        finally:
            if self._attempt is not None:
                self._attempt.settled.set()
            self.closed.set()

    async def _lend(self, attempt: _Attempt[T]) -> None:
        try:
            async with self._open() as value:
                attempt.value = value
                attempt.settled.set()
                await self._finishing.wait()
        except Exception as error:
            if attempt.settled.is_set():
                log.exception("the server's state was closed by a failure")
            attempt.error = error
        finally:
            self._attempt = None
            attempt.settled.set()
