"""The system call filter of a sandbox without namespaces: what is denied, and what the supervisor is asked about."""

from __future__ import annotations

import ctypes
import errno

from . import bpf
from .bpf import ALLOW, NOTIFY, argument, fail, give, if_any_bit, if_equal, unless_equal, when
from .calls import numbers
from .libc import call

__all__ = ["ATTRIBUTES", "KILLS", "ON_A_PROCESS", "SOCKETS", "install", "kill_by", "program"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .bpf import Instruction

_SET_MODE_FILTER = 1
_NEW_LISTENER, _WAIT_KILLABLE_RECV = 8, 32

SOCKETS = ("connect", "bind", "listen")
ATTRIBUTES = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat"),
)
ON_A_PROCESS = {
    **{"prlimit64": 0, "sched_setparam": 0, "sched_setscheduler": 0, "sched_setaffinity": 0, "sched_setattr": 0},
    **{"setpriority": 1, "ioprio_set": 1},
}
"""Calls that name a process by its number, and which argument that is; 0 is whoever calls."""

KILLS = {
    **{"kill": (0,), "tkill": (0,), "tgkill": (0, 1), "rt_sigqueueinfo": (0,), "rt_tgsigqueueinfo": (0, 1)},
}
"""Calls that signal a process, and the arguments that name it."""

_WHOLE_USER = {"setpriority": 2, "ioprio_set": 3}
_EXTENDED = ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr")
_EXTENDED_AT = ("setxattrat", "removexattrat")
# Divided by an IPC namespace, which is not to be had: those of all programs of the user would be open.
_SHARED = (
    *("shmget", "shmat", "shmctl", "semget", "semop", "semctl", "semtimedop", "msgget", "msgsnd", "msgrcv", "msgctl"),
    *("mq_open", "mq_unlink"),
)
_MEMORY = ("process_madvise", "migrate_pages", "move_pages")

_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
_IOCTLS = (
    *(0x40086602, 0x401C5820),  # FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR: attributes, of files that need only be readable
    *(0x40087602, 0x40086604),  # FS_IOC_SETVERSION, EXT4_IOC_SETVERSION: likewise
    *(0x40806685, 0x800C6613),  # FS_IOC_ENABLE_VERITY, FS_IOC_SET_ENCRYPTION_POLICY
    *(_FIOSETOWN, _SIOCSPGRP),
)
_F_SETOWN, _F_SETOWN_EX = 8, 15
_SOCK_TYPE = 0xF
_STREAM, _SEQPACKET = 1, 5
_IPPROTO_IP, _IPPROTO_TCP = 0, 6
_MSG_FASTOPEN = 0x20000000
_LEADING_OUT = {
    0: (4, 50),  # SOL_IP: IP_OPTIONS, IP_UNICAST_IF
    1: (25, 62),  # SOL_SOCKET: SO_BINDTODEVICE, SO_BINDTOIFINDEX
    6: (19, 30),  # SOL_TCP: TCP_REPAIR, TCP_FASTOPEN_CONNECT
    41: (5, 6, 57, 76),  # SOL_IPV6: the older routing header and packet options, IPV6_RTHDR, IPV6_UNICAST_IF
}
"""Of linux/in.h, asm-generic/socket.h, linux/tcp.h and linux/in6.h: by their level."""


def program(machine: str, spawner: int, *, pass_word: Sequence[int] | None, host_network: bool) -> bytes:
    """`spawner` is the thread of the supervisor that starts commands, the one outsider among them. `pass_word` is None
    where Landlock keeps their signals from all others; else, whoever has it may kill, by `kill_by`, without asking.
    """
    of = numbers(machine)
    steps = bpf.opening(machine, ioctls=_IOCTLS)
    for name in (*_EXTENDED, *_EXTENDED_AT):
        steps += when(of[name], [fail(errno.ENOTSUP)])
    for name in _SHARED:
        steps += when(of[name], [fail(errno.ENOSYS)])
    for name in _MEMORY:
        steps += when(of[name], [fail(errno.EPERM)])
    for name in (*SOCKETS, *ATTRIBUTES):
        if name in of:
            steps += when(of[name], [give(NOTIFY)])
    for name, index in ON_A_PROCESS.items():
        body = [argument(0), *if_equal(_WHOLE_USER[name], fail(errno.EPERM))] if name in _WHOLE_USER else []
        steps += when(of[name], [*body, argument(index), *unless_equal(0, give(NOTIFY))])
    steps += _signals(of, spawner, pass_word)
    steps += _sockets(of, host_network=host_network)
    return bpf.encode([*steps, give(ALLOW)])


