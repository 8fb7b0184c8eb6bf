"""What is tried from inside a sandbox, and what must come of it at each level of isolation.

A word in braces stands for what a test fills in: `workspace`, `home` and `tmp` as the sandbox has them, `supervisor`
(its process as seen inside) and `code` (a file of its program); of the host `tcp` (a port), `address`, `path` and
`abstract` (sockets), `pid` (a process), `file` (a private one of the server's user) and `folder` (that it is in).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["NEIGHBOUR", "TABLE", "Answers"]

NEIGHBOUR = "a-file-of-another-workspace"

NO_PRIVILEGES = " ".join(
    [*(f"Cap{name}=0000000000000000" for name in ("Inh", "Prm", "Eff", "Amb")), "NoNewPrivs=1", "Seccomp=2"]
)
REFUSED = ("EACCES", "EPERM", "ENOENT")

# Sentences of docs/security.md, each about what the restricted level leaves open and namespaces do not.
METADATA = "can be found out"
PROCESSES = "command lines"
NAMES = "users, host name and name servers"
TEMPORARY = "$TMPDIR"


@dataclass(frozen=True, slots=True)
class Answers:
    """Any of these must come of it; one that ends with `*` is a beginning. `gap`: what docs/security.md calls it."""

    namespaces: tuple[str, ...]
    restricted: tuple[str, ...]
    gap: str | None = None


def same(*answers: str) -> Answers:
    return Answers(answers, answers)


def differs(namespaces: str | tuple[str, ...], restricted: str | tuple[str, ...], gap: str | None = None) -> Answers:
    """Without a `gap`, both levels refuse it, each in its own words."""
    one, other = ((each,) if isinstance(each, str) else each for each in (namespaces, restricted))
    return Answers(one, other, gap)


TABLE: Mapping[str, Answers] = {
    # Files of the host
    "listed /": differs(".vf,bin,*", "EACCES"),
    "listed /root": differs("ENOENT", "EACCES"),
    "listed /home": differs("user", "EACCES"),
    "listed /sys": differs("ENOENT", "EACCES"),
    "listed /mnt": differs("ENOENT", ("EACCES", "ENOENT")),
    "listed /tmp": differs(("empty", "vaporform"), "EACCES"),
    "read /etc/shadow": differs("ENOENT", "EACCES"),
    "read /etc/machine-id": differs("ENOENT", ("EACCES", "ENOENT")),
    "read /etc/ssh/ssh_config": differs("ENOENT", ("EACCES", "ENOENT")),
    "read /var/log/syslog": differs("ENOENT", ("EACCES", "ENOENT")),
    "listed /var/lib": differs("ENOENT", "EACCES"),
    "read /etc/passwd": differs("read b'root:x:0:0:root:'", "read b'*", NAMES),
    f"found {NEIGHBOUR}": same("nothing"),
    "found id_rsa": same("nothing"),
    "found docker.sock": same("nothing"),
    "found pid.json": same("nothing"),
    "written /usr/bin/new": differs("EROFS", "EACCES"),
    "written /etc/passwd": differs("EROFS", "EACCES"),
    "written /etc/resolv.conf": differs("EROFS", "EACCES"),
    "written /new": differs("EROFS", "EACCES"),
    "written {code}": differs(("EROFS", "EACCES"), "EACCES"),
    "written /dev/new": differs("EROFS", "EACCES"),
    "replaced {code}": same("EBUSY", "EROFS", "EACCES", "EXDEV"),
    "replaced {workspace}": same("EBUSY", "EROFS", "EACCES", "EXDEV"),
    "replaced /usr": same("EBUSY", "EROFS", "EACCES", "EXDEV"),
    "writable_on_system": differs("nothing", "EACCES"),
    "hard_linked /usr/bin/env {workspace}/env": same("EXDEV", "EPERM", "EACCES"),
    "hard_linked {home}/.a {workspace}/a": same("EXDEV", "ENOENT"),
    "hard_linked {file} {workspace}/a": same(*REFUSED, "EXDEV"),
    "read {file}": differs("ENOENT", "EACCES"),
    "read_through_link {file}": differs("ENOENT", "EACCES"),
    "written {file}": differs(("ENOENT", "EROFS"), "EACCES"),
    "replaced {file}": same(*REFUSED, "EXDEV", "EROFS"),
    "cut {file}": differs("ENOENT", "EACCES"),
    "removed {file}": differs("ENOENT", ("EACCES", "EPERM")),
    "made_folder {folder}/new": differs(("ENOENT", "EROFS"), "EACCES"),
    "changed_mode {file}": differs("ENOENT", ("EPERM", "EACCES")),
    "changed_mode_of_open {file}": differs("ENOENT", ("EPERM", "EACCES")),
    "changed_times {file}": differs("ENOENT", ("EPERM", "EACCES")),
    "changed_attributes {file}": differs("ENOENT", ("EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP")),
    "seen {file}": differs("ENOENT", ("seen", "EACCES"), METADATA),
    "seen /etc/shadow": differs("ENOENT", "seen", METADATA),
    "entered /etc": same("entered"),
    "entered /var/lib": differs("ENOENT", "entered", METADATA),
    "watched /etc/shadow": differs("ENOENT", ("EACCES", "EPERM", "ENOSYS", "watched"), METADATA),
    # The kernel's settings and the host's processes
    "writable_in_proc": same("nothing"),
    "read /proc/kcore": same("EACCES", "EPERM", "ENOENT"),
    "read /proc/keys": same("EACCES", "read b''", "ENOENT"),
    "read /proc/timer_list": same("EACCES", "EPERM", "ENOENT"),
    "numbers_seen": differs("few", "many", PROCESSES),
    "command_of {pid}": differs("ENOENT", "*", PROCESSES),
    "read /proc/{pid}/environ": differs("ENOENT", ("EACCES", "EPERM")),
    "read /proc/{pid}/maps": differs("ENOENT", ("EACCES", "EPERM")),
    "written /proc/{pid}/mem": differs(("ENOENT", "EROFS"), ("EACCES", "EPERM")),
    "listed /proc/{pid}/cwd": differs("ENOENT", ("EACCES", "EPERM")),
    "listed /proc/{pid}/root": differs("ENOENT", ("EACCES", "EPERM")),
    "traced {pid}": differs("ESRCH", "EPERM"),
    "killed {pid}": differs("ESRCH", "EPERM"),
    "reniced {pid}": differs(("ESRCH", "EPERM"), ("EPERM", "ESRCH")),
    "limited {pid}": differs(("ESRCH", "EPERM"), ("EPERM", "ESRCH")),
    "stolen_descriptor {pid}": differs(("EBADF", "EPERM"), ("EBADF", "EPERM")),
    "read_memory_of {pid}": differs(("ESRCH", "EPERM"), "EPERM"),
    "called sched_setaffinity {pid} 0 0": differs(("ESRCH", "EPERM"), ("EPERM", "ESRCH")),
    "called syslog 3 0 0": same("EPERM"),
    "hostname": differs("sandbox", "*", NAMES),
    # The supervisor
    "listed /proc/{supervisor}/root": same("EACCES", "EPERM"),
    "listed /proc/{supervisor}/fd": same("EACCES", "EPERM"),
    "listed /proc/{supervisor}/cwd": same("EACCES", "EPERM"),
    "read /proc/{supervisor}/environ": same("EACCES", "EPERM"),
    "read /proc/{supervisor}/maps": same("EACCES", "EPERM"),
    "written /proc/{supervisor}/mem": same("EACCES", "EPERM"),
    "traced {supervisor}": same("EPERM"),
    "killed {supervisor}": differs("sent", "EPERM"),  # the kernel keeps the first from a namespace's first process
    "read_memory_of {supervisor}": same("EPERM"),
    "stolen_descriptor {supervisor}": same("EPERM"),
    "limited {supervisor}": same("EPERM"),
    "called sched_setscheduler {supervisor} 5 0": same("EPERM"),
    "called sched_setaffinity {supervisor} 0 0": same("EPERM"),
    "called setpriority 0 {supervisor} 19": same("EPERM"),
    "called setpriority 2 0 19": same("EPERM"),
    "leased {workspace}/lease": same("EINVAL"),
    "unix_sockets": differs("nothing", "*", PROCESSES),
    # Namespaces and mounts
    "called mount none /tmp tmpfs 0 0": same("EPERM"),
    "called fsopen tmpfs 0": same("EPERM"),
    "called open_tree -100 / 1": same("EPERM"),
    "called move_mount -1 / -100 /tmp 4": same("EPERM"),
    "called mount_setattr -100 / 0 0 0": same("EPERM"),
    "called unshare 0x10000000": same("EPERM"),
    "called unshare 0x00020000": same("EPERM"),
    "called unshare 0x00000080": same("EPERM"),
    "called clone 0x10000011 0 0 0 0": same("EPERM"),
    "called clone3 0 0": same("ENOSYS"),
    "called setns 0 0": same("EPERM"),
    "called chroot /tmp": same("EPERM"),
    "called pivot_root /tmp /tmp": same("EPERM"),
    # Kernel interfaces that are not divided by namespaces, or that have been ways in
    "called open_by_handle_at 0 0 0": same("EPERM"),
    "called keyctl 0 -3 0": same("EPERM"),
    "called add_key user x y 1 -2": same("EPERM"),
    "called bpf 0 0 0": same("EPERM"),
    "called perf_event_open 0 0 -1 -1 0": same("EPERM"),
    "called io_uring_setup 8 0": same("EPERM"),
    "called userfaultfd 0": same("EPERM"),
    "called reboot 0 0 0 0": same("EPERM"),
    "called finit_module 0 0 0": same("EPERM"),
    "called swapon / 0": same("EPERM"),
    "called x32": same("ENOSYS"),
    "devices": differs("nothing", "EACCES"),
    "device_made": differs("EPERM", ("EPERM", "EACCES")),
    "typed_into_terminal": differs(("EPERM", "EIO"), ("EACCES", "EPERM")),
    "terminals": differs(("nothing", "many"), "EACCES"),
    "read /dev/tty": same("ENXIO"),
    "listed /dev/shm": differs("empty", "EACCES"),
    "shared_memory": same("locked"),
    # Users and privileges
    "privileges": differs((f"{NO_PRIVILEGES} Groups=", f"{NO_PRIVILEGES} Groups=1000"), f"{NO_PRIVILEGES} Groups=*"),
    "suid_of_own_making": same("its own"),
    "suid_of_the_system": same("refused"),
    "became 0": same("EPERM", "EINVAL"),
    "regrouped": same("EPERM"),
    "given_away": same("EPERM", "EINVAL"),
    # The network
    "connected 127.0.0.1:{tcp}": same("ECONNREFUSED"),
    "connected {address}:{tcp}": differs("ENETUNREACH", ("ENETUNREACH", "ECONNREFUSED")),
    "connected 169.254.169.254:80": same("ENETUNREACH"),
    "connected 1.1.1.1:443": same("ENETUNREACH"),
    "sent_fast_open 127.0.0.1:{tcp}": differs("ECONNREFUSED", ("ECONNREFUSED", "EOPNOTSUPP", "ENOTSUP", "EPERM")),
    "bound 0.0.0.0:0": differs("0.0.0.0", "127.0.0.1"),  # noqa: S104  # that is the attempt
    "bound {address}:0": differs("EADDRNOTAVAIL", ("EADDRNOTAVAIL", "EACCES", "EPERM", "127.0.0.1")),
    "listened_without_bind": differs("0.0.0.0", "127.0.0.1"),  # noqa: S104
    "connected_unix {path}": differs("ENOENT", "EACCES"),
    "connected_unix {abstract}": same("ECONNREFUSED"),
    "connected_unix /run/docker.sock": differs("ENOENT", ("ENOENT", "EACCES")),
    "connected_unix /run/dbus/system_bus_socket": differs("ENOENT", ("ENOENT", "EACCES")),
    "resolved localhost": same("127.0.0.1", "::1"),
    "resolved example.com": same("unknown"),
    "opened_socket 2 2 0": differs("opened", "EPERM"),  # UDP
    "opened_socket 2 3 1": same("EPERM"),  # raw
    "opened_socket 2 1 262": differs(("opened", "EPROTONOSUPPORT"), ("EPROTONOSUPPORT", "EPERM")),  # MPTCP
    "opened_socket 17 3 0": same("EAFNOSUPPORT"),  # packet
    "opened_socket 40 1 0": same("EAFNOSUPPORT"),  # vsock
    "opened_socket 38 5 0": same("EAFNOSUPPORT"),  # alg
    "opened_socket 16 3 9": same("EPROTONOSUPPORT"),  # netlink: audit
    "opened_socket 16 3 15": same("EPROTONOSUPPORT"),  # netlink: device events
    # Limits
    "filled {workspace}/fill 64": same("EFBIG"),
    "filled {tmp}/fill 24": differs("ENOSPC", "filled", TEMPORARY),
    "filled /run/fill 24": differs("ENOSPC", ("EACCES", "ENOENT")),
    "memory 40": same("MemoryError"),
    "forked 200": same("refused"),
    "core_size": same("0"),
    # What the host says of itself
    "environment": same("nothing"),
}
