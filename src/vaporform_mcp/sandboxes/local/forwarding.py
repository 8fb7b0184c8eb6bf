"""Private services that speak no HTTP, such as databases: each appears on a port of the sandbox's loopback."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass

from vaporform_mcp.sandboxes.local.accepting import serve_connections
from vaporform_mcp.sandboxes.local.dialing import Dialer, Resolve, SystemResolver
from vaporform_mcp.sandboxes.local.hosts import authority
from vaporform_mcp.sandboxes.local.messages import Rejected
from vaporform_mcp.sandboxes.local.policy import EgressPolicy
from vaporform_mcp.sandboxes.local.relay import relay
from vaporform_mcp.sandboxes.local.sockets import closing, reset_on_close
from vaporform_mcp.sandboxes.supervised.inside.wire import EGRESS_PORT

__all__ = ["Forward", "forwards", "serve_forward"]

log = logging.getLogger(__name__)

# Where HTTP is spoken the proxy is the way, and the port stays free for the dev server that likes it too.
_HTTP_PORTS = frozenset(
    {
        *(80, 443, 3000, 3001, 4200, 4873, 5000, 5001, 5173, 8000, 8001, 8008, 8080, 8081, 8082, 8088, 8443, 8888),
        *(9000, 9090, 9443),
    }
)
_LOWEST = 1024  # below it only a privileged process listens
_STEP = 10_000

_MAX_CONNECTIONS = 256
# Pools of database connections rest for long; keep-alive probes find the dead ones.
_IDLE_S = 2 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """127.0.0.1:`port` inside the sandbox leads to `host`:`target_port`."""

    port: int
    host: str
    target_port: int

    @property
    def is_in_place(self) -> bool:
        """Whether it leads to where it is, for a sandbox whose loopback is this machine's."""
        return (self.host, self.target_port) == ("127.0.0.1", self.port)

    def __str__(self) -> str:
        return f"127.0.0.1:{self.port} leads to {authority(self.host, self.target_port)}"


def forwards(policy: EgressPolicy) -> list[Forward]:
    """One for each private host that is listed with a port where no HTTP is spoken; networks and wildcards have none.

    The port inside is the service's own, unless it is privileged or an earlier one has it: then the first free one
    of 10,000, 20,000, … more. The same settings give the same ports.
    """
    taken = {EGRESS_PORT}
    found: list[Forward] = []
    for entry in dict.fromkeys(policy.private):
        host, target = entry.single_host, entry.port
        if host is None or target is None or target in _HTTP_PORTS:
            continue
        wanted = [each for each in range(target, 65_536, _STEP) if each >= _LOWEST and each not in taken]
        if not wanted:
            log.warning("no port is left inside sandboxes for %s", authority(host, target))
            continue
        taken.add(wanted[0])
        found.append(Forward(port=wanted[0], host=host, target_port=target))
    return found


async def serve_forward(
    listener: socket.socket, host: str, port: int, policy: EgressPolicy, *, resolve: Resolve | None = None
) -> None:
    """Connect whatever connects to `listener` with the service, as far as the policy lets it, until cancelled.

    A connection that cannot be made is reset. Other processes may serve the same socket; it is made non-blocking.

    Raises:
        OSError: the listener failed or was closed.
    """
    dialer = Dialer(policy, resolve or SystemResolver())

    async def handle(client: socket.socket) -> None:
        try:
            server = await dialer.direct(host, port)
        except Rejected as error:
            log.info("a forwarded connection was not made: %s", error)
            reset_on_close(client)
            return
        with closing(server):
            await relay(client, server, idle_s=_IDLE_S)

    await serve_connections(listener, handle, limit=_MAX_CONNECTIONS)
