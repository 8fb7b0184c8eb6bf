"""The words of a system call filter: a BPF program, as the kernel takes it from `seccomp`."""

from __future__ import annotations

import errno
import struct

from .calls import AUDIT, DENIED, NEWEST, numbers

__all__ = [
    "AF_INET",
    "AF_INET6",
    "AF_NETLINK",
    "AF_UNIX",
    "ALLOW",
    "NETLINK_PROTOCOLS",
    "NOTIFY",
    "argument",
    "choose",
    "encode",
    "fail",
    "give",
    "if_any_bit",
    "if_equal",
    "lease",
    "masked",
    "only",
    "opening",
    "unless_equal",
    "when",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Instruction = tuple[int, int, int, int]  # operation, jump if true, jump if false, operand

ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
_KILL, _ERRNO = 0x80000000, 0x00050000
_LOAD, _AND, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4

_NEW_NAMESPACES = 0x7E020000
_NEW_TIME_NAMESPACE = 0x80  # in clone these bits are the exit signal
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_TIOCSETD = 0x5423  # line disciplines, which load kernel modules
_F_SETLEASE = 1024  # whoever opens the file next waits: the supervisor would, for `fs.lease-break-time`
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NETLINK_PROTOCOLS = (0, 4)  # ROUTE and SOCK_DIAG: what `ip` and `ss` ask, and the supervisor for its ports


def opening(machine: str, *, ioctls: Sequence[int] = ()) -> list[Instruction]:
    """How every filter of ours begins: what no command may do, wherever it runs. `ioctls`: more that are denied.

    Each of its parts answers only for a call of its own, so the rest of the program sees every other.
    """
    of = numbers(machine)
    program = [(_LOAD, 0, 0, _ARCHITECTURE), (_JUMP_EQUAL, 1, 0, AUDIT[machine]), give(_KILL), (_LOAD, 0, 0, _NUMBER)]
    # Also every x32 call: those have bit 30 set.
    program += [(_JUMP_GREATER, 0, 1, NEWEST), fail(errno.ENOSYS)]
    for name in DENIED:
        if name in of:
            program += when(of[name], [fail(errno.EPERM)])
    # The C library then falls back to clone, whose flags can be seen here.
    program += when(of["clone3"], [fail(errno.ENOSYS)])
    program += when(of["clone"], [argument(0), *if_any_bit(_NEW_NAMESPACES, fail(errno.EPERM))])
    flags = _NEW_NAMESPACES | _NEW_TIME_NAMESPACE
    program += when(of["unshare"], [argument(0), *if_any_bit(flags, fail(errno.EPERM))])
    denied = [step for each in (_TIOCSTI, _TIOCLINUX, _TIOCSETD, *ioctls) for step in if_equal(each, fail(errno.EPERM))]
    program += when(of["ioctl"], [argument(1), *denied])
    return program


def lease(then: Instruction) -> list[Instruction]:
    """Of `fcntl`, with its command loaded."""
    return if_equal(_F_SETLEASE, then)


def encode(program: Iterable[Instruction]) -> bytes:
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def when(number: int, body: Sequence[Instruction]) -> list[Instruction]:
    """Do `body` for that call, and allow it where the body falls through."""
    steps = [*body, give(ALLOW)]
    return [(_JUMP_EQUAL, 0, len(steps), number), *steps]


def argument(index: int) -> Instruction:
    # The low half (both machines are little-endian): all that is looked at here are C ints, of which the kernel too
    # sees no more.
    return (_LOAD, 0, 0, 16 + 8 * index)


def choose(value: int, body: Sequence[Instruction]) -> list[Instruction]:
    """Do `body`, which must end in an answer, where that is loaded."""
    return [(_JUMP_EQUAL, 0, len(body), value), *body]


def only(index: int, values: Sequence[int], otherwise: Instruction) -> list[Instruction]:
    """Allow it where the argument is one of these."""
    return [argument(index), *(step for value in values for step in if_equal(value, give(ALLOW))), otherwise]


def if_equal(value: int, then: Instruction) -> list[Instruction]:
    return [(_JUMP_EQUAL, 0, 1, value), then]


def unless_equal(value: int, then: Instruction) -> list[Instruction]:
    return [(_JUMP_EQUAL, 1, 0, value), then]


def if_any_bit(mask: int, then: Instruction) -> list[Instruction]:
    return [(_JUMP_ANY_BIT, 0, 1, mask), then]


def masked(mask: int) -> Instruction:
    """Keep only these bits of what is loaded."""
    return (_AND, 0, 0, mask)


def give(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def fail(number: int) -> Instruction:
    return give(_ERRNO | number)
