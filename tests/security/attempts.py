"""Attempts to get out of a sandbox. Run inside one, as a program: the name of an attempt, then its arguments.

It prints what came of it in one word: the errno that refused it, or what was reached. It changes no setting of the
kernel even where it could: whether it could is asked with access(2).
"""

# What is tried are system calls, so they are written as such.
# ruff: noqa: PTH100, PTH101, PTH102, PTH104, PTH106, PTH108, PTH112, PTH113, PTH118, PTH116, PTH123, PTH208, PTH211

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import termios

# Of asm/unistd_64.h and asm-generic/unistd.h.
X86_64 = {
    **{"ptrace": 101, "vm_readv": 310, "mount": 165, "unshare": 272, "setns": 308, "chroot": 161, "pivot_root": 155},
    **{"clone": 56, "open_by_handle_at": 304, "syslog": 103, "keyctl": 250, "add_key": 248, "bpf": 321},
    **{"perf_event_open": 298, "userfaultfd": 323, "reboot": 169, "finit_module": 313, "swapon": 167},
    **{"sched_setscheduler": 144, "sched_setaffinity": 203, "setpriority": 141},
}
AARCH64 = {
    **{"ptrace": 117, "vm_readv": 270, "mount": 40, "unshare": 97, "setns": 268, "chroot": 51, "pivot_root": 41},
    **{"clone": 220, "open_by_handle_at": 265, "syslog": 116, "keyctl": 219, "add_key": 217, "bpf": 280},
    **{"perf_event_open": 241, "userfaultfd": 282, "reboot": 142, "finit_module": 273, "swapon": 224},
    **{"sched_setscheduler": 119, "sched_setaffinity": 122, "setpriority": 140},
}
EVERYWHERE = {
    **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "mount_setattr": 442, "io_uring_setup": 425},
    **{"clone3": 435, "pidfd_open": 434, "pidfd_getfd": 438, "x32": 0x40000000 | 39},
}
NUMBERS = {**(X86_64 if platform.machine() == "x86_64" else AARCH64), **EVERYWHERE}
LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    if not os.path.isdir("/.vf/inside") and "SANDBOX_TAG" not in os.environ:
        sys.exit("this is no sandbox")
    name, *arguments = sys.argv[1:]
    try:
        said = ATTEMPTS[name](*arguments)
    except OSError as error:
        said = errno.errorcode.get(error.errno or 0, str(error))
    except MemoryError:
        said = "MemoryError"
    sys.stdout.write(f"{said}\n")


def call(name: str, *arguments: int | bytes | None) -> str:
    """Make a system call: "allowed", or the errno."""
    converted = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    ctypes.set_errno(0)
    if LIBC.syscall(ctypes.c_long(NUMBERS[name]), *converted) >= 0:
        return "allowed"
    return errno.errorcode[ctypes.get_errno()]


def called(name: str, *arguments: str) -> str:
    """Arguments that are numbers are passed as such, others as text."""
    return call(name, *[int(one, 0) if one.lstrip("-")[:1].isdigit() else one.encode() for one in arguments])


def listed(path: str) -> str:
    return ",".join(sorted(os.listdir(path))) or "empty"


def read(path: str) -> str:
    with open(path, "rb") as source:
        return f"read {source.read(16)!r}"


def written(path: str) -> str:
    with open(path, "ab"):
        return "opened"


def replaced(path: str) -> str:
    os.rename(path, f"{path}.old")
    return "renamed"


def seen(path: str) -> str:
    os.stat(path)
    return "seen"


def entered(path: str) -> str:
    os.chdir(path)
    return "entered"


def watched(path: str) -> str:
    descriptor = LIBC.inotify_init1(os.O_CLOEXEC)
    ctypes.set_errno(0)
    if LIBC.inotify_add_watch(descriptor, path.encode(), 0x2) >= 0:
        return "watched"
    return errno.errorcode[ctypes.get_errno()]


def changed_mode(path: str) -> str:
    os.chmod(path, 0o644)
    return "changed"


def changed_mode_of_open(path: str) -> str:
    descriptor = os.open(path, os.O_PATH)
    os.chmod(f"/proc/self/fd/{descriptor}", 0o644)
    return "changed"


def changed_times(path: str) -> str:
    os.utime(path, (1, 1))
    return "changed"


def changed_attributes(path: str) -> str:
    os.setxattr(path, "user.x", b"x")
    return "changed"


