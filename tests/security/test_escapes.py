"""Every way out of a local sandbox that we could think of, each tried from inside.

Run by root the commands run as a user of their own, run by a user as that user: `test_escapes_as_user.py` runs this
file the second way too, where it is root that runs the tests.
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.contract.sandboxes import no_phase
from vaporform_mcp.errors import SandboxLost
from vaporform_mcp.sandboxes.base import Command, FileWrite, RunState, Sandbox
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.launch import interpreter
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.sandboxes.local.registry import known_sandboxes
from vaporform_mcp.types import Spec, WorkspacePath

ATTEMPTS = (Path(__file__).parent / "attempts.py").read_bytes()
NEIGHBOUR = "a-file-of-another-workspace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What there is on the host to be reached: one listening socket of each kind, and this process."""

    tcp: int
    address: str
    path: str
    abstract: str

    def fill(self, text: str) -> str:
        return text.format(tcp=self.tcp, address=self.address, path=self.path, abstract=self.abstract, pid=os.getpid())


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    path = str(tmp_path_factory.mktemp("host") / "s")
    abstract = f"vaporform-test-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as unnamed,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outgoing,
    ):
        named.bind(path)
        unnamed.bind(f"\0{abstract}")
        for one in (named, unnamed):
            one.listen()
        try:
            outgoing.connect(("192.0.2.1", 9))  # sends nothing; it only asks which address would be used
            address = outgoing.getsockname()[0]
        except OSError:
            address = "192.0.2.1"
        yield Host(tcp=tcp.getsockname()[1], address=address, path=path, abstract=f"@{abstract}")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
async def sandbox(data_dir: Path) -> AsyncIterator[Sandbox]:
    config = LocalConfig(
        data_dir=data_dir,
        linger_s=5,
        toolchains=("none",),
        processes=100,
        memory_mb=4096,
        file_mb=32,
        tmp_mb=16,
        host_environment={"PATH": "/usr/bin:/bin", "A_SECRET": "x"},
    )
    async with open_local(config) as provider:
        neighbour = await provider.acquire(Spec(provider="local"), "neighbour", 1, no_phase)
        await neighbour.write_files([FileWrite(path=WorkspacePath(NEIGHBOUR), content=b"private")])
        opened = await provider.acquire(Spec(provider="local"), "ws", 1, no_phase)
        yield opened
        with anyio.CancelScope(shield=True):
            await provider.destroy("ws", 1)
            await provider.destroy("neighbour", 1)


async def attempt(sandbox: Sandbox, *words: str) -> str:
    """What the attempt says came of it."""
    python = interpreter(None)
    line = shlex.join([python.path, "-I", "-S", "-", *words])
    result = await sandbox.exec(Command(text=line, stdin=ATTEMPTS, env=python.environment, timeout_s=60))
    assert result.state is RunState.EXITED, result
    assert result.exit_code == 0, (result.head + result.tail).decode()
    return result.head.decode().strip()


NO_PRIVILEGES = " ".join(
    [*(f"Cap{name}=0000000000000000" for name in ("Inh", "Prm", "Eff", "Amb")), "NoNewPrivs=1", "Seccomp=2"]
)

