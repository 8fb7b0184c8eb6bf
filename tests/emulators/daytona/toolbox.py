"""The way from the service's address to a sandbox's own machine, and what stands there while it does not run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import anyio
from aiohttp import web

from tests.emulators.daytona.lifecycle import Lifecycle
from tests.emulators.daytona.machine.wire import JSON, Refusal, read_result
from tests.emulators.daytona.machines import Connection, Machine
from tests.emulators.daytona.records import Sandbox
from tests.emulators.daytona.version import Daemon

__all__ = ["NO_ADDRESS", "Toolbox", "result_of"]

NO_ADDRESS = "failed to resolve container IP after 3 attempts: no IP address found. Is the Sandbox started?"


class Toolbox:
    """Finds the machine that a request below /toolbox/{sandbox} is for. Each such request counts as activity."""

    def __init__(self, lifecycle: Lifecycle, daemon: Daemon) -> None:
        self._lifecycle = lifecycle
        self.daemon = daemon

    def sandbox(self, request: web.Request) -> Sandbox:
        return self._lifecycle.find(request.match_info["sandbox"])

    def machine(self, request: web.Request) -> Machine:
        """Raises `Refusal` in the words of the proxy that stands before the sandboxes."""
        sandbox = self.sandbox(request)
        if sandbox.machine is not None and sandbox.state in {"started", "snapshotting", "forking", "resizing"}:
            self._lifecycle.touch(sandbox)
            return sandbox.machine
        if sandbox.state in {"stopping", "starting", "pausing", "resuming", "restoring"}:
            raise Refusal(502)
        raise Refusal(400, NO_ADDRESS)

    @asynccontextmanager
    async def connect(
        self, request: web.Request, operation: str, fields: Mapping[str, object] | None = None
    ) -> AsyncGenerator[Connection]:
        machine = self.machine(request)
        try:
            async with machine.connect(operation, fields) as connection:
                yield connection
        except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise Refusal(502) from error  # it was stopped in the middle of it

    async def ask(self, request: web.Request, operation: str, fields: Mapping[str, object] | None = None) -> object:
        """For an operation that sends nothing but its result."""
        async with self.connect(request, operation, fields) as connection:
            return await result_of(connection)


async def result_of(connection: Connection) -> object:
    """The result that ends an operation. Raises its `Refusal`."""
    kind, payload = await connection.receive()
    if kind != JSON:
        raise TypeError("the machine sent contents where its result was due")
    return read_result(payload)
