"""Previews of a sandbox whose ports are this machine's own: nothing is forwarded, and a port may be somebody else's."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from vaporform_mcp.errors import Conflict

__all__ = ["url_of"]

_LISTENS = "0A"
_MAPPED = "0000000000000000FFFF0000"
_ANY6, _LOOPBACK6 = "0" * 32, "0" * 24 + "01000000"


def url_of(port: int, own: Collection[int]) -> str:
    """The URL of a port, which something in the sandbox listens on if it is among `own`, and nobody need yet.

    Raises:
        Conflict: another program of this machine has the port.
    """
    hosts = _listeners(port)
    if port not in own and hosts:
        raise Conflict(
            f"port {port} is used by another program of this machine, or by another workspace",
            hint="Ports of this sandbox are the machine's own: let the server listen on another one.",
        )
    return f"http://{'localhost' if hosts == {'::1'} else '127.0.0.1'}:{port}"


def _listeners(port: int) -> set[str]:
    """At which loopback addresses somebody listens on the port."""
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for row in Path("/proc/net", name).read_text("ascii").splitlines()[1:]:
                fields = row.split()
                address, _, number = fields[1].partition(":")
                if fields[3] == _LISTENS and int(number, 16) == port:
                    found |= _loopbacks(address)
    return found


def _loopbacks(address: str) -> set[str]:
    """Where an address that is listened on, as the kernel writes it, is reached."""
    if address == _ANY6:
        return {"127.0.0.1", "::1"}
    if address == _LOOPBACK6:
        return {"::1"}
    address = address.removeprefix(_MAPPED)
    # Each four bytes are a number as this machine has it; every one that we run on has the last byte first.
    return {"127.0.0.1"} if len(address) == 8 and address[-2:] in {"00", "7F"} else set()
