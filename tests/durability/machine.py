"""A machine to break: one data folder, the servers that run over it, and what can happen to them."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
from pydantic import SecretStr

from tests.durability.kills import assert_is_sound
from tests.e2e.stdio_client import Result, StdioServer, environment_in, stop_sandboxes
from vaporform_mcp import app
from vaporform_mcp.app import SandboxStatus
from vaporform_mcp.settings import MongoSettings, Settings
from vaporform_mcp.types import Revision, WorkspaceName, WorkspaceRecord

__all__ = ["WORKSPACE", "Machine", "a_machine", "digest", "digests_inside", "in_time", "run", "stored"]

WORKSPACE = WorkspaceName("default")
LIMIT_S = 20.0
POLL_S = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Made by `a_machine`. Its servers use the workspace `default` where a call names none."""

    environment: Mapping[str, str]

    @property
    def data_dir(self) -> Path:
        return Path(self.environment["VAPORFORM_DATA_DIR"])

    @property
    def settings(self) -> Settings:
        if self.environment.get("VAPORFORM_STORE") != "mongo":
            return Settings(data_dir=self.data_dir)
        uri = SecretStr(self.environment["VAPORFORM_MONGO__URI"])
        mongo = MongoSettings(uri=uri, database=self.environment["VAPORFORM_MONGO__DATABASE"])
        return Settings(data_dir=self.data_dir, store="mongo", mongo=mongo)

    @property
    def store_file(self) -> Path:
        return app.store_file(self.settings)

    def assert_is_sound(self) -> None:
        """What SQLite can be asked for beside what `stored` verifies of any store. No server may be at work."""
        if self.settings.store == "sqlite":
            assert_is_sound(self.store_file)

    def server(self, **settings: str) -> StdioServer:
        return StdioServer({**self.environment, **settings})

    def sandboxes(self) -> list[SandboxStatus]:
        return list(anyio.run(app.sandboxes, self.settings))

    def sandbox(self, name: str = WORKSPACE) -> SandboxStatus:
        """The workspace's sandbox that is in use now."""
        return next(each for each in self.sandboxes() if each.workspace == name)

    def folder(self, name: str = WORKSPACE) -> Path:
        return app.sandbox_folders(self.settings, self.sandbox(name))[0]

    def files(self, name: str = WORKSPACE) -> Path:
        """The folder that commands know as the workspace."""
        return app.sandbox_folders(self.settings, self.sandbox(name))[-1] / "files"

    def await_end_of_sandbox(self, name: str = WORKSPACE) -> None:
        """Until its first process has ended by itself. Not asked of the sandbox, which that might keep from ending."""
        pid = self.sandbox(name).pid
        in_time(lambda: pid is None or not _runs(pid))

    def kill_sandbox(self, name: str = WORKSPACE) -> None:
        """SIGKILL to its first process, and with it to all: what the kernel does where memory runs out."""
        pid = self.sandbox(name).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        in_time(lambda: not _runs(pid))

    def destroy_sandbox(self, name: str = WORKSPACE) -> None:
        """Its processes and its files, behind the servers' back."""
        anyio.run(app.destroy_sandbox, self.settings, WorkspaceName(name))

    def stored(self, name: str = WORKSPACE) -> dict[str, bytes]:
        """Every file of the mirror's newest tree, after all that the store keeps was found to be whole."""
        return anyio.run(partial(stored, self.settings, name))

    def record(self, name: str = WORKSPACE) -> WorkspaceRecord:
        """What the store has of the workspace itself."""
        return anyio.run(_record, self.settings, name)

    def revisions(self, name: str = WORKSPACE) -> list[Revision]:
        """The workspace's history in the store, oldest first."""
        return anyio.run(_revisions, self.settings, name)


@contextmanager
def a_machine(folder: Path, **settings: str) -> Generator[Machine]:
    """Ends the sandboxes that are left in the end."""
    environment = environment_in(folder, **settings)
    try:
        yield Machine(environment=environment)
    finally:
        stop_sandboxes(environment)


def run(server: StdioServer, command: str, **arguments: object) -> Result:
    """Run a command that must succeed."""
    result = server.call("execute_command", command=command, **arguments)
    assert result.facts.get("exit_code") == 0, result.text
    return result


def digests_inside(machine: Machine, name: str = WORKSPACE) -> dict[str, str]:
    """SHA-256 of every file in the sandbox, whatever its name and place, by path."""
    files = machine.files(name)
    return {str(path.relative_to(files)): digest(path.read_bytes()) for path in files.rglob("*") if path.is_file()}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def in_time(check: Callable[[], T], *, limit_s: float = LIMIT_S) -> T:
    """What `check` answers once that is true; it is asked again and again."""
    deadline = time.monotonic() + limit_s
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(POLL_S)
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def stored(settings: Settings, name: str) -> dict[str, bytes]:
    """See `Machine.stored`."""
    async with app.open_store(settings) as store:
        report = await store.verify()
        assert not report.missing
        assert not report.corrupt
        record = await store.get_workspace(app.OWNER, name)
        assert record is not None
        tree = await store.tree(record.id)
        found: dict[str, bytes] = {}
        for path, entry in tree.items():
            content = (await store.get_blobs([entry.digest]))[entry.digest]
            assert len(content) == entry.size
            found[path] = content
        return found


async def _record(settings: Settings, name: str) -> WorkspaceRecord:
    async with app.open_store(settings) as store:
        record = await store.get_workspace(app.OWNER, name)
        assert record is not None
        return record


async def _revisions(settings: Settings, name: str) -> list[Revision]:
    record = await _record(settings, name)
    async with app.open_store(settings) as store:
        return list(reversed(await store.log(record.id, limit=1_000)))
