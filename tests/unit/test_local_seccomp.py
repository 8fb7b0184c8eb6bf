"""The system call filter: what it answers, computed for both machines, and tried on this one."""

from __future__ import annotations

import errno
import json
import platform
import struct
import subprocess
import sys

import pytest

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local.seccomp import MACHINES, filter_program

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, KILLED = "allowed", "killed"

# Of asm/unistd_64.h and asm-generic/unistd.h, apart from the filter's own tables.
CALLS = {
    "x86_64": {
        **{"read": 0, "openat": 257, "clone": 56, "clone3": 435, "execve": 59, "socket": 41, "socketpair": 53},
        **{"ioctl": 16, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "unshare": 272},
        **{"mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "setns": 308, "open_by_handle_at": 304},
        **{"add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298, "syslog": 103},
        **{"userfaultfd": 323, "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313},
        **{"delete_module": 176, "swapon": 167, "swapoff": 168, "reboot": 169, "acct": 163, "quotactl": 179},
        **{"prlimit64": 302, "sched_setparam": 142, "sched_setscheduler": 144, "sched_setaffinity": 203},
        **{"sched_setattr": 314, "setpriority": 141, "ioprio_set": 251, "fcntl": 72},
    },
    "aarch64": {
        **{"read": 63, "openat": 56, "clone": 220, "clone3": 435, "execve": 221, "socket": 198, "socketpair": 199},
        **{"ioctl": 29, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "unshare": 97},
        **{"mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "setns": 268, "open_by_handle_at": 265},
        **{"add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241, "syslog": 116},
        **{"userfaultfd": 282, "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273},
        **{"delete_module": 106, "swapon": 224, "swapoff": 225, "reboot": 142, "acct": 89, "quotactl": 60},
        **{"prlimit64": 261, "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122},
        **{"sched_setattr": 274, "setpriority": 140, "ioprio_set": 30, "fcntl": 25},
    },
}
EVERYWHERE = {
    **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
    **{"mount_setattr": 442, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
}
ALWAYS_DENIED = [
    *("mount", "umount2", "pivot_root", "chroot", "setns", "open_by_handle_at", "add_key", "request_key", "keyctl"),
    *("bpf", "perf_event_open", "syslog", "userfaultfd", "kexec_load", "kexec_file_load", "init_module"),
    *("finit_module", "delete_module", "swapon", "swapoff", "reboot", "acct", "quotactl", *EVERYWHERE),
]


def run(machine: str, call: str | int, *arguments: int, audit: int | None = None) -> str:
    """What the kernel would do, by running the program as the kernel does."""
    number = call if isinstance(call, int) else {**CALLS[machine], **EVERYWHERE}[call]
    padded = [argument & (2**64 - 1) for argument in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<iIQ6Q", number, audit or AUDIT[machine], 0, *padded)
    program = list(struct.iter_unpack("HBBI", filter_program(machine)))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, operand = program[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x25:
                at += if_true if accumulator > operand else if_false
            case 0x45:
                at += if_true if accumulator & operand else if_false
            case 0x06:
                return answer(operand)
            case _:
                raise AssertionError(f"operation {operation:#x}")


def answer(value: int) -> str:
    if value == 0x7FFF0000:
        return ALLOWED
    if value == 0x80000000:
        return KILLED
    assert value >> 16 == 5
    return errno.errorcode[value & 0xFFFF]


@pytest.mark.parametrize("machine", MACHINES)
class TestFilter:
    def test_ordinary_calls_are_allowed(self, machine: str) -> None:
        assert {run(machine, call) for call in ("read", "openat", "execve")} == {ALLOWED}

    @pytest.mark.parametrize("call", ALWAYS_DENIED)
    def test_what_leads_out_is_denied(self, machine: str, call: str) -> None:
        assert run(machine, call) == "EPERM"

    def test_new_namespaces_are_denied_and_new_threads_are_not(self, machine: str) -> None:
        for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
            assert run(machine, "clone", flag | 17) == "EPERM"
            assert run(machine, "unshare", flag) == "EPERM"
        assert run(machine, "unshare", 0x80) == "EPERM"
        assert run(machine, "clone", 0x3D0F00) == ALLOWED
        assert run(machine, "clone", 17) == ALLOWED
        assert run(machine, "unshare", 0x400) == ALLOWED

    def test_clone3_is_as_if_it_did_not_exist(self, machine: str) -> None:
        assert run(machine, "clone3") == "ENOSYS"

    def test_calls_newer_than_the_list_are_as_if_they_did_not_exist(self, machine: str) -> None:
        assert {run(machine, number) for number in (467, 500, 0x40000000, 0x40000000 | 41)} == {"ENOSYS"}

    def test_only_families_that_a_namespace_divides_have_sockets(self, machine: str) -> None:
        unix, inet, inet6, netlink, packet, alg, vsock, bluetooth = 1, 2, 10, 16, 17, 38, 40, 31
        assert {run(machine, "socket", family) for family in (unix, inet, inet6)} == {ALLOWED}
        denied = {run(machine, "socket", family) for family in (packet, alg, vsock, bluetooth, 0, 255)}
        assert denied == {"EAFNOSUPPORT"}
        assert [run(machine, "socket", netlink, 3, protocol) for protocol in (0, 4, 9, 15, 16)] == [
            *(ALLOWED, ALLOWED, "EPROTONOSUPPORT", "EPROTONOSUPPORT", "EPROTONOSUPPORT")
        ]
        for family in (inet, inet6):
            assert {run(machine, "socket", family, 1, protocol) for protocol in (0, 1, 6, 17, 58)} == {ALLOWED}
            others = {run(machine, "socket", family, 1, protocol) for protocol in (132, 136, 256, 262)}
            assert others == {"EPROTONOSUPPORT"}
        assert run(machine, "socketpair", unix) == ALLOWED
        assert run(machine, "socketpair", vsock) == "EAFNOSUPPORT"

    def test_the_upper_half_of_an_argument_hides_nothing(self, machine: str) -> None:
        assert run(machine, "socket", 1 << 32 | 40) == "EAFNOSUPPORT"
        assert run(machine, "ioctl", 0, 1 << 32 | 0x5412) == "EPERM"

    def test_nothing_can_be_typed_into_a_terminal(self, machine: str) -> None:
        assert run(machine, "ioctl", 0, 0x5412) == "EPERM"
        assert run(machine, "ioctl", 0, 0x541C) == "EPERM"
        assert run(machine, "ioctl", 0, 0x5423) == "EPERM"
        assert run(machine, "ioctl", 0, 0x5413) == ALLOWED

    def test_the_supervisor_is_not_traced_and_others_are(self, machine: str) -> None:
        assert (run(machine, "ptrace", 16, 1), run(machine, "ptrace", 16, 2)) == ("EPERM", ALLOWED)
        for call in ("process_vm_readv", "process_vm_writev"):
            assert (run(machine, call, 1), run(machine, call, 2)) == ("EPERM", ALLOWED)

    def test_the_supervisors_limits_and_scheduling_are_not_changed_and_others_are(self, machine: str) -> None:
        for call in ("prlimit64", "sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr"):
            assert (run(machine, call, 1), run(machine, call, 0), run(machine, call, 2)) == ("EPERM", ALLOWED, ALLOWED)
        for call, process, user in (("setpriority", 0, 2), ("ioprio_set", 1, 3)):
            assert (run(machine, call, process, 1), run(machine, call, process, 2)) == ("EPERM", ALLOWED)
            assert run(machine, call, user, 0) == "EPERM"

    def test_no_lease_makes_the_supervisor_wait_for_a_file(self, machine: str) -> None:
        assert run(machine, "fcntl", 3, 1024) == "EINVAL"
        assert {run(machine, "fcntl", 3, command) for command in (0, 1, 2, 3, 4, 6, 1025, 1030)} == {ALLOWED}

    def test_calls_of_another_machine_end_the_process(self, machine: str) -> None:
        assert run(machine, "read", audit=0x40000003) == KILLED


def test_without_a_filter_for_the_machine_nothing_runs() -> None:
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        filter_program("riscv64")


PROBE = """
import ctypes, errno, json, sys
program = bytes.fromhex(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(program)
class Program(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]
loaded = Program(len(program) // 8, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(loaded), 0, 0) == 0
answers = {}
for name, number, arguments in json.loads(sys.argv[2]):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(one) for one in arguments])
    answers[name] = "allowed" if result >= 0 else errno.errorcode[ctypes.get_errno()]
print(json.dumps(answers))
"""


@pytest.mark.skipif(platform.machine() not in MACHINES, reason="no filter for this machine")
def test_the_kernel_takes_the_filter_and_answers_by_it() -> None:
    calls = CALLS[platform.machine()]
    asked = [
        ("vsock", calls["socket"], [40, 1, 0]),
        ("inet", calls["socket"], [2, 1, 0]),
        ("keyctl", calls["keyctl"], [0, -3, 0]),
        ("unshare", calls["unshare"], [0x10000000]),
        ("clone3", calls["clone3"], [0, 0]),
        ("io_uring_setup", 425, [8, 0]),
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROBE, filter_program().hex(), json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert json.loads(done.stdout) == {
        **{"vsock": "EAFNOSUPPORT", "inet": ALLOWED, "keyctl": "EPERM", "unshare": "EPERM"},
        **{"clone3": "ENOSYS", "io_uring_setup": "EPERM"},
    }
