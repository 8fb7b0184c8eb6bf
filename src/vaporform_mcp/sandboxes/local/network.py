"""The network of attached sandboxes: who accepts what they connect to, and the way into their ports."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial

import anyio
from anyio.abc import TaskGroup

from vaporform_mcp.errors import VaporformError
from vaporform_mcp.sandboxes.local import certificates, policy, upstream
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.egress import EgressProxy
from vaporform_mcp.sandboxes.local.environment import command_environment
from vaporform_mcp.sandboxes.local.forwarding import forwards, serve_forward
from vaporform_mcp.sandboxes.local.sandbox import LocalSandbox
from vaporform_mcp.sandboxes.supervised.inside.wire import EGRESS_PORT
from vaporform_mcp.types import Network

__all__ = ["Egress"]

log = logging.getLogger(__name__)

Accept = Callable[[socket.socket], Awaitable[None]]


class Egress:
    """The way out of the sandboxes whose network is `internet`, as the settings have it.

    Raises:
        InvalidArgument: a setting has no meaning; it is named.
    """

    def __init__(self, config: LocalConfig) -> None:
        self._policy = policy.parse(config.egress_allow, config.egress_private)
        self._upstream = upstream.parse(config.host_environment)
        self._forwards = forwards(self._policy)
        bundles = certificates.host_bundles(config.host_environment)
        self._certificates = certificates.combined(bundles) if bundles else None

    @property
    def gaps(self) -> list[str]:
        """What of the private network can be reached, in sentences."""
        return [f"{one}, which is on the private network" for one in self._forwards]

    @property
    def machine_ports(self) -> list[int]:
        """Ports of this machine's 127.0.0.1 that a person opened, for sandboxes that have the same 127.0.0.1."""
        return sorted(one.port for one in self._forwards if one.is_in_place)

    @property
    def bundle(self) -> bytes | None:
        """The certificates that sandboxes must show for it."""
        return self._certificates

    def environment(
        self, network: Network, *, proxy_port: int = EGRESS_PORT, bundle_at: str = certificates.INSIDE
    ) -> Mapping[str, str]:
        """What commands in a sandbox with that network get in their environment. `bundle_at`: where it is shown."""
        return command_environment(
            proxy_port=proxy_port if network == "internet" else None,
            certificates=bundle_at if self._certificates else None,
        )

    async def open(self, sandbox: LocalSandbox, tasks: TaskGroup) -> None:
        """Be there for what the sandbox connects to, in `tasks`, for as long as its handle is attached."""
        # One for each sandbox, so that a refusal is told to the one whose command met it.
        proxy = EgressProxy(self._policy, upstream=self._upstream, on_refusal=sandbox.note_refusal)
        accepting: list[tuple[int, str, Accept]] = [(EGRESS_PORT, "egress", proxy.serve)]
        for one in self._forwards:
            if one.is_in_place and sandbox.isolation == "restricted":
                continue  # its commands may connect to it
            serve = partial(serve_forward, host=one.host, port=one.target_port, policy=self._policy)
            accepting.append((one.port, "forward", serve))
        with ExitStack() as opened:
            listeners: list[tuple[socket.socket, Accept]] = []
            for port, kind, accept in accepting:
                try:
                    listener = await sandbox.listening_socket(port, kind)
                except VaporformError as error:
                    log.warning("sandbox %s has nothing on its port %d: %s", sandbox.sandbox_id, port, error)
                else:
                    listeners.append((opened.enter_context(listener), accept))
            opened.pop_all()
        tasks.start_soon(_serve, sandbox, listeners)


async def _serve(sandbox: LocalSandbox, listeners: list[tuple[socket.socket, Accept]]) -> None:
    async def serve(listener: socket.socket, accept: Accept) -> None:
        try:
            await accept(listener)
        except OSError as error:
            log.warning("a port inside sandbox %s is no longer served: %s", sandbox.sandbox_id, error)

    with ExitStack() as opened:
        for listener, _ in listeners:
            opened.enter_context(listener)
        async with anyio.create_task_group() as tasks:
            for listener, accept in listeners:
                tasks.start_soon(serve, listener, accept)
            await sandbox.wait_closed()
            tasks.cancel_scope.cancel()
