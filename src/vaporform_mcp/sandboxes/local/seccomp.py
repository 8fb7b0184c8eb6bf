"""The system call filter of a sandbox, as a BPF program that the kernel takes.

What it denies either leads out of a namespace (mounts, new namespaces, file handles), is not divided by namespaces
(keyrings, vsock, the kernel's log), has been a way into the kernel too often (bpf, io_uring, userfaultfd, perf), or
holds up the supervisor, which must stay able to end commands and itself (its limits, its scheduling, file leases).
Numbers: the kernel's asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64), Linux 6.15.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vaporform_mcp.errors import SandboxUnavailable

__all__ = ["MACHINES", "filter_program"]

MACHINES = ("x86_64", "aarch64")

_NEWEST = 466
"""Calls above this did not exist when the list was drawn up: they answer ENOSYS, as an older kernel would."""

_Instruction = tuple[int, int, int, int]  # operation, jump if true, jump if false, operand

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE = 0, 4

_NEW_NAMESPACES = 0x7E020000
_NEW_TIME_NAMESPACE = 0x80  # in clone these bits are the exit signal
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_TIOCSETD = 0x5423  # line disciplines, which load kernel modules
_PROTOCOLS = (0, 1, 6, 17, 58)  # the default, ICMP, TCP, UDP, ICMPv6
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE, _NETLINK_SOCK_DIAG = 0, 4  # what `ip` and `ss` ask, and the supervisor for its ports
_SUPERVISOR = 1  # its process number inside
_F_SETLEASE = 1024  # whoever opens the file next waits: the supervisor would, for `fs.lease-break-time`
_PRIO_USER, _IOPRIO_WHO_USER = 2, 3  # all processes of the user, so the supervisor too


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    denied: tuple[int, ...]
    clone: int
    clone3: int
    unshare: int
    ioctl: int
    socket: int
    socketpair: int
    fcntl: int
    setpriority: int
    ioprio_set: int
    on_a_process: tuple[tuple[int, int], ...]
    """Calls that name a process by its number, and which argument that is."""


_COMMON = (
    *(428, 429, 430, 431, 432, 433, 442),  # open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr
    *(425, 426, 427),  # io_uring_setup, io_uring_enter, io_uring_register
    443,  # quotactl_fd
)
_TABLE = {
    "x86_64": _Machine(
        audit=0xC000003E,
        denied=(
            *_COMMON,
            *(165, 166, 155, 161),  # mount, umount2, pivot_root, chroot
            *(308, 303, 304),  # setns, name_to_handle_at, open_by_handle_at
            *(248, 249, 250),  # add_key, request_key, keyctl
            *(321, 298, 323),  # bpf, perf_event_open, userfaultfd
            *(246, 320, 175, 313, 176, 174, 177, 178),  # kexec_load, kexec_file_load, the modules' calls
            *(103, 167, 168, 169, 163, 179),  # syslog, swapon, swapoff, reboot, acct, quotactl
            *(172, 173, 134, 139, 156, 180, 212),  # iopl, ioperm, uselib, sysfs, _sysctl, nfsservctl, lookup_dcookie
            *(300, 312),  # fanotify_init, kcmp
        ),
        clone=56,
        clone3=435,
        unshare=272,
        ioctl=16,
        socket=41,
        socketpair=53,
        fcntl=72,
        setpriority=141,
        ioprio_set=251,
        on_a_process=(
            *((101, 1), (310, 0), (311, 0)),  # ptrace, process_vm_readv, process_vm_writev
            *((302, 0), (142, 0), (144, 0)),  # prlimit64, sched_setparam, sched_setscheduler
            *((203, 0), (314, 0)),  # sched_setaffinity, sched_setattr
            *((141, 1), (251, 1)),  # setpriority, ioprio_set
        ),
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        denied=(
            *_COMMON,
            *(40, 39, 41, 51),  # mount, umount2, pivot_root, chroot
            *(268, 264, 265),  # setns, name_to_handle_at, open_by_handle_at
            *(217, 218, 219),  # add_key, request_key, keyctl
            *(280, 241, 282),  # bpf, perf_event_open, userfaultfd
            *(104, 294, 105, 273, 106),  # kexec_load, kexec_file_load, init_module, finit_module, delete_module
            *(116, 224, 225, 142, 89, 60),  # syslog, swapon, swapoff, reboot, acct, quotactl
            *(42, 18),  # nfsservctl, lookup_dcookie
            *(262, 272),  # fanotify_init, kcmp
        ),
        clone=220,
        clone3=435,
        unshare=97,
        ioctl=29,
        socket=198,
        socketpair=199,
        fcntl=25,
        setpriority=140,
        ioprio_set=30,
        on_a_process=(
            *((117, 1), (270, 0), (271, 0)),  # ptrace, process_vm_readv, process_vm_writev
            *((261, 0), (118, 0), (119, 0)),  # prlimit64, sched_setparam, sched_setscheduler
            *((122, 0), (274, 0)),  # sched_setaffinity, sched_setattr
            *((140, 1), (30, 1)),  # setpriority, ioprio_set
        ),
    ),
}


def filter_program(machine: str | None = None) -> bytes:
    """The filter for this machine, or the one named.

    Raises:
        SandboxUnavailable: no filter for it is known, so nothing may run there.
    """
    name = machine or platform.machine()
    calls = _TABLE.get(name)
    if calls is None:
        raise SandboxUnavailable(
            f"commands cannot be isolated on this kind of processor ({name})",
            hint=f"Local sandboxes run on {' and '.join(MACHINES)}. Use another provider here, such as Daytona.",
        )
    return b"".join(struct.pack("HBBI", *instruction) for instruction in _program(calls))


def _program(calls: _Machine) -> Iterable[_Instruction]:
    yield from [(_LOAD, 0, 0, _ARCHITECTURE), (_JUMP_EQUAL, 1, 0, calls.audit), _give(_KILL)]
    yield (_LOAD, 0, 0, _NUMBER)
    # Also every x32 call: those have bit 30 set.
    yield from [(_JUMP_GREATER, 0, 1, _NEWEST), _fail(errno.ENOSYS)]
    for number in calls.denied:
        yield from _when(number, [_fail(errno.EPERM)])
    # The C library then falls back to clone, whose flags can be seen here.
    yield from _when(calls.clone3, [_fail(errno.ENOSYS)])
    yield from _when(calls.clone, [_argument(0), *_if_any_bit(_NEW_NAMESPACES, _fail(errno.EPERM))])
    flags = _NEW_NAMESPACES | _NEW_TIME_NAMESPACE
    yield from _when(calls.unshare, [_argument(0), *_if_any_bit(flags, _fail(errno.EPERM))])
    yield from _when(
        calls.ioctl,
        [
            _argument(1),
            *_if_equal(_TIOCSTI, _fail(errno.EPERM)),
            *_if_equal(_TIOCLINUX, _fail(errno.EPERM)),
            *_if_equal(_TIOCSETD, _fail(errno.EPERM)),
        ],
    )
    yield from _when(calls.fcntl, [_argument(1), *_if_equal(_F_SETLEASE, _fail(errno.EINVAL))])
    whole_user = {calls.setpriority: _PRIO_USER, calls.ioprio_set: _IOPRIO_WHO_USER}
    for number, argument in calls.on_a_process:
        steps = [_argument(argument), *_if_equal(_SUPERVISOR, _fail(errno.EPERM))]
        if number in whole_user:
            steps += [_argument(0), *_if_equal(whole_user[number], _fail(errno.EPERM))]
        yield from _when(number, steps)
    unsupported = _fail(errno.EAFNOSUPPORT)
    yield from _when(calls.socketpair, [_argument(0), *_if_equal(_AF_UNIX, _give(_ALLOW)), unsupported])
    unknown = _fail(errno.EPROTONOSUPPORT)
    netlink = _only(2, (_NETLINK_ROUTE, _NETLINK_SOCK_DIAG), otherwise=unknown)
    yield from _when(
        calls.socket,
        [
            _argument(0),
            *_if_equal(_AF_UNIX, _give(_ALLOW)),
            (_JUMP_EQUAL, len(netlink) + 3, 0, _AF_INET),
            (_JUMP_EQUAL, len(netlink) + 2, 0, _AF_INET6),
            (_JUMP_EQUAL, 1, 0, _AF_NETLINK),
            unsupported,
            *netlink,
            *_only(2, _PROTOCOLS, otherwise=unknown),
        ],
    )
    yield _give(_ALLOW)


def _when(number: int, body: Sequence[_Instruction]) -> list[_Instruction]:
    """Do `body` for that call, and allow it where the body falls through."""
    steps = [*body, _give(_ALLOW)]
    return [(_JUMP_EQUAL, 0, len(steps), number), *steps]


def _argument(index: int) -> _Instruction:
    # The low half (both machines are little-endian): all that is looked at here are C ints, of which the kernel too
    # sees no more.
    return (_LOAD, 0, 0, 16 + 8 * index)


def _if_equal(value: int, then: _Instruction) -> list[_Instruction]:
    return [(_JUMP_EQUAL, 0, 1, value), then]


def _only(index: int, values: Sequence[int], *, otherwise: _Instruction) -> list[_Instruction]:
    """Allow it where the argument is one of these."""
    allowed = [step for value in values for step in _if_equal(value, _give(_ALLOW))]
    return [_argument(index), *allowed, otherwise]


def _if_any_bit(mask: int, then: _Instruction) -> list[_Instruction]:
    return [(_JUMP_ANY_BIT, 0, 1, mask), then]


def _give(action: int) -> _Instruction:
    return (_RETURN, 0, 0, action)


def _fail(number: int) -> _Instruction:
    return _give(_ERRNO | number)
