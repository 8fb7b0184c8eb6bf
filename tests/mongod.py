"""A server that speaks MongoDB's protocol over TCP, for tests: one for the whole run, a database for each test.

Where TEST_MONGODB_URI is set, that server is used instead, with databases of random names that are dropped in the end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo

__all__ = ["Mongod", "client", "dropped", "fresh_name", "is_given", "shared", "start_mongod"]

STOP_S = 20.0
DROP_MS = 30_000
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


class Mongod:
    """A server process of our own; `uri` reaches it."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, port: int) -> None:
        self.process = process
        self.folder = folder
        self.port = port
        self.uri = f"mongodb://127.0.0.1:{port}/"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(STOP_S)


def start_mongod(folder: Path, *options: str, port: int = 0) -> Mongod:
    """Start a server on a folder, which may be that of an earlier one, and wait until it listens."""
    program = Path(sys.executable).with_name("secantusd-py")
    # With much less, its threads wait for one another for ever when large blobs come in while others are removed.
    arguments = [str(program), "--port", str(port), "--storage-path", str(folder), "--cache-size", "512M", *options]
    process = subprocess.Popen(
        arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if found := _LISTENING.search(line):
            # Whoever writes into a pipe that nobody reads stops in the end.
            threading.Thread(target=_read_out, args=(process,), daemon=True).start()
            return Mongod(process, folder, int(found[1]))
    raise AssertionError(f"the server ended at its start: {''.join(said)}")


def _read_out(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for _ in process.stdout:
            pass


is_given = bool(os.environ.get("TEST_MONGODB_URI"))


class _Shared:
    """The one server of this run, started at its first need and ended with the run."""

    def __init__(self) -> None:
        self._server: Mongod | None = None
        self._client: pymongo.MongoClient[dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def uri(self) -> str:
        if given := os.environ.get("TEST_MONGODB_URI"):
            return given
        with self._lock:
            if self._server is None:
                self._server = start_mongod(Path(tempfile.mkdtemp(prefix="vaporform-mongod-")))
            return self._server.uri

    def client(self) -> pymongo.MongoClient[dict[str, Any]]:
        if self._client is None:
            self._client = pymongo.MongoClient(self.uri(), serverSelectionTimeoutMS=5000)
        return self._client

    def stop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._server is not None:
            self._server.stop()
            shutil.rmtree(self._server.folder, ignore_errors=True)
            self._server = None


shared = _Shared()


def client() -> pymongo.MongoClient[dict[str, Any]]:
    """An ordinary driver's way to the shared server."""
    return shared.client()


def fresh_name() -> str:
    return f"vaporform_test_{uuid.uuid4().hex[:16]}"


@contextmanager
def dropped(uri: str) -> Generator[str]:
    """The name of a new database, which is dropped in the end."""
    name = fresh_name()
    try:
        yield name
    finally:
        with pymongo.MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=5000, timeoutMS=DROP_MS) as dropping:
            dropping.drop_database(name)
