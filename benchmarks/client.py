"""A client of the Model Context Protocol that adds as little as it can to what it measures.

One request at a time over a server's stdin and stdout. A reply's time is taken when its last byte is there, before it
is parsed, so that no server pays for what this client does.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = ["Client", "Json", "Reply", "ServerFailed"]

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

PROTOCOL = "2025-06-18"  # of the versions with an `initialize`, one that every server here speaks
ANSWER_S = 120.0
END_S = 10.0
LOG_CHARS = 2_000

_CHUNK = 1 << 16
_METHOD_NOT_FOUND = -32601


class ServerFailed(Exception):
    """A server ended, kept silent for too long, or answered a call with an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer of `size` bytes. `seconds`: from the first byte of the request to the last of the reply."""

    seconds: float
    size: int
    result: Mapping[str, Json]

    @property
    def text(self) -> str:
        """The text blocks of a tool's result, joined."""
        content = self.result.get("content")
        if not isinstance(content, Sequence) or isinstance(content, str):
            return ""
        return "\n".join(str(each["text"]) for each in content if isinstance(each, Mapping) and "text" in each)

    @property
    def facts(self) -> Mapping[str, Json]:
        """What a result of ours says for scripts; empty where there is nothing of the kind."""
        meta = self.result.get("_meta")
        facts = meta.get("vaporform/result") if isinstance(meta, Mapping) else None
        return facts if isinstance(facts, Mapping) else {}


class Client:
    """One server process and the session with it. Started by the constructor, ended by `close` or the context's end."""

    def __init__(self, argv: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path) -> None:
        """Start `argv` in `folder`, with exactly this environment; what it says on stderr goes to `log`."""
        self._log = log
        self._received = bytearray()
        self._scanned = 0
        self._last_id = 0
        with log.open("wb") as errors:
            self.spawned_at = time.perf_counter()
            self._process = subprocess.Popen(
                list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=folder, env=environment
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("both were asked for")
        self._requests = self._process.stdin
        self._replies = self._process.stdout
        os.set_blocking(self._requests.fileno(), False)
        os.set_blocking(self._replies.fileno(), False)
        self._readable = select.poll()
        self._readable.register(self._replies.fileno(), select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._requests.fileno(), select.POLLOUT)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def initialize(self) -> Reply:
        """Greet, as the protocol wants it before anything else."""
        client: Json = {"name": "vaporform-benchmarks", "version": "1"}
        reply = self.request("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"}, ANSWER_S)
        return reply

    def call(self, tool: str, arguments: Mapping[str, Json]) -> Reply:
        """Call a tool. Raises `ServerFailed` also where the result says that it is an error."""
        reply = self.request("tools/call", {"name": tool, "arguments": arguments})
        if reply.result.get("isError"):
            raise ServerFailed(f"{tool} failed: {reply.text[:LOG_CHARS]}")
        return reply

    def request(self, method: str, params: Mapping[str, Json] | None = None, *, within_s: float = ANSWER_S) -> Reply:
        """Send a request and wait for its answer.

        Raises:
            ServerFailed: the server ended, answered with an error, or did not answer in time.
        """
        self._last_id += 1
        message: dict[str, Json] = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}}
        started = self._send(message, within_s)
        deadline = started + within_s
        while True:
            line = self._line(deadline, method)
            received = time.perf_counter()
            answer = json.loads(line)
            if "method" in answer:
                self._decline(answer)
            elif answer.get("id") == self._last_id:
                if "error" in answer:
                    raise ServerFailed(f"{method} failed: {json.dumps(answer['error'])[:LOG_CHARS]}")
                return Reply(seconds=received - started, size=len(line), result=answer["result"])

    def close(self) -> None:
        """End the session as clients do, by closing its stdin; a server that stays is killed. Safe to repeat."""
        with suppress(OSError):
            self._requests.close()
        for end in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(END_S)
                break
            except subprocess.TimeoutExpired:
                end()
        else:
            self._process.wait(END_S)
        self._replies.close()

    def _send(self, message: Mapping[str, Json], within_s: float) -> float:
        """Answers with the time at which the first byte was sent."""
        waiting = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        started = time.perf_counter()
        while waiting:
            try:
                waiting = waiting[os.write(self._requests.fileno(), waiting) :]
            except BlockingIOError:
                self._wait(self._writable, started + within_s, "reading its requests")
            except BrokenPipeError:
                raise self._failed("ended") from None
        return started

    def _line(self, deadline: float, method: str) -> bytes:
        while (end := self._received.find(b"\n", self._scanned)) < 0:
            self._scanned = len(self._received)
            self._wait(self._readable, deadline, f"answering {method}")
            chunk = os.read(self._replies.fileno(), _CHUNK)
            if not chunk:
                raise self._failed(f"ended instead of answering {method}")
            self._received += chunk
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        self._scanned = 0
        return line

    def _wait(self, ready: select.poll, deadline: float, what: str) -> None:
        left_s = deadline - time.perf_counter()
        if left_s <= 0 or not ready.poll(left_s * 1000):
            raise self._failed(f"took too long {what}")

    def _decline(self, message: Mapping[str, Json]) -> None:
        """Answer a request of the server, for none is of use here; notifications are passed over."""
        if "id" in message:
            error: Json = {"code": _METHOD_NOT_FOUND, "message": "this client has nothing to offer"}
            self._send({"jsonrpc": "2.0", "id": message["id"], "error": error}, ANSWER_S)

    def _failed(self, what: str) -> ServerFailed:
        said = self._log.read_text(encoding="utf-8", errors="replace").strip()[-LOG_CHARS:]
        return ServerFailed(f"the server {what}" + (f"; it said: {said}" if said else ""))
