"""A running emulator as tests hold it: started as a process of its own, set back before each test, and asked."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

__all__ = ["KEY", "Emulator", "start_emulator"]

KEY = "emulated-key"
_ROOT = Path(__file__).parents[3]
_CALL_S = 20.0
_STOP_S = 60.0  # it removes what sandboxes left, which may be many files


class Emulator:
    """`api_url` is what a client is given as the service's address, `key` the API key that it accepts.

    The calls of this class go to the same process by plain HTTP and block for some milliseconds.
    """

    key = KEY

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url
        self.api_url = f"{url}/api"

    def fault(self, route: str = "*", **fields: object) -> None:
        """What goes wrong with requests to come; the fields are those of `faults.Fault`."""
        self._call("POST", "/faults", {"route": route, **fields})

    def routes(self) -> list[str]:
        """The names of all routes, by which faults and counters call them."""
        answer: list[str] = json.loads(self._call("GET", "/routes"))
        return answer

    def clear_faults(self) -> None:
        self._call("DELETE", "/faults")

    def outcome(self, state: str, *, reason: str = "", recoverable: bool = False) -> None:
        """The next creation or start ends in this state, or stays in it where it is one that is only passed through."""
        self._call("POST", "/outcomes", {"state": state, "reason": reason, "recoverable": recoverable})

    def happen(self, sandbox: str, state: str, *, reason: str = "", recoverable: bool = False) -> None:
        """A sandbox is in this state now, and nobody asked for it."""
        fields = {"state": state, "reason": reason, "recoverable": recoverable}
        self._call("POST", f"/sandboxes/{sandbox}", fields)

    def vanish(self, sandbox: str) -> None:
        """A sandbox is deleted behind everybody's back."""
        self._call("DELETE", f"/sandboxes/{sandbox}")

    def deactivate_snapshot(self, snapshot: str) -> None:
        """As weeks without use do."""
        self._call("POST", f"/snapshots/{snapshot}/deactivate")

    def settings(self, **fields: object) -> None:
        """The fields are those of `steering.Settings`."""
        self._call("POST", "/settings", fields)

    def advance(self, seconds: float) -> None:
        """Let so much of the service's time pass; what is due by then begins."""
        self._call("POST", "/clock", {"seconds": seconds})

    def requests(self) -> list[dict[str, object]]:
        """All since the last `forget_requests`, oldest first; the fields are those of `requests.Entry`."""
        answer: list[dict[str, object]] = json.loads(self._call("GET", "/requests"))
        return answer

    def counters(self) -> dict[str, dict[str, int]]:
        """`requests`, `received_bytes` and `sent_bytes`, each by route."""
        answer: dict[str, dict[str, int]] = json.loads(self._call("GET", "/counters"))
        return answer

    def forget_requests(self) -> None:
        self._call("DELETE", "/requests")

    def reset(self) -> None:
        """As it was at its start."""
        self._call("POST", "/reset")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _call(self, method: str, path: str, fields: Mapping[str, object] | None = None) -> bytes:
        body = None if fields is None else json.dumps(fields).encode()
        request = urllib.request.Request(f"{self.url}/_emulator{path}", body, method=method)  # noqa: S310  # ours
        # A proxy of the user's is not asked for an address of this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_CALL_S) as answer:
            content: bytes = answer.read()
        return content


def start_emulator(*options: str) -> Emulator:
    """Start one and wait until it listens. What it says on stderr is the test's own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.emulators.daytona", "--key", KEY, "--with-parent", *options],
        cwd=_ROOT,
        stdin=subprocess.PIPE,  # it ends with us, also where we are killed
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url:
        process.wait(_STOP_S)
        process.stdout.close()
        raise AssertionError("the emulator ended at its start; stderr says why")
    return Emulator(process, url)
