"""A workspace at work, something that happens to it, and what is left of it afterwards, told in words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio

from tests.durability.machine import Machine, a_machine, in_time, run
from tests.e2e.stdio_client import StdioServer, result_of
from vaporform_mcp import app
from vaporform_mcp.settings import Settings
from vaporform_mcp.types import Revision

__all__ = ["COLUMNS", "EVENTS", "Scene", "happens"]

INSTALL = "python3 -m venv --without-pip .venv"
SERVE = "exec python3 -m http.server 8124 --bind 127.0.0.1"
PORT = 8124
PAGE = "served from the sandbox"
FLIGHT = "touch in-flight; until [ -e go ]; do sleep 0.05; done; echo arrived > arrived; cat arrived"

COLUMNS: tuple[str, ...] = (
    "files written by tools",
    "files written by commands",
    "installed packages",
    "running dev server",
    "command in flight",
    "preview URL",
    "history",
)


@dataclass(slots=True)
class Scene:
    """`server` is the one that the agent speaks to: another one after an event that ends the first."""

    machine: Machine
    stack: ExitStack
    server: StdioServer
    process: str = ""
    url: str = ""
    call: int = 0
    revisions: tuple[str, ...] = ()
    before: StdioServer | None = None

    def prepare(self) -> None:
        """Files of both kinds, an installation, a server that is seen from outside, and a command under way."""
        server = self.server
        assert server.call("write_to_file", path="index.html", content=PAGE).facts["mirrored"]
        run(server, "mkdir made && echo by a command > made/file")
        run(server, INSTALL)
        started = server.call("execute_command", command=SERVE, background=True)
        self.process = started.facts["process_id"]
        self.url = server.call("get_preview_url", port=PORT).facts["url"]
        assert PAGE in in_time(lambda: fetched(self.url))
        in_time(lambda: "made/file" in self.machine.stored())
        self.call = server.begin_call("execute_command", {"command": FLIGHT})
        in_time(lambda: (self.machine.files() / "in-flight").exists())
        self.revisions = history(self.machine)

    def another_server(self) -> None:
        self.before = self.server
        self.server = self.stack.enter_context(self.machine.server())

    def what_is_left(self) -> Mapping[str, str]:
        """By column, in the words of the table. Asks in the order in which an agent would."""
        server = self.server
        notice = server.call("open_workspace", name="default").text
        notice += server.call("list_files").text
        page = server.call("read_file", path="index.html")
        made = server.call("read_file", path="made/file")
        restored = "rebuilt from the mirror" in notice
        told = {"packages": INSTALL in notice, "server": SERVE in notice}
        return {
            "files written by tools": there(PAGE in page.text, restored=restored),
            "files written by commands": there("by a command" in made.text, restored=restored),
            "installed packages": self._installed(told=told["packages"]),
            "running dev server": self._served(told=told["server"]),
            "command in flight": self._flight(),
            "preview URL": self._preview(),
            "history": "stays" if history(self.machine)[: len(self.revisions)] == self.revisions else "lost",
        }

    def _installed(self, *, told: bool) -> str:
        there = self.server.call("execute_command", command="test -x .venv/bin/python").facts["exit_code"] == 0
        return "stay" if there else "lost, told how to repeat" if told else "lost"

    def _served(self, *, told: bool) -> str:
        listed = self.server.call("check_process").facts["processes"]
        runs = any(each["process_id"] == self.process and each["state"] == "running" for each in listed)
        return "goes on" if runs else "ends, told" if told else "ends"

    def _flight(self) -> str:
        """A command that a call waits for: whether it went on, and where it is told that it did not."""
        listed = self.server.call("check_process").facts["processes"]
        seen = [each for each in listed if "in-flight" in each["command"]]
        self.server.call("write_to_file", path="go", content="")
        if self.before is None:
            return "goes on" if "arrived" in self._answered() else "ends, told"
        if not seen:
            return "ends"
        if seen[0]["state"] == "running":
            return "goes on"
        assert seen[0]["state"] == "killed"
        return "ends, listed"

    def _answered(self) -> str:
        """What the call that ran the command was told. It must have been told the truth."""
        result = result_of(self.server.answer(self.call))
        lost = result.facts.get("state") == "lost" or result.facts.get("code") == "sandbox_lost"
        assert lost or result.facts["exit_code"] == 0, result.text
        return result.text

    def _preview(self) -> str:
        if PAGE in fetched(self.url):
            return "stays"
        if self.server.call("read_file", path="index.html").is_error:
            return "lost"
        self.server.call("execute_command", command=SERVE, background=True)
        again = self.server.call("get_preview_url", port=PORT).facts["url"]
        assert PAGE in in_time(lambda: fetched(again))
        return "the same once served again" if again == self.url else "another"


@contextmanager
def a_bystander() -> Generator[int]:
    """A process that has nothing to do with us, and must live."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        try:
            yield process.pid
            assert process.poll() is None, "a process of somebody else was killed"
        finally:
            process.kill()


