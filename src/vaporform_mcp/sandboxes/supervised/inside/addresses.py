"""Socket addresses as they lie in memory: where one leads, and the loopback's in its place."""

from __future__ import annotations

import errno
import socket
import struct

__all__ = ["LOOPBACK4", "LOOPBACK6", "MAPPED", "Address", "family_of"]

_FAMILY = struct.Struct("=H")
_PORT = struct.Struct("!H")
_SIZES: dict[int, int] = {socket.AF_INET: 16, socket.AF_INET6: 24}  # the scope at the end of IPv6's may be left out

LOOPBACK4 = b"\x7f\0\0\1"
LOOPBACK6 = bytes(15) + b"\1"
MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address in IPv6's form begins with."""


class Address:
    """`raw` is a sockaddr_in or sockaddr_in6; `host` is what it names, of 4 or 16 bytes."""

    def __init__(self, raw: bytes) -> None:
        """Raises `OSError`: EINVAL where it is too short."""
        self.raw = raw
        self.family = family_of(raw)
        if len(raw) < _SIZES[self.family]:
            raise OSError(errno.EINVAL, "")
        (self.port,) = _PORT.unpack_from(raw, 2)
        self.host = raw[4:8] if self.family == socket.AF_INET else raw[8:24]

    @property
    def ipv4(self) -> bytes | None:
        """The IPv4 address that it is, in whichever form."""
        if len(self.host) == 4:
            return self.host
        return self.host[12:] if self.host.startswith(MAPPED) else None

    @property
    def is_any(self) -> bool:
        return not any(self.ipv4 if self.ipv4 is not None else self.host)

    @property
    def is_loopback(self) -> bool:
        return self.host == LOOPBACK6 or (self.ipv4 is not None and self.ipv4[0] == 127)

    def at(self, host: bytes, port: int | None = None) -> Address:
        """The same with another host of that family, and port."""
        before = 4 if self.family == socket.AF_INET else 8
        number = _PORT.pack(self.port if port is None else port)
        return Address(self.raw[:2] + number + self.raw[4:before] + host + self.raw[before + len(host) :])

    def on_loopback(self, *, only_ipv6: bool) -> Address:
        """Where it names every address, the loopback's in its place."""
        if not self.is_any:
            return self
        if self.family == socket.AF_INET:
            return self.at(LOOPBACK4)
        # What listens on all of IPv6 is most often meant to be reached by IPv4.
        return self.at(LOOPBACK6 if only_ipv6 else MAPPED + LOOPBACK4)

    def meets(self, bound: bytes) -> bool:
        """Whether connecting to it finds a socket bound to that host."""
        if bound == self.host or not any(bound):
            return True
        ipv4 = self.ipv4
        return ipv4 is not None and bound in {ipv4, MAPPED + ipv4, MAPPED + bytes(4)}


def family_of(raw: bytes) -> int:
    return _FAMILY.unpack_from(raw)[0]
