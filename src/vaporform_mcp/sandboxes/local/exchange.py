"""One HTTP request passed on to a server, and its answer passed back."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from http import HTTPStatus

import anyio

from vaporform_mcp.sandboxes.local.bodies import Incoming, SinkBroken, copy_body
from vaporform_mcp.sandboxes.local.messages import (
    Destination,
    Rejected,
    RequestHead,
    ResponseHead,
    end_to_end,
    parse_response,
    render,
)
from vaporform_mcp.sandboxes.local.relay import relay
from vaporform_mcp.sandboxes.local.sockets import Activity
from vaporform_mcp.sandboxes.local.upstream import ProxyServer

__all__ = ["Exchange", "read_answer"]

_MAX_INTERIM = 16
_WEBSOCKET = "websocket"


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Passes on exactly one request and one answer, after which neither connection is good for anything else.

    `proxy` is the computer's own proxy where `server` is a connection to that. `body` is where the request's body
    comes from.
    """

    request: RequestHead
    destination: Destination
    client: socket.socket
    body: Incoming
    server: socket.socket
    proxy: ProxyServer | None
    activity: Activity
    idle_s: float
    _answering: bool = False
    _failure: OSError | Rejected | None = None

    async def run(self) -> None:
        """Pass on the request and the answer, side by side.

        Raises:
            Rejected: there is no answer to pass on; the client has been sent nothing but interim answers.
            OSError: either side broke while the answer was passed on.
        """
        try:
            await self.activity.send(self.server, self._head())
        except OSError:
            raise Rejected(HTTPStatus.BAD_GATEWAY, "The server closed the connection before it answered.") from None
        async with anyio.create_task_group() as group:
            # Beside the answer: a server may wait to be told `100 Continue`, or answer before it has read everything.
            group.start_soon(self._send_body, group.cancel_scope)
            try:
                await self._pass_answer()
            except (OSError, Rejected) as error:
                self._failure = error
            group.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    @property
    def _upgrades(self) -> bool:
        # Behind another proxy what follows would be further requests to it, which nobody judges. WebSockets go there
        # by CONNECT.
        return self.proxy is None and self.request.upgrade == _WEBSOCKET and self.request.framing == 0

    def _head(self) -> bytes:
        request, where = self.request, self.destination
        headers = [("Host", where.authority)]
        headers += [each for each in end_to_end(request.headers) if request.minor or each[0].lower() != "expect"]
        if request.framing == "chunked":
            headers.append(("Transfer-Encoding", "chunked"))
        elif request.length is not None:
            headers.append(("Content-Length", str(request.length)))
        headers += [("Connection", "Upgrade"), ("Upgrade", _WEBSOCKET)] if self._upgrades else [("Connection", "close")]
        target = where.path
        if self.proxy is not None:
            target = f"http://{where.authority}{target.removeprefix('*')}"
            if self.proxy.authorization is not None:
                headers.append(("Proxy-Authorization", self.proxy.authorization))
        return render(f"{request.method} {target} HTTP/1.1", headers)

    async def _send_body(self, both: anyio.CancelScope) -> None:
        try:
            await copy_body(self.body, self.server, self.activity, self.request.framing)
        except SinkBroken:
            pass  # its answer, perhaps why it took no more, is still to be passed on
        except OSError:
            failed = "The request's body is malformed or ended early."
            self._failure = ConnectionError(failed) if self._answering else Rejected(HTTPStatus.BAD_REQUEST, failed)
            both.cancel()

    async def _pass_answer(self) -> None:
        incoming = Incoming(self.server, self.activity)
        for _ in range(_MAX_INTERIM):
            answer = await read_answer(incoming, self.request.method)
            if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
                await self._switch(answer, incoming)
                return
            if answer.status >= 200:
                break
            if self.request.minor:
                await self.activity.send(self.client, render(_status_line(answer), end_to_end(answer.headers)))
        else:
            raise Rejected(HTTPStatus.BAD_GATEWAY, "The server gave no final answer.")
        if self.proxy is not None and answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise Rejected(
                HTTPStatus.BAD_GATEWAY, "The proxy that this computer has to use wants a user name and a password."
            )
        await self._pass_final(answer, incoming)

    async def _pass_final(self, answer: ResponseHead, incoming: Incoming) -> None:
        headers = end_to_end(answer.headers)
        rechunk = bool(self.request.minor)
        if answer.framing == "chunked" and rechunk:
            headers.append(("Transfer-Encoding", "chunked"))
        if answer.length is not None:
            headers.append(("Content-Length", str(answer.length)))
        headers.append(("Connection", "close"))
        self._answering = True
        try:
            await self.activity.send(self.client, render(_status_line(answer), headers))
            await copy_body(incoming, self.client, self.activity, answer.framing, rechunk=rechunk)
        except OSError as error:
            raise ConnectionError("the answer was cut off") from error

    async def _switch(self, answer: ResponseHead, incoming: Incoming) -> None:
        if not self._upgrades:
            raise Rejected(HTTPStatus.BAD_GATEWAY, "The server changed to a protocol that was not asked for.")
        headers = [*end_to_end(answer.headers), ("Connection", "Upgrade"), ("Upgrade", _WEBSOCKET)]
        await self.activity.send(self.client, render(_status_line(answer), headers) + incoming.rest())
        await self.activity.send(self.server, self.body.rest())
        await relay(self.client, self.server, idle_s=self.idle_s)


async def read_answer(incoming: Incoming, method: str) -> ResponseHead:
    """The head of an answer. Raises `Rejected` where none comes or it cannot be understood."""
    try:
        head = await incoming.head(HTTPStatus.BAD_GATEWAY)
    except TimeoutError:
        raise Rejected(HTTPStatus.GATEWAY_TIMEOUT, "The server did not answer in time.") from None
    except OSError:
        head = b""
    if not head:
        raise Rejected(HTTPStatus.BAD_GATEWAY, "The server closed the connection before it answered.")
    return parse_response(head, method=method)


def _status_line(answer: ResponseHead) -> str:
    return f"HTTP/1.1 {answer.status} {answer.reason}"