def cut(path: str) -> str:
    os.truncate(path, 0)
    return "cut"


def removed(path: str) -> str:
    os.unlink(path)
    return "removed"


def made_folder(path: str) -> str:
    os.mkdir(path)
    os.rmdir(path)
    return "made"


def read_through_link(path: str) -> str:
    link = f"link-{os.getpid()}"
    os.symlink(path, link)
    try:
        return read(link)
    finally:
        os.unlink(link)


def listened_without_bind() -> str:
    """The kernel then gives it a port at every address, the LAN's among them."""
    with socket.socket(socket.AF_INET) as sock:
        sock.listen()
        return str(sock.getsockname()[0])


def bound(address: str) -> str:
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET) as sock:
        sock.bind((host, int(port)))
        sock.listen()
        return str(sock.getsockname()[0])


def sent_fast_open(address: str) -> str:
    """A connection that no call to connect makes."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET) as sock:  # whose wait has no bound: another way would be taken with one
        sock.sendto(b"x", 0x20000000, (host, int(port)))
    return "sent"


def terminals() -> str:
    return "many" if len(set(os.listdir("/dev/pts")) - {"ptmx"}) else "nothing"


def shared_memory() -> str:
    import multiprocessing

    with multiprocessing.Lock():
        return "locked"


def read_memory_of(pid: str) -> str:
    buffer = ctypes.create_string_buffer(8)
    here, there = ((ctypes.c_void_p * 2)(address, 8) for address in (ctypes.addressof(buffer), 0x1000))
    return call("vm_readv", int(pid), ctypes.addressof(here), 1, ctypes.addressof(there), 1, 0)


def reniced(pid: str) -> str:
    os.setpriority(os.PRIO_PROCESS, int(pid), 19)
    return "reniced"


def connected(address: str) -> str:
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET) as sock:
        sock.settimeout(5)
        sock.connect((host, int(port)))
    return "connected"


def connected_unix(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path.replace("@", "\0", 1) if path.startswith("@") else path)
    return "connected"


def opened_socket(family: str, kind: str, protocol: str) -> str:
    socket.socket(int(family), int(kind), int(protocol)).close()
    return "opened"


def found(name: str) -> str:
    hits = [
        os.path.join(folder, name)
        for folder, folders, files in os.walk("/", onerror=None)
        if not folder.startswith("/proc") and (name in files or name in folders)
    ]
    return ",".join(hits) or "nothing"


def killed(pid: str) -> str:
    os.kill(int(pid), signal.SIGKILL)
    return "sent"


def traced(pid: str) -> str:
    attach = 16
    return call("ptrace", attach, int(pid), 0, 0)


def limited(pid: str) -> str:
    """Few open files would keep a supervisor from everything, as the same user may without privileges."""
    resource.prlimit(int(pid), resource.RLIMIT_NOFILE, (12, 12))
    return "limited"


def leased(path: str) -> str:
    """Whoever opens a leased file waits for its holder, a supervisor that reads it too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    return "leased"


def stolen_descriptor(pid: str) -> str:
    held = LIBC.syscall(ctypes.c_long(NUMBERS["pidfd_open"]), ctypes.c_long(int(pid)), ctypes.c_long(0))
    return call("pidfd_getfd", held, 3, 0)


def numbers_seen() -> str:
    """The host numbers its processes far higher, and has more of them."""
    seen = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return "few" if len(seen) < 20 and os.getppid() in seen else "many"


def writable_in_proc() -> str:
    """What of /proc could be written to that is no process's own. Nothing is written."""
    hits: list[str] = []
    own = {"self", "thread-self", "net", "mounts"}
    tops = [f"/proc/{name}" for name in os.listdir("/proc") if not name.isdigit() and name not in own]
    for top in tops:
        hits += [top] if os.path.isfile(top) and may_write(top) else []
        for folder, _, files in os.walk(top):
            hits += [path for file in files if may_write(path := f"{folder}/{file}")]
    return ",".join(hits) or "nothing"


def may_write(path: str) -> bool:
    if not os.access(path, os.W_OK):
        return False
    try:  # permissions alone do not tell
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def writable_on_system() -> str:
    """Folders outside the places for files that could be written in."""
    allowed = ("/workspace", "/home/user", "/tmp", "/run", "/dev", "/proc")  # what comes of some is tried otherwise
    tops = [f"/{name}" for name in os.listdir("/")]
    hits = [path for path in ("/", *tops) if not path.startswith(allowed) and os.access(path, os.W_OK)]
    return ",".join(hits) or "nothing"