def install(code: bytes) -> int:
    """Filter this thread and what it starts from now on. Answers with the descriptor of what it asks about."""
    content = ctypes.create_string_buffer(code, len(code))
    described = _Program(len(code) // 8, ctypes.addressof(content))
    at = ctypes.addressof(described)
    # A signal does not make the caller ask again what has been done already.
    return call("seccomp", _SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE_RECV, at)


class _Program(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def kill_by(pass_word: Sequence[int], pid: int, number: int) -> None:
    """Signal a process although nobody may be left to ask. Raises `OSError`."""
    call("kill", pid, number, *pass_word)


def _signals(of: dict[str, int], spawner: int, pass_word: Sequence[int] | None) -> list[Instruction]:
    scoped = pass_word is None
    steps: list[Instruction] = []
    for name, indices in KILLS.items():
        body = [step for index in indices for step in (argument(index), *if_equal(spawner, fail(errno.EPERM)))]
        if pass_word is not None:
            if name == "kill":
                # In registers that the kernel does not look at; more than can be guessed.
                for index, word in enumerate(pass_word, start=2):
                    body += [argument(index), *unless_equal(word, give(NOTIFY))]
                body.append(give(ALLOW))
            body.append(give(NOTIFY))
        steps += when(of[name], body)
    steps += when(of["pidfd_open"], [argument(0), *if_equal(spawner, fail(errno.EPERM))])
    # It takes a folder of /proc too, that of the spawner among them. Programs have to know kernels without it.
    steps += when(of["pidfd_send_signal"], [fail(errno.ENOSYS)])
    owner = [argument(1), *bpf.lease(fail(errno.EINVAL)), *if_equal(_F_SETOWN_EX, fail(errno.EPERM))]
    if scoped:
        # SIGIO, or another that is asked for, would go to it.
        owner += [*unless_equal(_F_SETOWN, give(ALLOW)), argument(2), *if_equal(spawner, fail(errno.EPERM))]
    else:
        owner += if_equal(_F_SETOWN, fail(errno.EPERM))
    return steps + when(of["fcntl"], owner)


def _sockets(of: dict[str, int], *, host_network: bool) -> list[Instruction]:
    """Only what says where it goes by `connect`: no datagrams, and no other protocols over the same addresses."""
    connected = [argument(1), bpf.masked(_SOCK_TYPE)]
    connected += [*if_equal(_STREAM, give(ALLOW)), *if_equal(_SEQPACKET, give(ALLOW)), fail(errno.EPROTONOSUPPORT)]
    internet = [give(ALLOW)] if host_network else _tcp_only()
    netlink = bpf.only(2, bpf.NETLINK_PROTOCOLS, fail(errno.EPROTONOSUPPORT))
    body = [argument(0)]
    families = {bpf.AF_UNIX: connected, bpf.AF_INET: internet, bpf.AF_INET6: internet, bpf.AF_NETLINK: netlink}
    for family, then in families.items():
        body += bpf.choose(family, then)
    steps = when(of["socket"], [*body, fail(errno.EAFNOSUPPORT)])
    pair = [argument(0), *unless_equal(bpf.AF_UNIX, fail(errno.EAFNOSUPPORT)), *connected]
    steps += when(of["socketpair"], pair)
    if not host_network:
        steps += when(of["setsockopt"], _options())
        # It connects while it sends.
        for name, index in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
            steps += when(of[name], [argument(index), *if_any_bit(_MSG_FASTOPEN, fail(errno.EOPNOTSUPP))])
    return steps


def _options() -> list[Instruction]:
    """None that leads what goes to the loopback elsewhere, nor connects while it sends."""
    body = [argument(1)]
    for level, options in _LEADING_OUT.items():
        denied = [step for option in options for step in if_equal(option, fail(errno.ENOPROTOOPT))]
        body += bpf.choose(level, [argument(2), *denied, give(ALLOW)])
    return body


def _tcp_only() -> list[Instruction]:
    return [
        argument(1),
        bpf.masked(_SOCK_TYPE),
        *unless_equal(_STREAM, fail(errno.EPERM)),
        argument(2),
        *if_equal(_IPPROTO_IP, give(ALLOW)),
        *if_equal(_IPPROTO_TCP, give(ALLOW)),
        fail(errno.EPROTONOSUPPORT),
    ]
