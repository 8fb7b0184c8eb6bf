"""The system call filter of a sandbox that has namespaces, as a BPF program that the kernel takes.

What it denies either leads out of a namespace (mounts, new namespaces, file handles), is not divided by namespaces
(keyrings, vsock, the kernel's log), has been a way into the kernel too often (bpf, io_uring, userfaultfd, perf), or
holds up the supervisor, which must stay able to end commands and itself (its limits, its scheduling, file leases).
"""

from __future__ import annotations

import errno
import platform
from collections.abc import Iterable

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.supervised.inside import bpf
from vaporform_mcp.sandboxes.supervised.inside.bpf import ALLOW, argument, choose, fail, give, if_equal, when
from vaporform_mcp.sandboxes.supervised.inside.calls import MACHINES, numbers

__all__ = ["MACHINES", "filter_program"]

_PROTOCOLS = (0, 1, 6, 17, 58)  # the default, ICMP, TCP, UDP, ICMPv6
_SUPERVISOR = 1  # its process number inside
_WHOLE_USER = {"setpriority": 2, "ioprio_set": 3}
"""Asked so, these mean all processes of the user, so the supervisor too."""

_ON_A_PROCESS = {
    **{"ptrace": 1, "process_vm_readv": 0, "process_vm_writev": 0, "prlimit64": 0, "sched_setparam": 0},
    **{"sched_setscheduler": 0, "sched_setaffinity": 0, "sched_setattr": 0, "setpriority": 1, "ioprio_set": 1},
}
"""Calls that name a process by its number, and which argument that is."""


def filter_program(machine: str | None = None) -> bytes:
    """The filter for this machine, or the one named.

    Raises:
        SandboxUnavailable: no filter for it is known, so nothing may run there.
    """
    name = machine or platform.machine()
    if name not in MACHINES:
        raise SandboxUnavailable(
            f"commands cannot be isolated on this kind of processor ({name})",
            hint=f"Local sandboxes run on {' and '.join(MACHINES)}. Use another provider here, such as Daytona.",
        )
    return bpf.encode(_program(name))


def _program(machine: str) -> Iterable[tuple[int, int, int, int]]:
    of = numbers(machine)
    yield from bpf.opening(machine)
    yield from when(of["fcntl"], [argument(1), *bpf.lease(fail(errno.EINVAL))])
    for name, index in _ON_A_PROCESS.items():
        steps = [argument(index), *if_equal(_SUPERVISOR, fail(errno.EPERM))]
        if name in _WHOLE_USER:
            steps += [argument(0), *if_equal(_WHOLE_USER[name], fail(errno.EPERM))]
        yield from when(of[name], steps)
    unsupported = fail(errno.EAFNOSUPPORT)
    yield from when(of["socketpair"], [argument(0), *if_equal(bpf.AF_UNIX, give(ALLOW)), unsupported])
    internet = bpf.only(2, _PROTOCOLS, fail(errno.EPROTONOSUPPORT))
    yield from when(
        of["socket"],
        [
            argument(0),
            *if_equal(bpf.AF_UNIX, give(ALLOW)),
            *choose(bpf.AF_INET, internet),
            *choose(bpf.AF_INET6, internet),
            *choose(bpf.AF_NETLINK, bpf.only(2, bpf.NETLINK_PROTOCOLS, fail(errno.EPROTONOSUPPORT))),
            unsupported,
        ],
    )
    yield give(ALLOW)
