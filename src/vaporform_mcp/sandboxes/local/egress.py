"""The way out of a sandbox: an HTTP proxy on a socket that listens inside it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import anyio

from vaporform_mcp.sandboxes.local.accepting import serve_connections
from vaporform_mcp.sandboxes.local.bodies import Incoming
from vaporform_mcp.sandboxes.local.dialing import Dialer, Refused, Resolve, SystemResolver
from vaporform_mcp.sandboxes.local.exchange import Exchange, read_answer
from vaporform_mcp.sandboxes.local.hosts import authority
from vaporform_mcp.sandboxes.local.messages import Destination, Rejected, RequestHead, parse_request, render
from vaporform_mcp.sandboxes.local.policy import EgressPolicy, Refusal
from vaporform_mcp.sandboxes.local.relay import relay
from vaporform_mcp.sandboxes.local.sockets import Activity, close_gently, closing
from vaporform_mcp.sandboxes.local.upstream import ProxyServer, UpstreamProxy

__all__ = ["Bounds", "EgressProxy"]

log = logging.getLogger(__name__)

# Connections over the limit that are being told so.
_TURNED_AWAY = 64
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`connections` at once on one listener; `head_s` for a request's head; `idle_s` without a byte either way."""

    connections: int = 256
    head_s: float = 30.0
    idle_s: float = 600.0


class EgressProxy:
    """Serves HTTP requests in absolute form and CONNECT, as far as the policy lets it, one request a connection.

    Names are resolved here, since none are inside; each address is judged, and that very address connected to. What
    is not passed on is answered with a line for a model: in the body, in the header X-Vaporform-Reason and as the
    status's reason, which is all that many clients show of a failed CONNECT.

    `upstream` is the proxy that the computer itself has to use. `on_refusal` is called for each refusal.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        upstream: UpstreamProxy | None,
        resolve: Resolve | None = None,
        on_refusal: Callable[[Refusal], None] | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._dialer = Dialer(policy, resolve or SystemResolver())
        self._upstream = upstream
        self._on_refusal = on_refusal
        self._bounds = bounds or Bounds()

    async def serve(self, listener: socket.socket) -> None:
        """Serve what connects, until cancelled. Other processes may serve the same socket; it is made non-blocking.

        May run for several listeners at once.

        Raises:
            OSError: the listener failed or was closed.
        """
        served = 0

        async def handle(client: socket.socket) -> None:
            nonlocal served
            served += 1
            try:
                await self._handle(client, crowded=served > self._bounds.connections)
            finally:
                served -= 1

        await serve_connections(listener, handle, limit=self._bounds.connections + _TURNED_AWAY)

    async def _handle(self, client: socket.socket, *, crowded: bool) -> None:
        activity = Activity(self._bounds.idle_s)
        method = ""
        try:
            incoming = Incoming(client, activity)
            request = await self._read_request(incoming, crowded=crowded)
            if request is None:
                return
            method = request.method
            if method == "CONNECT":
                await self._tunnel(request, client, incoming, activity)
                return
            await self._forward(request, client, incoming, activity)
        except Rejected as error:
            if isinstance(error, Refused) and self._on_refusal is not None:
                self._on_refusal(error.refusal)
            log.debug("a request out of a sandbox was answered %d", error.status)
            await activity.send(client, _answer(error, with_body=method != "HEAD"))
        await close_gently(client)

    async def _read_request(self, incoming: Incoming, *, crowded: bool) -> RequestHead | None:
        if crowded:
            raise Rejected(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections leave the sandbox; try again later.")
        try:
            with anyio.fail_after(self._bounds.head_s):
                head = await incoming.head(HTTPStatus.BAD_REQUEST)
        except TimeoutError:
            raise Rejected(HTTPStatus.REQUEST_TIMEOUT, "The request's head did not come in time.") from None
        return parse_request(head) if head else None

    async def _forward(
        self, request: RequestHead, client: socket.socket, incoming: Incoming, activity: Activity
    ) -> None:
        destination = request.absolute()
        proxy = self._proxy_for(destination, secure=False)
        with closing(await self._dial(destination, proxy)) as server:
            await Exchange(
                request=request,
                destination=destination,
                client=client,
                body=incoming,
                server=server,
                proxy=proxy,
                activity=activity,
                idle_s=self._bounds.idle_s,
            ).run()

    async def _tunnel(
        self, request: RequestHead, client: socket.socket, incoming: Incoming, activity: Activity
    ) -> None:
        destination = request.tunnel()
        if request.framing != 0:
            raise Rejected(HTTPStatus.BAD_REQUEST, "A CONNECT request has no body.")
        proxy = self._proxy_for(destination, secure=True)
        with closing(await self._dial(destination, proxy)) as server:
            early = b"" if proxy is None else await self._open_tunnel(proxy, destination, server, activity)
            await activity.send(client, _ESTABLISHED + early)
            await activity.send(server, incoming.rest())
            await relay(client, server, idle_s=self._bounds.idle_s)

    def _proxy_for(self, destination: Destination, *, secure: bool) -> ProxyServer | None:
        if self._upstream is None:
            return None
        return self._upstream.route(destination.host, destination.port, secure=secure)

    async def _dial(self, destination: Destination, proxy: ProxyServer | None) -> socket.socket:
        if proxy is None:
            return await self._dialer.direct(destination.host, destination.port)
        return await self._dialer.through(proxy, destination.host, destination.port)

    async def _open_tunnel(
        self, proxy: ProxyServer, destination: Destination, server: socket.socket, activity: Activity
    ) -> bytes:
        """Have the computer's own proxy connect; what the host has said already."""
        where = authority(destination.host, destination.port)
        headers = [("Host", where)]
        if proxy.authorization is not None:
            headers.append(("Proxy-Authorization", proxy.authorization))
        incoming = Incoming(server, activity)
        try:
            await activity.send(server, render(f"CONNECT {where} HTTP/1.1", headers))
        except OSError:
            raise Rejected(HTTPStatus.BAD_GATEWAY, "The proxy that this computer has to use hung up.") from None
        answer = await read_answer(incoming, "CONNECT")
        if not 200 <= answer.status < 300:
            raise Rejected(
                HTTPStatus.BAD_GATEWAY,
                f"The proxy that this computer has to use did not connect to {where}: it answered {answer.status}.",
            )
        return incoming.rest()


def _answer(error: Rejected, *, with_body: bool) -> bytes:
    text = str(error)
    body = f"{text}\n".encode()
    headers = [
        ("X-Vaporform-Reason", text),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    return render(f"HTTP/1.1 {error.status.value} {text}", headers) + (body if with_body else b"")
