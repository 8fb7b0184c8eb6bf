"""Which TCP sockets listen on the loopback: all of a network namespace's."""

from __future__ import annotations

import socket
import struct

__all__ = ["PortTable"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    Listener = tuple[bytes, int, int]
    """Its address, in as many bytes as the family has; its port; its inode."""

_SOCK_DIAG = 4
_BY_FAMILY = struct.Struct("=IHHIIBBBBI48x")
_HEADER = struct.Struct("=IHHII")
_LISTEN = 10
_DUMP = 0x301
_BY_FAMILY_TYPE = 20
_ERROR, _DONE = 2, 3
_MAX_ANSWERS = 1_000

ANSWER_S = 0.2
"""The kernel answers while it is asked; this only guards against waiting for ever."""

_ANY = bytes(16)
_LOOPBACK6 = bytes(15) + b"\1"
_MAPPED = bytes(10) + b"\xff\xff"


class _Unsupported(Exception):
    pass


class PortTable:
    """Asked for often, it keeps its question to the kernel open."""

    def __init__(self) -> None:
        self._asked: socket.socket | None = None

    def listening(self) -> set[int]:
        """Ports bound to loopback or to every address; nobody could reach another."""
        return {port for _, port, _ in self.listeners()}

    def listeners(self) -> set[Listener]:
        """Those sockets, with what tells them apart."""
        # Not first from /proc/net/tcp: the kernel walks its table of all connections for that, which takes
        # milliseconds.
        try:
            asked = self._asked = self._asked or _open()
            return _ask(asked, socket.AF_INET) | _ask(asked, socket.AF_INET6)
        except (OSError, _Unsupported):
            self._forget()
            return _read_tables()

    def _forget(self) -> None:
        if self._asked is not None:
            self._asked.close()
            self._asked = None


def _open() -> socket.socket:
    asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG)
    asked.settimeout(ANSWER_S)
    return asked


def _ask(asked: socket.socket, family: int) -> set[Listener]:
    asked.send(
        _BY_FAMILY.pack(_BY_FAMILY.size, _BY_FAMILY_TYPE, _DUMP, 1, 0, family, socket.IPPROTO_TCP, 0, 0, 1 << _LISTEN)
    )
    found: set[Listener] = set()
    for _ in range(_MAX_ANSWERS):
        answer = asked.recv(65536)
        while len(answer) >= _HEADER.size:
            size, kind, *_ = _HEADER.unpack_from(answer)
            if kind == _DONE:
                return found
            if kind == _ERROR or size < _HEADER.size + 72:
                break
            # After the header: four bytes of state, then ports and addresses in network order; last the inode.
            (port,), (inode,) = struct.unpack_from("!H", answer, 20), struct.unpack_from("=I", answer, 84)
            if _is_reachable(family, answer[24:40]):
                found.add((answer[24:28] if family == socket.AF_INET else answer[24:40], port, inode))
            answer = answer[(size + 3) & ~3 :]
        else:
            continue
        break
    raise _Unsupported


def _is_reachable(family: int, address: bytes) -> bool:
    if family == socket.AF_INET:
        return address[0] == 127 or address[:4] == _ANY[:4]
    if address[:12] == _MAPPED:
        return address[12] == 127 or address[12:] == _ANY[:4]
    return address in {_ANY, _LOOPBACK6}


def _read_tables() -> set[Listener]:
    found: set[Listener] = set()
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        try:
            with open(path, "rb") as table:
                lines = table.read().decode("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A":
                address, _, port = fields[1].partition(":")
                # Each four bytes are printed as one number of the machine's own byte order.
                words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
                packed = struct.pack(f"={len(words)}I", *words)
                if _is_reachable(family, packed):
                    found.add((packed, int(port, 16), int(fields[9])))
    return found
