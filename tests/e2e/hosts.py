"""Hosts of the world outside, served from this machine: a host of git repositories and a registry of npm packages."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["commit", "git", "publish", "push", "serving"]

_WHO = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *_WHO, *words], cwd=folder, check=True, capture_output=True, timeout=60)


def commit(source: Path, files: Mapping[str, str], message: str) -> None:
    """One more commit in a repository that is made where it is not there."""
    if not source.exists():
        source.mkdir(parents=True)
        git(source, "init", "--quiet", "--initial-branch=main")
    for name, content in files.items():
        (source / name).write_text(content, encoding="utf-8")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "--message", message)


def push(source: Path, bare: Path) -> None:
    """What `serving` shows as a repository that can be cloned."""
    git(source, "clone", "--quiet", "--bare", ".", str(bare))
    git(bare, "update-server-info")


def publish(folder: Path, url: str, name: str, version: str, files: Mapping[str, str]) -> None:
    """A package in a folder that is served at `url`, with all that npm wants to know of it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, content in {**files, "package.json": json.dumps({"name": name, "version": version})}.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(content.encode())
            archive.addfile(entry, io.BytesIO(content.encode()))
    file = f"{name}-{version}.tgz"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(packed.getvalue())
    dist = {"tarball": f"{url}/{file}", "shasum": hashlib.sha1(packed.getvalue()).hexdigest()}  # noqa: S324  # npm's own
    about = {
        "name": name,
        "dist-tags": {"latest": version},
        "versions": {version: {"name": name, "version": version, "dist": dist}},
    }
    (folder / name).write_text(json.dumps(about), encoding="utf-8")


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args: object, asked: list[str], **more: object) -> None:
        self._asked = asked
        super().__init__(*args, **more)  # pyright: ignore[reportArgumentType]  # as the server hands them on

    def do_GET(self) -> None:
        self._asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # the base class names it so
        pass


@contextmanager
def serving(folder: Path) -> Generator[tuple[int, list[str]]]:
    """The folder over plain HTTP from 127.0.0.1: the port, and the paths that were asked for until now."""
    asked: list[str] = []
    handler = functools.partial(_Handler, asked=asked, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        thread = threading.Thread(target=host.serve_forever)
        thread.start()
        try:
            yield host.server_port, asked
        finally:
            host.shutdown()
            thread.join()