# What is tried, with what must come of it: any of these.
TABLE: dict[str, tuple[str, ...]] = {
    # Files of the host
    "listed /root": ("ENOENT",),
    "listed /home": ("user",),
    "listed /sys": ("ENOENT",),
    "listed /mnt": ("ENOENT",),
    "read /etc/shadow": ("ENOENT",),
    "read /etc/machine-id": ("ENOENT",),
    "read /etc/ssh/ssh_config": ("ENOENT",),
    "read /var/log/syslog": ("ENOENT",),
    "listed /var/lib": ("ENOENT",),
    f"found {NEIGHBOUR}": ("nothing",),
    "found id_rsa": ("nothing",),
    "found docker.sock": ("nothing",),
    "found pid.json": ("nothing",),
    "written /usr/bin/new": ("EROFS",),
    "written /etc/passwd": ("EROFS",),
    "written /etc/resolv.conf": ("EROFS",),
    "written /new": ("EROFS",),
    "written /.vf/inside/supervisor.py": ("EROFS", "EACCES"),
    "written /dev/new": ("EROFS",),
    "replaced /.vf/inside": ("EBUSY", "EROFS", "EACCES"),
    "replaced /workspace": ("EBUSY", "EROFS", "EACCES"),
    "replaced /usr": ("EBUSY", "EROFS", "EACCES"),
    "writable_on_system": ("nothing",),
    "hard_linked /usr/bin/env /workspace/env": ("EXDEV", "EPERM"),
    "hard_linked /home/user/.a /workspace/a": ("EXDEV", "ENOENT"),
    # The kernel's settings and the host's processes
    "writable_in_proc": ("nothing",),
    "read /proc/kcore": ("EACCES", "EPERM", "ENOENT"),
    "read /proc/keys": ("EACCES", "read b''", "ENOENT"),
    "read /proc/timer_list": ("EACCES", "ENOENT"),
    "numbers_seen": ("few",),
    "traced {pid}": ("ESRCH",),
    "killed {pid}": ("ESRCH",),
    "called syslog 3 0 0": ("EPERM",),
    "hostname": ("sandbox",),
    # The supervisor
    "listed /proc/1/root": ("EACCES", "EPERM"),
    "listed /proc/1/fd": ("EACCES", "EPERM"),
    "listed /proc/1/cwd": ("EACCES", "EPERM"),
    "read /proc/1/environ": ("EACCES", "EPERM"),
    "read /proc/1/maps": ("EACCES", "EPERM"),
    "written /proc/1/mem": ("EACCES", "EPERM"),
    "traced 1": ("EPERM",),
    "called vm_readv 1 0 0 0 0 0": ("EPERM",),
    "stolen_descriptor 1": ("EPERM",),
    "limited_supervisor": ("EPERM",),
    "called sched_setscheduler 1 5 0": ("EPERM",),
    "called sched_setaffinity 1 0 0": ("EPERM",),
    "called setpriority 0 1 19": ("EPERM",),
    "called setpriority 2 0 19": ("EPERM",),
    "leased /workspace/lease": ("EINVAL",),
    "unix_sockets": ("nothing",),
    # Namespaces and mounts
    "called mount none /tmp tmpfs 0 0": ("EPERM",),
    "called fsopen tmpfs 0": ("EPERM",),
    "called open_tree -100 / 1": ("EPERM",),
    "called move_mount -1 / -100 /tmp 4": ("EPERM",),
    "called mount_setattr -100 / 0 0 0": ("EPERM",),
    "called unshare 0x10000000": ("EPERM",),
    "called unshare 0x00020000": ("EPERM",),
    "called unshare 0x00000080": ("EPERM",),
    "called clone 0x10000011 0 0 0 0": ("EPERM",),
    "called clone3 0 0": ("ENOSYS",),
    "called setns 0 0": ("EPERM",),
    "called chroot /tmp": ("EPERM",),
    "called pivot_root /tmp /tmp": ("EPERM",),
    # Kernel interfaces that are not divided by namespaces, or that have been ways in
    "called open_by_handle_at 0 0 0": ("EPERM",),
    "called keyctl 0 -3 0": ("EPERM",),
    "called add_key user x y 1 -2": ("EPERM",),
    "called bpf 0 0 0": ("EPERM",),
    "called perf_event_open 0 0 -1 -1 0": ("EPERM",),
    "called io_uring_setup 8 0": ("EPERM",),
    "called userfaultfd 0": ("EPERM",),
    "called reboot 0 0 0 0": ("EPERM",),
    "called finit_module 0 0 0": ("EPERM",),
    "called swapon / 0": ("EPERM",),
    "called x32": ("ENOSYS",),
    "devices": ("nothing",),
    "device_made": ("EPERM",),
    "typed_into_terminal": ("EPERM", "EIO"),
    "read /dev/tty": ("ENXIO",),
    # Users and privileges
    "privileges": (f"{NO_PRIVILEGES} Groups=", f"{NO_PRIVILEGES} Groups=1000"),
    "suid_of_own_making": ("1000",),
    "suid_of_the_system": ("refused",),
    "became 0": ("EPERM", "EINVAL"),
    "regrouped": ("EPERM",),
    "given_away": ("EPERM", "EINVAL"),
    # The network
    "connected 127.0.0.1:{tcp}": ("ECONNREFUSED",),
    "connected {address}:{tcp}": ("ENETUNREACH",),
    "connected 169.254.169.254:80": ("ENETUNREACH",),
    "connected 1.1.1.1:443": ("ENETUNREACH",),
    "connected_unix {path}": ("ENOENT",),
    "connected_unix {abstract}": ("ECONNREFUSED",),
    "connected_unix /run/docker.sock": ("ENOENT",),
    "connected_unix /run/dbus/system_bus_socket": ("ENOENT",),
    "resolved localhost": ("127.0.0.1", "::1"),
    "resolved example.com": ("unknown",),
    "opened_socket 2 3 1": ("EPERM",),  # raw
    "opened_socket 17 3 0": ("EAFNOSUPPORT",),  # packet
    "opened_socket 40 1 0": ("EAFNOSUPPORT",),  # vsock
    "opened_socket 38 5 0": ("EAFNOSUPPORT",),  # alg
    "opened_socket 16 3 9": ("EPROTONOSUPPORT",),  # netlink: audit
    "opened_socket 16 3 15": ("EPROTONOSUPPORT",),  # netlink: device events
    # Limits
    "filled /workspace/fill 64": ("EFBIG",),
    "filled /tmp/fill 24": ("ENOSPC",),
    "filled /run/fill 24": ("ENOSPC",),
    "memory 40": ("MemoryError",),
    "forked 200": ("refused",),
    "core_size": ("0",),
    # What the host says of itself
    "environment": ("nothing",),
}


