"""Connections of one listening socket, each served in a task of its own."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Awaitable, Callable

import anyio

from vaporform_mcp.sandboxes.local.sockets import closing, prepare

__all__ = ["serve_connections"]

log = logging.getLogger(__name__)

# What accept(2) says of the connection that would have been next, not of the socket.
_CONNECTION_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EPERM,
    }
)
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_EXHAUSTED_PAUSE_S = 0.2


async def serve_connections(
    listener: socket.socket, handle: Callable[[socket.socket], Awaitable[None]], *, limit: int
) -> None:
    """Accept and `handle` until cancelled; with `limit` connections at once, further ones wait in the kernel.

    `handle` gets a socket that has been through `prepare`, closed for it at the end, with a reset if `handle` fails or
    is cancelled; a connection that fails is no concern of the others. Processes that hold copies of the listener share
    its connections. It is made non-blocking, for all of them, and must stay so.

    Raises:
        OSError: the listener itself failed or was closed.
    """
    listener.setblocking(False)
    free = anyio.Semaphore(limit, max_value=limit)

    async def serve(client: socket.socket) -> None:
        try:
            with closing(client):
                await handle(client)
        except OSError as error:
            log.debug("a connection ended early: %s", error)
        except Exception:  # a bug in serving one connection must not end the others
            log.exception("a connection could not be served")
        finally:
            free.release()

    async with anyio.create_task_group() as group:
        while True:
            await free.acquire()
            group.start_soon(serve, await _accept(listener))


async def _accept(listener: socket.socket) -> socket.socket:
    while True:
        # Another process may take the connection between the two calls.
        await anyio.wait_readable(listener)
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno in _EXHAUSTED:
                log.warning("no descriptors or memory for another connection")
                await anyio.sleep(_EXHAUSTED_PAUSE_S)
            elif error.errno not in _CONNECTION_GONE:
                raise
            continue
        return prepare(client)
