"""Ports of this computer for previews: found, held, and shared by the servers of one workspace.

Every server that shows a port of a workspace's sandbox listens on the same port of the computer (SO_REUSEPORT, which
the kernel grants to one user's processes only), so that the preview lives as long as one of them. To tell such a port
from one that belongs to somebody else, a server holds beside it a Unix socket whose abstract name says whose it is:
names like that are seen by every process, and are gone with the process that bound them.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from vaporform_mcp.errors import SandboxUnavailable

__all__ = ["Claim", "claim_port"]

_UNIX_SOCKETS = Path("/proc/net/unix")
_LOCK_S = 5.0
_LOCK_POLL_S = 0.01
_FREE_TRIES = 32
_BACKLOG = 128
_PRIVILEGED = 1024

# Programs of this computer connect to these by their number alone, some with a password: databases, queues, caches,
# cluster and desktop services. A preview there would be talked to in the place of the service.
_SERVICES = frozenset(
    (
        *(1433, 1521, 1883, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 4369, 5432, 5433, 5672, 6379, 6443, 6432, 7000),
        *(7001, 7687, 8086, 8200, 8500, 9042, 9092, 9200, 9300, 10250, 11211, 11434, 15672, 16379, 26257, 26379, 27017),
        *(27018, 27019, 28015, 33060, *range(5900, 5910), *range(6000, 6064)),
    )
)

log = logging.getLogger(__name__)

_counter = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A port that is listened on, at each loopback address, until it is closed."""

    port: int
    listeners: Sequence[socket.socket]
    mark: socket.socket

    def close(self) -> None:
        for each in (*self.listeners, self.mark):
            each.close()


async def claim_port(owner: str, wanted: Sequence[int | None], hosts: Sequence[str]) -> Claim:
    """Listen on a port for `owner`: the one where another process listens for it, else the first of `wanted` that
    nobody has and no service is known for, else any.

    `hosts` are the addresses to listen on; those after the first are left out where the computer lacks them.

    Raises:
        SandboxUnavailable: there is no port.
    """
    digest = hashlib.sha256(owner.encode()).hexdigest()[:32]
    present = [each for index, each in enumerate(hosts) if index == 0 or _exists(each)]
    async with _lock():
        marks = _marks()
        for port, holders in marks.items():
            if holders == {digest} and (claim := _listen(port, digest, present)) is not None:
                return claim
        free = (_any_port(present[0]) for _ in range(_FREE_TRIES))
        for port in itertools.chain(wanted, free):
            if port is None or port < _PRIVILEGED or port in _SERVICES or port in marks or not _is_free(port, present):
                continue
            if (claim := _listen(port, digest, present)) is not None:
                return claim
    raise SandboxUnavailable(
        "no port of this computer is free for the preview", hint="Close programs that hold many ports, then repeat."
    )


def _prefix() -> str:
    return f"vaporform-preview-{os.geteuid()}/"


@asynccontextmanager
async def _lock() -> AsyncGenerator[None]:
    """Held by one process of the user at a time: two that found a port free would otherwise both listen on it."""
    deadline = anyio.current_time() + _LOCK_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        while True:
            try:
                lock.bind(f"\0{_prefix()}lock")
                break
            except OSError:
                if anyio.current_time() > deadline:
                    # Any user of this computer can take the name. To go on risks that two choose the same port.
                    log.warning("another program has been choosing a preview's port for too long; going on without it")
                    break
            await anyio.sleep(_LOCK_POLL_S)
        yield


def _marks() -> Mapping[int, set[str]]:
    """The ports held for previews of this user, with the digests of their owners."""
    found: dict[int, set[str]] = {}
    try:
        lines = _UNIX_SOCKETS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        _, _, name = line.partition(f"@{_prefix()}")
        match name.split("/"):
            case [port, digest, _] if port.isdecimal() and len(port) <= 5:
                found.setdefault(int(port), set()).add(digest)
            case _:
                pass
    return found


def _listen(port: int, digest: str, hosts: Sequence[str]) -> Claim | None:
    """None where somebody else was faster, or has the port at one of the addresses."""
    with ExitStack() as opened:
        try:
            listeners = [opened.enter_context(_bound(host, port, shared=True)) for host in hosts]
            for each in listeners:
                each.listen(_BACKLOG)
            mark = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            mark.bind(f"\0{_prefix()}{port}/{digest}/{os.getpid()}-{next(_counter)}")
        except OSError:
            return None
        opened.pop_all()
    return Claim(port=port, listeners=listeners, mark=mark)


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of an earlier server that are still being wound up are no obstacle; one that listens is.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _is_free(port: int, hosts: Sequence[str]) -> bool:
    """Whether nobody listens there. Asked without SO_REUSEPORT, to which a port shared by the same user looks free."""
    try:
        for host in hosts:
            _bound(host, port, shared=False).close()
    except OSError:
        return False
    return True


def _any_port(host: str) -> int | None:
    try:
        with _bound(host, 0, shared=False) as sock:
            return int(sock.getsockname()[1])
    except OSError:
        return None


def _exists(host: str) -> bool:
    return _any_port(host) is not None
