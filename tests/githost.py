"""A host of git repositories on this machine: git's own server program over HTTP, some of it with a password."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["GitHost", "git", "git_host"]

_IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHost:
    """Serves the bare repositories of `folder`; those below `private/` to whoever says `user:password`.

    `passed` are the paths of requests that came with credentials, whosever they were.
    """

    folder: Path
    port: int
    passed: list[str] = field(default_factory=list[str])

    def publish(self, name: str, commits: Sequence[Mapping[str, str]]) -> list[str]:
        """A repository with one commit for each set of files, on `main`, and its first as `stable`; their ids."""
        work = self.folder / "work" / name
        work.mkdir(parents=True)
        git(work, "init", "--quiet", "--initial-branch=main")
        ids: list[str] = []
        for files in commits:
            for path, content in files.items():
                (work / path).write_text(content, encoding="utf-8")
            git(work, "add", ".")
            git(work, "commit", "--quiet", "--message", f"commit {len(ids) + 1}")
            ids.append(git(work, "rev-parse", "HEAD"))
        git(work, "branch", "stable", ids[0])
        bare = self.folder / f"{name}.git"
        git(work, "clone", "--quiet", "--bare", ".", str(bare))
        git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
        return ids


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *_IDENTITY, *words], cwd=folder, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


@contextmanager
def git_host(folder: Path, *, user: str, password: str) -> Generator[GitHost]:
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            path, _, query = self.path.partition("?")
            given = self.headers.get("Authorization")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if given is not None:
                host.passed.append(path)
            if path.startswith("/private/") and given != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="private"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            answer = subprocess.run(
                ["git", "http-backend"], input=body, env=environment, capture_output=True, timeout=60, check=False
            ).stdout
            head, _, content = answer.partition(b"\r\n\r\n")
            headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
            status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
            self.send_response(status)
            for name, value in headers:
                if name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # the base's own name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host = GitHost(folder=folder, port=server.server_port)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield host
        server.shutdown()
        thread.join()
