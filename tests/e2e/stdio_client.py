"""A client of our own that speaks raw JSON-RPC, so that what is tested is the wire and not somebody's library."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

PROGRAM = (sys.executable, "-m", "vaporform_mcp")
LIMIT_S = 60.0
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN = "2026-07-28"
FACTS = "vaporform/result"

Answerer = Callable[[str, dict[str, Any]], dict[str, Any]]


def environment_in(folder: Path, **settings: str) -> dict[str, str]:
    """An environment whose data folder and home are the test's own."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "VAPORFORM_DATA_DIR": str(folder / "data"),
        "VAPORFORM_LOCAL__LINGER_S": "30",
        **settings,
    }


def stop_sandboxes(environment: Mapping[str, str]) -> None:
    subprocess.run([*PROGRAM, "stop", "--all"], env=environment, capture_output=True, timeout=LIMIT_S, check=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A tool's result, and `raw` as it came."""

    text: str
    facts: dict[str, Any]
    structured: dict[str, Any] | None
    is_error: bool
    images: list[dict[str, Any]]
    raw: dict[str, Any]


@dataclass(slots=True)
class StdioServer:
    """A server process and the client's side of its connection.

    `protocol` decides the era. `answers` is asked what to answer to requests of the server's own.
    """

    environment: Mapping[str, str]
    protocol: str = "2025-11-25"
    capabilities: dict[str, Any] = field(default_factory=dict[str, Any])
    answers: Answerer | None = None
    notifications: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    lines: list[bytes] = field(default_factory=list[bytes])
    process: subprocess.Popen[bytes] = field(init=False)
    _log: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    _count: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _answered: dict[object, dict[str, Any]] = field(default_factory=dict[object, dict[str, Any]])

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            PROGRAM, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )

    def __enter__(self) -> StdioServer:
        if self.protocol != MODERN:
            self.initialize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        with suppress(BrokenPipeError), self.process:  # closes the pipes and reaps it
            pass
        self._log.close()

    def initialize(self) -> dict[str, Any]:
        about = {
            "protocolVersion": self.protocol,
            "capabilities": self.capabilities,
            "clientInfo": {"name": "raw", "version": "1"},
        }
        answer = self.request("initialize", about)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer["result"]

    def send(self, message: Mapping[str, Any]) -> None:
        self.send_bytes(json.dumps(message).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def begin(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Send a request; `answer` waits for what comes of it."""
        self._count += 1
        sent = dict(params or {})
        if self.protocol == MODERN:
            sent["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
                "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
                **sent.get("_meta", {}),
            }
        self.send({"jsonrpc": "2.0", "id": self._count, "method": method, "params": sent})
        return self._count

    def answer(self, request_id: int, *, limit_s: float = LIMIT_S) -> dict[str, Any]:
        deadline = time.monotonic() + limit_s
        while request_id not in self._answered:
            self._receive(deadline)
        return self._answered.pop(request_id)

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.answer(self.begin(method, params))

    def begin_call(self, tool: str, arguments: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> int:
        """`more` goes beside the arguments."""
        return self.begin("tools/call", {"name": tool, "arguments": arguments, **(more or {})})

    def call(self, tool: str, /, **arguments: object) -> Result:
        return result_of(self.answer(self.begin_call(tool, arguments)))

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, *, limit_s: float = LIMIT_S) -> int:
        return self.process.wait(timeout=limit_s)

    def rest_of_output(self) -> bytes:
        """What came on standard output after the last answer, once the server has ended."""
        assert self.process.stdout is not None
        return bytes(self._buffer) + self.process.stdout.read()

    def logged(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def _receive(self, deadline: float) -> None:
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            assert ready, "the server did not answer in time"
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            assert piece, "the server ended"
            self._buffer += piece
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        self.lines.append(line)
        self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            self._answered[message["id"]] = message
        elif "id" not in message:
            self.notifications.append(message)
        else:
            assert self.answers is not None, f"the server asked for {message['method']}"
            answer = self.answers(message["method"], message["params"])
            outcome = answer if answer.keys() == {"error"} else {"result": answer}
            self.send({"jsonrpc": "2.0", "id": message["id"], **outcome})


def result_of(answer: dict[str, Any]) -> Result:
    """The result of a call, which must not have failed in the protocol."""
    assert "result" in answer, answer
    raw: dict[str, Any] = answer["result"]
    content: list[dict[str, Any]] = raw["content"]
    return Result(
        text="".join(block["text"] for block in content if block["type"] == "text"),
        facts=raw["_meta"][FACTS],
        structured=raw.get("structuredContent"),
        is_error=raw.get("isError", False),
        images=[block for block in content if block["type"] == "image"],
        raw=raw,
    )