@pytest.mark.parametrize("tried", TABLE)
async def test_it_does_not_get_out(sandbox: Sandbox, host: Host, tried: str) -> None:
    words = [host.fill(word) for word in tried.split()]
    assert await attempt(sandbox, *words) in TABLE[tried]


async def test_killing_everything_inside_kills_neither_the_sandbox_nor_anything_else(sandbox: Sandbox) -> None:
    result = await sandbox.exec(Command(text="test -d /.vf/inside && kill -9 1; kill -9 -1", timeout_s=30))
    assert result.state in {RunState.EXITED, RunState.KILLED}
    assert (await sandbox.exec(Command(text="echo alive"))).head == b"alive\n"


async def test_the_supervisors_command_names_no_path_of_the_host(sandbox: Sandbox, data_dir: Path) -> None:
    said = await attempt(sandbox, "supervisor_command")
    assert "inside.supervisor" in said
    assert str(data_dir) not in said
    assert str(Path.home()) not in said


async def test_a_fork_bomb_ends_at_its_deadline_and_the_host_does_not_feel_it(sandbox: Sandbox) -> None:
    bomb = Command(text="test -d /.vf/inside && bomb() { bomb | bomb & }; bomb; sleep 300", timeout_s=1.5)
    result = await sandbox.exec(bomb)
    assert result.state is RunState.TIMED_OUT
    assert (await anyio.run_process(["true"])).returncode == 0
    assert (await sandbox.exec(Command(text="echo alive"))).head == b"alive\n"


async def test_no_process_of_a_sandbox_is_the_hosts_root(sandbox: Sandbox, data_dir: Path) -> None:
    await sandbox.exec(Command(text="sleep 30"), wait_s=0)
    (known,) = [one for one in await known_sandboxes(data_dir) if one.workspace_id == "ws"]
    assert known.pid is not None
    statuses = statuses_below(known.pid)
    assert "sleep" in [status["Name"].strip() for status in statuses]
    for status in statuses:
        for name in ("Uid", "Gid"):
            numbers = {int(number) for number in status[name].split()}
            assert 0 not in numbers
            assert os.geteuid() == 0 or numbers == {os.geteuid() if name == "Uid" else os.getegid()}
        assert "0" not in status["Groups"].split()


async def test_what_commands_write_does_not_belong_to_the_hosts_root(sandbox: Sandbox, data_dir: Path) -> None:
    await sandbox.exec(Command(text="touch /workspace/mine /home/user/mine"))
    owners = owners_of(data_dir, "sandboxes/ws-1/*/mine")
    assert len(owners) == 1
    assert 0 not in owners


async def test_a_folder_that_is_swapped_for_a_link_leads_nowhere(sandbox: Sandbox) -> None:
    """Files are read and written inside, so that a link means there what it means to commands."""
    swap = "mkdir -p real; echo inside > real/passwd; while [ ! -e stop ]; do ln -sfn /etc way; ln -sfn real way; done"
    process = await sandbox.exec(Command(text=swap), wait_s=0.2)
    contents: set[bytes] = set()
    for _ in range(300):
        (found,) = await sandbox.read_files([WorkspacePath("way/passwd")], max_bytes=10_000)
        contents.add(getattr(found, "content", b""))
    await sandbox.write_files([FileWrite(path=WorkspacePath("stop"), content=b"")])
    await sandbox.wait(process.process_id, wait_s=10)
    assert contents <= {b"", b"inside\n"}


async def test_a_sandbox_that_is_lost_answers_nothing_more(data_dir: Path) -> None:
    config = LocalConfig(data_dir=data_dir, linger_s=1, toolchains=("none",))
    async with open_local(config) as provider:
        opened = await provider.acquire(Spec(provider="local"), "gone", 1, no_phase)
        await provider.destroy("gone", 1)
        with pytest.raises(SandboxLost):
            await opened.exec(Command(text="true"))


def owners_of(folder: Path, pattern: str) -> set[int]:
    return {path.stat().st_uid for path in folder.glob(pattern)}


def statuses_below(pid: int) -> list[dict[str, str]]:
    """What the host says of it and of everything below it; what ends meanwhile is left out."""
    found = [pid]
    statuses: list[dict[str, str]] = []
    for one in found:
        try:
            rows = Path(f"/proc/{one}/status").read_text(encoding="utf-8").splitlines()
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                found += [int(child) for child in children.read_text(encoding="ascii").split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        statuses.append({name: value for name, _, value in (row.partition(":") for row in rows)})
    return statuses