def client_closed(scene: Scene) -> None:
    """As desktop clients do it: the pipes are closed, and the server ends by itself."""
    scene.server.end_input()
    scene.server.wait()
    scene.another_server()


def server_killed(scene: Scene) -> None:
    scene.server.process.kill()
    scene.server.wait()
    scene.another_server()


def sandbox_killed(scene: Scene) -> None:
    scene.machine.kill_sandbox()


def sandbox_destroyed(scene: Scene) -> None:
    scene.machine.destroy_sandbox()


def laptop_slept(scene: Scene) -> None:
    """Everything of it stands still for a while, and goes on where it was."""
    processes = [scene.server.process.pid, *below(scene.machine.sandbox().pid or 0)]
    for each in processes:
        os.kill(each, signal.SIGSTOP)
    in_time(lambda: all(state_of(each) in "TZ" for each in processes))
    assert fetched(scene.url) == ""
    for each in reversed(processes):
        os.kill(each, signal.SIGCONT)


def machine_rebooted(scene: Scene) -> None:
    """No process is left; socket and notes of the sandbox are, with the number of a process that is now another's."""
    scene.server.process.kill()
    scene.server.wait()
    scene.machine.kill_sandbox()
    other = scene.stack.enter_context(a_bystander())
    note = scene.machine.folder() / "run" / "pid.json"
    written = {**json.loads(note.read_text(encoding="ascii")), "pid": other, "boot": "00000000-of-the-boot-before"}
    note.write_text(json.dumps(written), encoding="ascii")
    scene.another_server()


def store_lost(scene: Scene) -> None:
    """The store's files are removed while no server runs; sandboxes are not touched."""
    scene.server.end_input()
    scene.server.wait()
    for path in scene.machine.data_dir.glob(f"{scene.machine.store_file.name}*"):
        path.unlink()
    scene.another_server()


EVENTS: Mapping[str, Callable[[Scene], None]] = {
    "client closed": client_closed,
    "server killed": server_killed,
    "sandbox killed": sandbox_killed,
    "sandbox destroyed": sandbox_destroyed,
    "laptop slept": laptop_slept,
    "machine rebooted": machine_rebooted,
    "store lost": store_lost,
}


def happens(event: str, folder: Path) -> Mapping[str, str]:
    """Prepare a scene, let `event` happen to it, and tell what is left."""
    with ExitStack() as stack:
        machine = stack.enter_context(a_machine(folder))
        scene = Scene(machine, stack, stack.enter_context(machine.server()))
        scene.prepare()
        EVENTS[event](scene)
        return scene.what_is_left()


def there(found: bool, *, restored: bool) -> str:
    return "come back" if found and restored else "stay" if found else "lost"


def history(machine: Machine) -> tuple[str, ...]:
    """The ids of all revisions, oldest first."""
    return tuple(each.id for each in reversed(anyio.run(partial(_log, machine.settings))))


async def _log(settings: Settings) -> list[Revision]:
    async with app.open_store(settings) as store:
        record = await store.get_workspace(app.OWNER, settings.workspace)
        return list(await store.log(record.id, limit=1_000)) if record is not None else []


def fetched(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # a preview of our own
            return answer.read().decode()
    except OSError:
        return ""


def below(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, task.read_text(encoding="ascii").split())
    return found


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