def devices() -> str:
    harmless = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
    links = {"stdin", "stdout", "stderr", "fd", "core", "pts", "shm"}
    return ",".join(sorted(set(os.listdir("/dev")) - harmless - links)) or "nothing"


def typed_into_terminal() -> str:
    _, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSTI, b"x")
    return "typed"


def privileges() -> str:
    wanted = ("CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp", "Groups")
    with open("/proc/self/status", encoding="ascii") as source:
        rows = dict(line.split(":", 1) for line in source)
    return " ".join(f"{name}={rows[name].strip()}" for name in wanted)


def suid_of_own_making() -> str:
    target = os.path.abspath("suid-id")
    shutil.copy(shutil.which("id") or "/usr/bin/id", target)
    os.chmod(target, 0o6755)  # noqa: S103  # that is the attempt
    try:
        said = subprocess.run([target, "-u"], capture_output=True, text=True, check=True).stdout.strip()
        return "its own" if said == str(os.getuid()) else said
    finally:
        os.unlink(target)


def suid_of_the_system() -> str:
    path = shutil.which("su", path="/usr/bin:/bin")
    if path is None:
        return "refused"
    done = subprocess.run([path, "-c", "id -u"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "refused"


def became(uid: str) -> str:
    os.setuid(int(uid))
    return "became"


def regrouped() -> str:
    os.setgroups([0])
    return "regrouped"


def given_away() -> str:
    path = "given"
    with open(path, "wb"):
        pass
    try:
        os.chown(path, 0, 0)
        return "given"
    finally:
        os.unlink(path)


def hard_linked(source: str, target: str) -> str:
    os.link(source, target)
    os.unlink(target)
    return "linked"


def device_made() -> str:
    os.mknod("disk", 0o60600, os.makedev(254, 0))
    return "made"


def filled(path: str, megabytes: str) -> str:
    """Write zeros; how it ended."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    block = bytes(1 << 20)
    try:
        with open(path, "wb") as target:
            for _ in range(int(megabytes)):
                target.write(block)
        return "filled"
    finally:
        os.unlink(path)


def memory(gigabytes: str) -> str:
    return f"{len(bytearray(int(gigabytes) << 30))} bytes"


def forked(limit: str) -> str:
    """Fork children that wait, until refused; whether that came before `limit`."""
    children: list[int] = []
    try:
        for _ in range(int(limit)):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    except BlockingIOError:
        return "refused"
    else:
        return "unlimited"
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def core_size() -> str:
    return str(resource.getrlimit(resource.RLIMIT_CORE)[1])


def environment() -> str:
    return ",".join(sorted(name for name in os.environ if "SECRET" in name)) or "nothing"


def command_of(pid: str) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as source:
        return source.read().replace(b"\0", b" ").decode()


def unix_sockets() -> str:
    with open("/proc/net/unix", encoding="utf-8") as source:
        names = [line.split()[7] for line in source.read().splitlines()[1:] if len(line.split()) > 7]
    return ",".join(names) or "nothing"


def hostname() -> str:
    return socket.gethostname()


def resolved(name: str) -> str:
    with contextlib.suppress(socket.gaierror):
        return str(socket.getaddrinfo(name, 80)[0][4][0])
    return "unknown"


ATTEMPTS = {
    function.__name__: function
    for function in (
        *(called, listed, read, written, replaced, connected, connected_unix, opened_socket, found, killed, traced),
        *(
            limited,
            leased,
            stolen_descriptor,
            numbers_seen,
            writable_in_proc,
            writable_on_system,
            devices,
            typed_into_terminal,
        ),
        *(privileges, suid_of_own_making, suid_of_the_system, became, regrouped, given_away, hard_linked),
        *(device_made, filled, memory, forked, core_size, environment, command_of, unix_sockets, hostname),
        *(resolved, seen, entered, watched, changed_mode, changed_mode_of_open, changed_times, changed_attributes),
        *(cut, removed, made_folder, read_through_link, listened_without_bind, bound, sent_fast_open, terminals),
        *(shared_memory, reniced, read_memory_of),
    )
}


if __name__ == "__main__":
    main()
