"""Where sandboxes of the end-to-end tests run, and how a test looks into one behind the server's back."""

from __future__ import annotations

import json
import shlex
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tests.durability.machine import Machine, a_machine
from tests.emulators.daytona.emulator import Emulator, start_emulator

__all__ = ["PLACES", "DaytonaPlace", "LocalPlace", "Place", "daytona_settings", "fetch", "open_place"]

JsonObject = dict[str, Any]

PLACES = ("local", "daytona")
FETCH_S = 20.0


class Place(Protocol):
    name: str
    machine: Machine

    def host(self, port: int) -> str:
        """What a port of this machine is called inside, as host and port of a URL."""
        ...

    def read(self, workspace: str, path: str) -> bytes | None:
        """A file as it lies in the sandbox, None where there is none. Not asked of the server."""
        ...

    def write(self, workspace: str, path: str, content: str) -> None: ...

    def remove(self, workspace: str, path: str) -> None: ...


class LocalPlace:
    name = "local"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def host(self, port: int) -> str:
        return f"127.0.0.1:{port}"

    def read(self, workspace: str, path: str) -> bytes | None:
        file = self.machine.files(workspace) / path
        return file.read_bytes() if file.exists() else None

    def write(self, workspace: str, path: str, content: str) -> None:
        (self.machine.files(workspace) / path).write_text(content, encoding="utf-8")

    def remove(self, workspace: str, path: str) -> None:
        (self.machine.files(workspace) / path).unlink()


class DaytonaPlace:
    name = "daytona"

    def __init__(self, machine: Machine, service: Emulator) -> None:
        self.machine = machine
        self.service = service
        self._found: dict[str, tuple[str, str]] = {}

    def host(self, port: int) -> str:
        self.service.settings(hosts={"github.test": f"127.0.0.1:{port}"})
        return "github.test"

    def sandboxes(self) -> list[JsonObject]:
        """All that the service has, but those that it is deleting."""
        items: list[JsonObject] = json.loads(self._ask("/api/sandbox"))["items"]
        return [each for each in items if each["state"] not in {"destroying", "destroyed"}]

    def sandbox(self, workspace: str) -> JsonObject:
        """Of the first epoch, as the service shows it."""
        shown: JsonObject = json.loads(self._ask(f"/api/sandbox/vaporform-{self.machine.record(workspace).id}-1"))
        return shown

    def read(self, workspace: str, path: str) -> bytes | None:
        toolbox, folder = self._place(workspace)
        query = urllib.parse.urlencode({"path": f"{folder}/{path}"})
        try:
            return self._ask(f"{toolbox}/files/download?{query}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def write(self, workspace: str, path: str, content: str) -> None:
        toolbox, folder = self._place(workspace)
        self._run(toolbox, f"cd {folder} && printf %s {shlex.quote(content)} > {shlex.quote(path)}")

    def remove(self, workspace: str, path: str) -> None:
        toolbox, folder = self._place(workspace)
        self._run(toolbox, f"rm {folder}/{shlex.quote(path)}")

    def _place(self, workspace: str) -> tuple[str, str]:
        if workspace not in self._found:
            toolbox = f"/toolbox/{self.sandbox(workspace)['id']}"
            folder = self._run(toolbox, "cd /workspace 2>/dev/null || cd ~/workspace; pwd").strip()
            self._found[workspace] = toolbox, folder
        return self._found[workspace]

    def _run(self, toolbox: str, line: str) -> str:
        answer = json.loads(self._ask(f"{toolbox}/process/execute", {"command": line}))
        assert answer["exitCode"] == 0, answer
        return str(answer["result"])

    def _ask(self, path: str, body: Mapping[str, object] | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self.service.key}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        return fetch(f"{self.service.url}{path}", headers, sent)[1]


def daytona_settings(service: Emulator) -> dict[str, str]:
    """By which a server has its sandboxes at the emulated service."""
    return {
        "VAPORFORM_SANDBOX": "daytona",
        "VAPORFORM_DAYTONA__API_URL": service.api_url,
        "DAYTONA_API_KEY": service.key,
    }


@contextmanager
def open_place(name: str, folder: Path, **settings: str) -> Generator[LocalPlace | DaytonaPlace]:
    if name == "local":
        with a_machine(folder, **settings) as machine:
            yield LocalPlace(machine)
        return
    service = start_emulator()
    try:
        with a_machine(folder, **daytona_settings(service), **settings) as machine:
            yield DaytonaPlace(machine, service)
    finally:
        service.stop()


def fetch(url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body, as a program gets them that knows nothing but the URL. No proxy of the user's is asked."""
    request = urllib.request.Request(url, body, dict(headers or {}))  # noqa: S310  # a host of our own
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=FETCH_S) as answer:
        return answer.status, answer.read()
