"""Every way out of a local sandbox that we could think of, each tried from inside, at each level of isolation.

Run by root the commands run as a user of their own, run by a user as that user: `test_escapes_as_user.py` runs this
file the second way too, where it is root that runs the tests.
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.contract.sandboxes import no_phase
from tests.security.table import NEIGHBOUR, TABLE, Answers
from vaporform_mcp.errors import SandboxLost
from vaporform_mcp.sandboxes.base import Command, FileWrite, RunState, Sandbox
from vaporform_mcp.sandboxes.local import layout
from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.sandboxes.local.interpreter import Interpreter, interpreter
from vaporform_mcp.sandboxes.local.limits import RESTRICTED_GAPS, RESTRICTED_GAPS_AS_USER
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.sandboxes.local.registry import known_sandboxes
from vaporform_mcp.sandboxes.local.sandbox import LocalSandbox
from vaporform_mcp.sandboxes.supervised import inside
from vaporform_mcp.types import Spec, WorkspacePath

ATTEMPTS = (Path(__file__).parent / "attempts.py").read_bytes()
SECURITY = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")
ONLY_INSIDE = '[ "$(id -u)" != 0 ] && { [ -d /.vf/inside ] || [ -n "$SANDBOX_TAG" ]; }'
LEVELS: tuple[Level, ...] = ("namespaces", "restricted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What there is on the host to be reached: one listening socket of each kind, a file, and this process."""

    tcp: int
    address: str
    path: str
    abstract: str
    file: Path

    def words(self) -> dict[str, str]:
        return {
            "tcp": str(self.tcp),
            "address": self.address,
            "path": self.path,
            "abstract": self.abstract,
            "file": str(self.file),
            "folder": str(self.file.parent),
            "pid": str(os.getpid()),
        }


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    path, file = str(folder / "s"), folder / "private"
    file.write_text("secret")
    file.chmod(0o600)
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
        yield Host(tcp=tcp.getsockname()[1], address=address, path=path, abstract=f"@{abstract}", file=file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A sandbox of that level, with where its folders are as it sees them."""

    level: Level
    data_dir: Path
    sandbox: LocalSandbox
    words: Mapping[str, str]

    def answers(self, answers: Answers) -> tuple[str, ...]:
        return answers.namespaces if self.level == "namespaces" else answers.restricted


@pytest.fixture(scope="module", params=LEVELS)
async def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    data_dir = tmp_path_factory.mktemp("data")
    config = LocalConfig(
        data_dir=data_dir,
        isolation=request.param,
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
        sandbox = await provider.acquire(Spec(provider="local"), "ws", 1, no_phase)
        seen = await sandbox.exec(Command(text='printf "%s\n" "$PWD" "$HOME" "$TMPDIR"'))
        workspace, home, tmp = seen.head.decode().splitlines()
        is_first = sandbox.isolation == "namespaces"
        words = {
            "workspace": workspace,
            "home": home,
            "tmp": tmp,
            "supervisor": "1" if is_first else str(sandbox.supervisor_pid),
            "code": "/.vf/inside/supervisor.py"
            if is_first
            else str(Path(inside.__file__ or "").parent / "supervisor.py"),
        }
        yield Opened(level=sandbox.isolation, data_dir=data_dir, sandbox=sandbox, words=words)
        with anyio.CancelScope(shield=True):
            await provider.destroy("ws", 1)
            await provider.destroy("neighbour", 1)


@pytest.fixture
def sandbox(opened: Opened) -> LocalSandbox:
    return opened.sandbox


@pytest.fixture
def data_dir(opened: Opened) -> Path:
    return opened.data_dir


async def attempt(sandbox: Sandbox, *words: str) -> str:
    """What the attempt says came of it."""
    python = python_in(sandbox)
    line = shlex.join([python.path, "-I", "-S", "-", *words])
    result = await sandbox.exec(Command(text=line, stdin=ATTEMPTS, env=python.environment, timeout_s=60))
    assert result.state is RunState.EXITED, result
    assert result.exit_code == 0, (result.head + result.tail).decode()
    return result.head.decode().strip()


def python_in(sandbox: Sandbox) -> Interpreter:
    """One that the sandbox shows."""
    return interpreter(None) if sandbox.isolation == "namespaces" else Interpreter([], "/usr/bin/python3", {})


def is_among(said: str, answers: tuple[str, ...]) -> bool:
    return any(said.startswith(one[:-1]) if one.endswith("*") else said == one for one in answers)


@pytest.mark.parametrize("tried", TABLE)
async def test_it_does_not_get_out(opened: Opened, host: Host, tried: str) -> None:
    known = {**host.words(), **opened.words}
    said = await attempt(opened.sandbox, *(word.format_map(known) for word in tried.split()))
    assert is_among(said, opened.answers(TABLE[tried])), said
    assert host.file.read_text() == "secret"
    assert host.file.stat().st_mode & 0o777 == 0o600


def test_every_difference_between_the_levels_is_told() -> None:
    gaps = {answers.gap for answers in TABLE.values() if answers.gap is not None}
    assert [gap for gap in gaps if gap not in SECURITY] == []
    plain = " ".join(SECURITY.split())
    assert [gap for gap in (*RESTRICTED_GAPS, *RESTRICTED_GAPS_AS_USER) if gap not in plain] == []


async def test_killing_everything_inside_kills_neither_the_sandbox_nor_anything_else(opened: Opened) -> None:
    """Tried only where one bystander cannot be signalled, so that a fault here costs that one alone."""
    async with await anyio.open_process(["sleep", "60"]) as bystander:
        supervisor = opened.words["supervisor"]
        spared = f"! kill -0 {bystander.pid} 2>/dev/null"
        text = f"if {ONLY_INSIDE} && {spared}; then echo tries; kill -9 {supervisor}; kill -9 -1; fi"
        result = await opened.sandbox.exec(Command(text=text, timeout_s=30))
        assert result.state in {RunState.EXITED, RunState.KILLED}
        assert result.head.startswith(b"tries")
        assert (await opened.sandbox.exec(Command(text="echo alive"))).head == b"alive\n"
        assert bystander.returncode is None
        bystander.kill()


async def test_the_supervisors_command_names_no_path_of_the_host(opened: Opened) -> None:
    said = await attempt(opened.sandbox, "command_of", opened.words["supervisor"])
    assert "inside.supervisor" in said
    assert str(opened.data_dir) not in said
    # Where commands see the host's own paths, they see where its programs are.
    assert opened.level == "restricted" or str(Path.home()) not in said


async def test_a_fork_bomb_ends_at_its_deadline_and_the_host_does_not_feel_it(sandbox: Sandbox) -> None:
    bomb = Command(text=f"if {ONLY_INSIDE}; then bomb() {{ bomb | bomb & }}; bomb; sleep 300; fi", timeout_s=1.5)
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
    await sandbox.exec(Command(text="touch mine ~/mine"))
    base = layout.folder_of(data_dir, "ws", 1).base
    owners = owners_of(base, "*/mine")
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
