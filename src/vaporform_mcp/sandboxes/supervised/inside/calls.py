"""System calls by name: their numbers on the machines we know, and those that no sandbox may make.

Numbers: the kernel's asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64), Linux 6.15.
"""

from __future__ import annotations

__all__ = ["AUDIT", "DENIED", "MACHINES", "NEWEST", "numbers"]

MACHINES = ("x86_64", "aarch64")

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""What seccomp calls the machine, of linux/audit.h."""

NEWEST = 466
"""Calls above this did not exist when the lists were drawn up: they answer ENOSYS, as an older kernel would."""

_NONE = -1

_NUMBERS = {
    # Mounts, namespaces, and files by handle.
    **{"mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268)},
    **{"open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431)},
    **{"fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "quotactl_fd": (443, 443)},
    **{"name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "unshare": (272, 97), "clone": (56, 220)},
    **{"clone3": (435, 435), "openat2": (437, 437)},
    # Parts of the kernel that no namespace divides, or that were a way into it too often.
    **{"io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427)},
    **{"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280)},
    **{"perf_event_open": (298, 241), "userfaultfd": (323, 282), "kexec_load": (246, 104)},
    **{"kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273)},
    **{"delete_module": (176, 106), "create_module": (174, _NONE), "get_kernel_syms": (177, _NONE)},
    **{"query_module": (178, _NONE), "syslog": (103, 116), "swapon": (167, 224), "swapoff": (168, 225)},
    **{"reboot": (169, 142), "acct": (163, 89), "quotactl": (179, 60), "iopl": (172, _NONE), "ioperm": (173, _NONE)},
    **{"uselib": (134, _NONE), "sysfs": (139, _NONE), "_sysctl": (156, _NONE), "nfsservctl": (180, 42)},
    **{"lookup_dcookie": (212, 18), "fanotify_init": (300, 262), "kcmp": (312, 272)},
    # What takes a look at its arguments.
    **{"ioctl": (16, 29), "fcntl": (72, 25), "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203)},
    **{"bind": (49, 200), "listen": (50, 201), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269)},
    **{"setsockopt": (54, 208)},
    # Other processes.
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "prlimit64": (302, 261)},
    **{"sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setaffinity": (203, 122)},
    **{"sched_setattr": (314, 274), "setpriority": (141, 140), "ioprio_set": (251, 30), "kill": (62, 129)},
    **{"tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240)},
    **{"pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438)},
    **{"process_madvise": (440, 440), "migrate_pages": (256, 238), "move_pages": (279, 239)},
    # The attributes of files.
    **{"chmod": (90, _NONE), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, _NONE)},
    **{"fchown": (93, 55), "lchown": (94, _NONE), "fchownat": (260, 54), "utime": (132, _NONE), "utimes": (235, _NONE)},
    **{"futimesat": (261, _NONE), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6)},
    **{"fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16)},
    **{"setxattrat": (463, 463), "removexattrat": (466, 466)},
    # System V's and POSIX's messages, semaphores and memory.
    **{"shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193)},
    **{"semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188)},
    **{"msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181)},
    # What restricts.
    **{"seccomp": (317, 277), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445)},
    **{"landlock_restrict_self": (446, 446)},
}

DENIED = (
    *("mount", "umount2", "pivot_root", "chroot", "setns", "open_tree", "move_mount", "fsopen", "fsconfig"),
    *("fsmount", "fspick", "mount_setattr", "quotactl_fd", "name_to_handle_at", "open_by_handle_at"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key", "keyctl", "bpf"),
    *("perf_event_open", "userfaultfd", "kexec_load", "kexec_file_load", "init_module", "finit_module"),
    *("delete_module", "create_module", "get_kernel_syms", "query_module", "syslog", "swapon", "swapoff", "reboot"),
    *("acct", "quotactl", "iopl", "ioperm", "uselib", "sysfs", "_sysctl", "nfsservctl", "lookup_dcookie"),
    *("fanotify_init", "kcmp"),
)
"""They lead out of a namespace, are not divided by namespaces, or have been a way into the kernel too often."""


def numbers(machine: str) -> dict[str, int]:
    """The number of each call that this machine has. `KeyError` for a machine that is not of `MACHINES`."""
    which = {name: index for index, name in enumerate(MACHINES)}[machine]
    return {name: both[which] for name, both in _NUMBERS.items() if both[which] != _NONE}
