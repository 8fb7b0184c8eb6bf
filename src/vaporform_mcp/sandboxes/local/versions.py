"""Which programs for development a sandbox has, and of which version: asked once, and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from vaporform_mcp.sandboxes.local.bubblewrap import Bind
from vaporform_mcp.sandboxes.local.config import Level
from vaporform_mcp.sandboxes.local.sandbox import LocalSandbox
from vaporform_mcp.sandboxes.supervised.programs import ASKED, ask_versions

__all__ = ["Versions"]

log = logging.getLogger(__name__)

_KEPT_S = 24 * 3600.0
"""A launcher may start another version than yesterday without having changed itself."""

_MAX_KEPT_BYTES = 65_536


class Versions:
    """Asking takes a few tenths of a second, so the answer is kept in a file as long as the programs stay the same."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._asking = anyio.Lock()
        self._found: dict[Level, Mapping[str, str]] = {}

    async def of(self, sandbox: LocalSandbox, path: str, binds: Sequence[Bind], *, host_path: str) -> Mapping[str, str]:
        """Each program that a command finds, with its version, or "" where it does not say; empty where nobody can be
        asked.

        `path` is the PATH in namespaces, and `binds` tell which folders of it are elsewhere on the host; `host_path` is
        the PATH of a sandbox that sees the host's own paths. The sandbox's home is in neither: it may pretend anything.
        """
        level = sandbox.isolation
        async with self._asking:
            if not self._found.get(level):
                programs = f"{level} {await anyio.to_thread.run_sync(_fingerprint, path, binds)}"
                self._found[level] = self._kept(programs)
                if not self._found[level]:
                    own = path if level == "namespaces" else f"{sandbox.tools}:{host_path}"
                    self._found[level] = await ask_versions(sandbox, path=own, cwd=sandbox.scratch)
                    self._keep(programs, self._found[level])
            return self._found[level]

    def _kept(self, programs: str) -> Mapping[str, str]:
        try:
            with self._file.open("rb") as source:
                kept = json.loads(source.read(_MAX_KEPT_BYTES))
            if kept["programs"] != programs or not 0 <= time.time() - kept["asked_at"] < _KEPT_S:
                return {}
            return {str(name): str(version) for name, version in kept["versions"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _keep(self, programs: str, found: Mapping[str, str]) -> None:
        if not found:
            return
        temporary = self._file.with_suffix(".new")
        try:
            temporary.write_text(json.dumps({"programs": programs, "asked_at": time.time(), "versions": found}))
            temporary.replace(self._file)
        except OSError as error:
            log.info("the versions of toolchains are not kept: %s", error.strerror)


def _fingerprint(path: str, binds: Sequence[Bind]) -> str:
    """What changes when a program comes, goes or is replaced; packages set the time of modification as they like."""
    digest = hashlib.sha256()
    for folder in path.split(":"):
        for name in ASKED:
            inside = f"{folder}/{name}"
            try:
                result = _on_host(inside, binds).stat()
            except OSError:
                continue
            digest.update(f"{inside} {result.st_ino} {result.st_size} {result.st_ctime_ns}\n".encode())
    return digest.hexdigest()


def _on_host(inside: str, binds: Sequence[Bind]) -> Path:
    for bind in binds:
        if inside == bind.target or inside.startswith(f"{bind.target}/"):
            return Path(bind.source + inside.removeprefix(bind.target))
    return Path(inside)
