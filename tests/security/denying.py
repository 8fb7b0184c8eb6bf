"""Run a program where namespaces are denied to it: python denying.py user|container|hidden PROGRAM ARGUMENT...

`user`: as the user who asks; the system call filter refuses new namespaces, as a distribution's policy does.
`container`: for root, what an ordinary container runtime gives: namespaces of its own, the usual fourteen
capabilities, parts of /proc hidden or read-only, and the calls refused that the runtimes' default profile refuses to a
container without further capabilities (https://docs.docker.com/engine/security/seccomp/).
`hidden`: a container whose /proc hides the processes of other users, and those that forbid to be inspected.
"""

# A program of its own, of system calls, written as such.
# ruff: noqa: PTH110, PTH112, S606

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)

NEW_NAMESPACES = 0x7E020000
NEWNS, NEWPID, NEWIPC, NEWUTS = 0x20000, 0x20000000, 0x08000000, 0x04000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    1 << 14,
    1 << 18,
)
SET_NO_NEW_PRIVILEGES, SET_SECCOMP, DROP_FROM_BOUNDING_SET = 38, 22, 24
ALLOW, ERRNO = 0x7FFF0000, 0x00050000

# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD,
# AUDIT_WRITE, SETFCAP: of linux/capability.h.
KEPT = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
HIDDEN = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/proc/scsi", "/sys/firmware")
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# Of asm/unistd_64.h and asm-generic/unistd.h.
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
UNSHARE = {"x86_64": 272, "aarch64": 97}
REFUSED = {
    "x86_64": (
        *(165, 166, 155, 308, 304, 303),  # mount, umount2, pivot_root, setns, open_by_handle_at, name_to_handle_at
        *(248, 249, 250, 321, 298, 323),  # add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd
        *(163, 169, 167, 168, 179, 103),  # acct, reboot, swapon, swapoff, quotactl, syslog
        *(175, 313, 176, 246, 320),  # the modules' and kexec's calls
        *(164, 227, 305, 172, 173),  # settimeofday, clock_settime, clock_adjtime, iopl, ioperm
        *(237, 238, 239, 256, 279, 312),  # mbind, set_mempolicy, get_mempolicy, migrate_pages, move_pages, kcmp
    ),
    "aarch64": (
        *(40, 39, 41, 268, 265, 264),
        *(217, 218, 219, 280, 241, 282),
        *(89, 142, 224, 225, 60, 116),
        *(105, 273, 106, 104, 294),
        *(170, 112, 266),
        *(235, 237, 236, 238, 239, 272),
    ),
}
CLONE3 = 435
REFUSED_EVERYWHERE = (
    *(425, 426, 427),  # io_uring
    *(428, 429, 430, 431, 432, 433, 442),  # the newer calls for mounts
    438,  # pidfd_getfd, which the profile gives with CAP_SYS_PTRACE only
)


def main() -> None:
    how, *words = sys.argv[1:]
    if how != "user":
        enter_container("hidepid=2" if how == "hidden" else None)
    load_filter(whole=how != "user")
    os.execvp(words[0], words)


def enter_container(hiding: str | None) -> None:
    if LIBC.unshare(NEWNS | NEWPID | NEWIPC | NEWUTS) and ctypes.get_errno() == errno.EPERM:
        return  # in such a container already
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, hiding)
    for path in HIDDEN:
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", MS_RDONLY)
        elif os.path.exists(path):
            mount("/dev/null", path, None, MS_BIND)
    for path in READ_ONLY:
        if os.path.exists(path):
            mount(path, path, None, MS_BIND | MS_REC)
            mount(path, path, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    # What root may do after the exec is what is left of this.
    for capability in range(64):
        if capability not in KEPT and LIBC.prctl(DROP_FROM_BOUNDING_SET, capability, 0, 0, 0):
            break


def load_filter(*, whole: bool) -> None:
    machine = platform.machine()
    steps = [(0x20, 0, 0, 4), (0x15, 1, 0, AUDIT[machine]), (6, 0, 0, ALLOW), (0x20, 0, 0, 0)]
    refused = (*REFUSED[machine], *REFUSED_EVERYWHERE) if whole else ()
    for number in (*refused, UNSHARE[machine]):
        steps += [(0x15, 0, 1, number), (6, 0, 0, ERRNO | errno.EPERM)]
    steps += [(0x15, 0, 1, CLONE3), (6, 0, 0, ERRNO | errno.ENOSYS)]
    steps += [
        (0x15, 0, 3, CLONE[machine]),
        (0x20, 0, 0, 16),
        (0x45, 0, 1, NEW_NAMESPACES),
        (6, 0, 0, ERRNO | errno.EPERM),
    ]
    steps += [(6, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))

    if not whole:  # an ordinary user may load a filter only so; a container's root may without
        check(LIBC.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no_new_privs")
    program = Program(len(steps), ctypes.addressof(code))
    if LIBC.prctl(SET_SECCOMP, 2, ctypes.byref(program), 0, 0):
        check(LIBC.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no_new_privs")
        check(LIBC.prctl(SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "seccomp")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind, options)]
    check(LIBC.mount(*words[:3], ctypes.c_ulong(flags), words[3]), f"mount {target}")


def check(result: int, what: str) -> None:
    if result:
        sys.exit(f"denying: {what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main()
