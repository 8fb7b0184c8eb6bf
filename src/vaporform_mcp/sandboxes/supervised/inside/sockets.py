"""connect, bind and listen, done by the supervisor for commands: never beyond the sandbox's own loopback and files."""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import select
import socket

from .addresses import LOOPBACK4, MAPPED, Address, family_of
from .libc import checked, library
from .places import AT_FDCWD, have_own_folder, is_at, open_folder, stand_where
from .ports import PortTable
from .replacing import Replacement
from .waits import Wait

__all__ = ["Sockets"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .belonging import OwnListeners
    from .loop import Loop
    from .notices import Notice
    from .places import Places
    from .ports import Listener

MAX_ADDRESS_BYTES = 128
SHORT_MS = 20
"""So long a connection to the loopback is waited for here; after it the loop does."""

_INTERNET = {socket.AF_INET, socket.AF_INET6}
_UNSPECIFIED = 0
_NETLINK = socket.AF_NETLINK


class Sockets:
    """`egress_port` is the proxy's, on 127.0.0.1; None: there is none. `free`: the host's network, as it is.

    With `replacing`, or where a command's descriptor may not be copied, a new socket is put in its place.
    """

    def __init__(
        self, loop: Loop, own: OwnListeners, places: Places, *, open_ports: frozenset[int], free: bool, replacing: bool
    ) -> None:
        self._loop = loop
        self._own = own
        self._places = places
        self._open_ports = open_ports
        self._free = free
        self._replacing = replacing
        self._table = PortTable()
        # What a socket is bound to must not change between the look at it and the deed.
        self._one = _thread.allocate_lock()
        self._looking = _thread.allocate_lock()
        self._at_home: set[int] = set()

    def begin(self) -> None:
        """To be called by each thread that is going to ask."""
        if have_own_folder():
            self._at_home.add(_thread.get_ident())

    # What is asked ---------------------------------------------------------------------------------------------

    def connect(self, notice: Notice) -> int | None:
        """None where the answer comes later. Raises `OSError` for the command."""
        raw = _address(notice)
        family = family_of(raw)
        with contextlib.ExitStack() as opened:
            if family in _INTERNET:
                target = self._reachable(Address(raw)).raw
            elif family == socket.AF_UNIX:
                target = self._socket_file(notice, raw, opened)
            elif family in {_UNSPECIFIED, _NETLINK}:
                target = raw
            else:
                raise OSError(errno.EAFNOSUPPORT, "")
            theirs = opened.enter_context(self._theirs(notice, family))
            answer = self._connect(notice, theirs, target)
            if answer is None:
                kept = opened.pop_all()
                Wait.begin(self._loop, notice, theirs, target, kept.close)
            return answer

    def bind(self, notice: Notice) -> int:
        """Raises `OSError` for the command."""
        raw = _address(notice)
        family = family_of(raw)
        with self._one, self._theirs(notice, family) as theirs, contextlib.ExitStack() as opened:
            if family in _INTERNET:
                address = self._bindable(Address(raw), theirs.socket)
                if not self._free:
                    self._keep_to_itself(address.port, theirs.socket)
                raw = address.raw
            elif family == socket.AF_UNIX:
                raw = self._file_to_be(notice, raw, theirs.socket, opened)
            elif family != _NETLINK:
                raise OSError(errno.EAFNOSUPPORT, "")
            theirs.bind(raw)
            theirs.install()
            return 0

    def listen(self, notice: Notice) -> int:
        """Raises `OSError` for the command."""
        with self._one, self._theirs(notice, None) as theirs:
            if theirs.listens:
                return 0
            theirs.restore()
            if theirs.socket.family in _INTERNET and not self._free:
                self._put_on_loopback(theirs.socket)
            # Before, so that it is the sandbox's as soon as it listens at all.
            self._own.add(theirs.inode)
            checked(library.listen(theirs.socket.fileno(), notice.integer(1)))
            if theirs.socket.family in _INTERNET and not (self._free or _is_on_loopback(theirs.socket)):
                theirs.socket.shutdown(socket.SHUT_RDWR)
                raise OSError(errno.EADDRNOTAVAIL, "")
            theirs.install()
            return 0

    # Where to --------------------------------------------------------------------------------------------------

    def _reachable(self, address: Address) -> Address:
        """The address to connect to. Raises `OSError` as if there were nothing there."""
        if self._free:
            return address
        if address.is_any:
            address = address.at(LOOPBACK4 if address.family == socket.AF_INET else bytes(15) + b"\1")
        if not address.is_loopback:
            raise OSError(errno.ENETUNREACH, "")
        if address.port in self._open_ports and address.ipv4 == LOOPBACK4:
            return address
        found = [each for each in self._listeners() if each[1] == address.port]
        if address.ipv4 is None and not any(address.meets(host) for host, _, _ in found):
            # What listens on all of IPv6 was put on IPv4's loopback.
            address = address.at(MAPPED + LOOPBACK4)
        met = [each for each in found if address.meets(each[0])]
        if not met or not self._own.are_own(met):
            raise OSError(errno.ECONNREFUSED, "")
        return address

    def _socket_file(self, notice: Notice, raw: bytes, opened: contextlib.ExitStack) -> bytes:
        path = raw[2:].split(b"\0")[0]
        if not path:
            raise OSError(errno.ECONNREFUSED, "")  # an abstract one; those of the host are of the same space
        try:
            descriptor = self._places.open(notice, AT_FDCWD, path, follow=True)
        except PermissionError:
            raise OSError(errno.EACCES, "") from None
        opened.callback(os.close, descriptor)
        return raw[:2] + is_at(descriptor) + b"\0"

    def _file_to_be(self, notice: Notice, raw: bytes, unbound: socket.socket, opened: contextlib.ExitStack) -> bytes:
        """The address to bind to; where the file may be is Landlock's to decide."""
        folder, slash, name = raw[2:].split(b"\0")[0].rpartition(b"/")
        if not name:
            raise OSError(errno.EACCES, "")  # an abstract one, to which nobody could connect
        if not self._replacing and _thread.get_ident() in self._at_home:
            stand_where(notice)
            return raw
        descriptor = open_folder(notice, folder or slash)
        opened.callback(os.close, descriptor)
        # The file's mode is the socket's, less a umask that is ours.
        os.fchmod(unbound.fileno(), 0o777 & ~int(notice.status(b"Umask"), 8))
        return raw[:2] + is_at(descriptor) + b"/" + name + b"\0"

    def _bindable(self, address: Address, bound: socket.socket) -> Address:
        if self._free:
            return address
        only_ipv6 = False
        if bound.family == socket.AF_INET6:
            only_ipv6 = bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) != 0
        address = address.on_loopback(only_ipv6=only_ipv6)
        if not address.is_loopback:
            raise OSError(errno.EADDRNOTAVAIL, "")
        return address

    def _keep_to_itself(self, port: int, bound: socket.socket) -> None:
        """Refuse a port at which another program of this machine listens, at whatever address, and share none."""
        found = [each for each in self._listeners() if each[1] == port]
        if found and not self._own.are_own(found):
            raise OSError(errno.EADDRINUSE, "")
        # Other programs of the same user could listen there beside it, each for a part of who connects.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)

    def _listeners(self) -> set[Listener]:
        with self._looking:  # several threads do
            return self._table.listeners()

    def _put_on_loopback(self, unbound: socket.socket) -> None:
        if unbound.getsockname()[1] == 0:
            size = 16 if unbound.family == socket.AF_INET else 28
            anywhere = Address(unbound.family.to_bytes(2, "little") + bytes(size - 2))
            raw = self._bindable(anywhere, unbound).raw
            checked(library.bind(unbound.fileno(), raw, len(raw)))
        elif not _is_on_loopback(unbound):
            raise OSError(errno.EADDRNOTAVAIL, "")

    # The deed --------------------------------------------------------------------------------------------------

    def _theirs(self, notice: Notice, family: int | None) -> Replacement:
        """The command's socket. Raises `OSError`: EBADF, ENOTSOCK."""
        return Replacement.of(notice, family, always=self._replacing)

    def _connect(self, notice: Notice, theirs: Replacement, target: bytes) -> int | None:
        with self._one:
            number = theirs.attempt(target)
        if number == errno.EINPROGRESS and theirs.blocks and _is_decided(theirs.socket):
            number = theirs.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        full = number == errno.EAGAIN and theirs.socket.family == socket.AF_UNIX
        if theirs.blocks and (full or number == errno.EINPROGRESS):
            return None
        if number in {0, errno.EINPROGRESS}:
            theirs.install()
        return -number


def _address(notice: Notice) -> bytes:
    size = notice.integer(2)
    if not 2 <= size <= MAX_ADDRESS_BYTES:
        raise OSError(errno.EINVAL, "")
    return notice.memory(1, size)


def _is_decided(connecting: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connecting, select.POLLOUT)
    return bool(poll.poll(SHORT_MS))


def _is_on_loopback(bound: socket.socket) -> bool:
    host = bound.getsockname()[0]
    return host == "::1" or host.removeprefix("::ffff:").startswith("127.")
