"""Connections to hosts: a name is resolved, each address judged, and that very address connected to."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address

import anyio
from anyio import to_thread

from vaporform_mcp.sandboxes.local.addresses import IPAddress, literal
from vaporform_mcp.sandboxes.local.hosts import authority, is_loopback_name
from vaporform_mcp.sandboxes.local.messages import Rejected
from vaporform_mcp.sandboxes.local.policy import EgressPolicy, Refusal
from vaporform_mcp.sandboxes.local.sockets import connect_first
from vaporform_mcp.sandboxes.local.upstream import ProxyServer

__all__ = ["Dialer", "Refused", "Resolve", "SystemResolver"]

Resolve = Callable[[str, int], Awaitable[Sequence[IPAddress]]]
"""The addresses of a name in the order to try them; raises `OSError` where it has none."""

_RESOLVE_S = 20.0
_CONNECT_S = 15.0
_MAX_LOOKUPS = 32
_LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class Refused(Rejected):
    """The policy does not permit it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(HTTPStatus.FORBIDDEN, str(refusal))
        self.refusal = refusal


class SystemResolver:
    """Names as this computer resolves them: its hosts file, its search domains, its name servers."""

    def __init__(self) -> None:
        self._lookups = anyio.CapacityLimiter(_MAX_LOOKUPS)

    async def __call__(self, host: str, port: int) -> Sequence[IPAddress]:
        return await to_thread.run_sync(_look_up, host, port, abandon_on_cancel=True, limiter=self._lookups)


def _look_up(host: str, port: int) -> list[IPAddress]:
    # As bytes: `host` is ASCII already, and text would be encoded once more.
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(address[0]) for *_, address in found))


class Dialer:
    """Makes connections for a sandbox, as far as the policy lets it. `host` is always as `normal_host` gives it."""

    def __init__(self, policy: EgressPolicy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve

    async def direct(self, host: str, port: int) -> socket.socket:
        """A connection to the host, at one of its addresses that are permitted.

        Raises:
            Refused: the policy permits none.
            Rejected: its name has no address, or none of them answers.
        """
        self._check_name(host, port)
        addresses = await self._addresses(host, port)
        refusals = [self._policy.decide(host, port, each) for each in addresses]
        permitted = [each for each, refusal in zip(addresses, refusals, strict=True) if refusal is None]
        # A name with public and private addresses is reached at the public ones.
        refused = next((each for each in refusals if each is not None), None)
        if not permitted and refused is not None:
            raise Refused(refused)
        return await _connect(permitted, port, f"{authority(host, port)} could not be reached")

    async def through(self, proxy: ProxyServer, host: str, port: int) -> socket.socket:
        """A connection to the computer's own proxy, for a request that names `host`.

        The proxy will resolve the name itself. Where that can be done here too, every address must be permitted; a
        name that only the proxy knows is left to it.

        Raises:
            Refused: the policy does not permit the host.
            Rejected: the proxy does not answer.
        """
        self._check_name(host, port)
        try:
            addresses = await self._addresses(host, port)
        except Rejected:
            addresses = ()
        for each in addresses:
            if (refusal := self._policy.decide(host, port, each)) is not None:
                raise Refused(refusal)
        failed = "The proxy that this computer has to use could not be reached"
        try:
            found = await self._addresses(proxy.host, proxy.port)
        except Rejected as error:
            raise Rejected(error.status, f"{failed}: its name has no address.") from None
        return await _connect(found, proxy.port, failed)

    def _check_name(self, host: str, port: int) -> None:
        if (refusal := self._policy.decide_name(host, port)) is not None:
            raise Refused(refusal)

    async def _addresses(self, host: str, port: int) -> Sequence[IPAddress]:
        if (address := literal(host)) is not None:
            return (address,)
        if is_loopback_name(host):
            return _LOOPBACK
        try:
            with anyio.fail_after(_RESOLVE_S):
                return await self._resolve(host, port)
        except TimeoutError:
            text = f"Looking up the name {host} took too long: try again."
            raise Rejected(HTTPStatus.GATEWAY_TIMEOUT, text) from None
        except OSError:
            text = f"The name {host} could not be resolved: check its spelling, and that there is a network."
            raise Rejected(HTTPStatus.BAD_GATEWAY, text) from None


async def _connect(addresses: Sequence[IPAddress], port: int, failed: str) -> socket.socket:
    """`failed` begins the text for a model."""
    try:
        with anyio.fail_after(_CONNECT_S):
            return await connect_first(addresses, port)
    except TimeoutError:
        raise Rejected(HTTPStatus.GATEWAY_TIMEOUT, f"{failed}: no answer within {_CONNECT_S:.0f} s.") from None
    except OSError as error:
        reason = (error.strerror or "it failed").lower()
        raise Rejected(HTTPStatus.BAD_GATEWAY, f"{failed}: {reason}.") from None
