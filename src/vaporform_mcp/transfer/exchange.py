"""What goes from one side to the other, where both may have changed since they last met. Pure, but for its memory."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.types import Digest, Entry, EntryKind, WorkspacePath

__all__ = ["Kept", "Memory", "Plan", "Version", "plan", "version_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What makes two files the same: as for git, of the mode only whether it can be executed."""

    kind: EntryKind
    executable: bool
    digest: Digest


Versions = Mapping[WorkspacePath, Version]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A path that the target keeps, since it may be the newer one there, and why that is thought."""

    path: WorkspacePath
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`write` and `remove` at the target; `kept` needs the word of a person."""

    write: Sequence[WorkspacePath]
    remove: Sequence[WorkspacePath]
    kept: Sequence[Kept]


def version_of(entry: Entry) -> Version:
    executable = entry.kind is not EntryKind.SYMLINK and bool(entry.mode & 0o100)
    return Version(kind=entry.kind, executable=executable, digest=entry.digest)


def plan(
    source: Versions, target: Versions, base: Versions, *, hidden: Collection[str] = (), overwrite: bool = False
) -> Plan:
    """What makes the target as the source, but never at the cost of what is newer there, unless `overwrite`.

    `base` is what both had when they last met: who still has that has changed nothing since. Where there is none, a
    difference is kept, and what only the target has stays. Nothing is told of what is `hidden` at either side.
    """
    write: list[WorkspacePath] = []
    remove: list[WorkspacePath] = []
    kept: list[Kept] = []
    for path in sorted(source.keys() | (base.keys() & target.keys())):
        ours, theirs, before = source.get(path), target.get(path), base.get(path)
        if ours == theirs or path in hidden:
            continue
        if ours is None and theirs == before:
            remove.append(path)
        elif ours is not None and (overwrite or theirs == before):
            write.append(path)
        elif ours is None and overwrite:
            remove.append(path)
        else:
            kept.append(Kept(path=path, why=_why(ours, theirs, before)))
    return Plan(write=write, remove=remove, kept=kept)


def _why(ours: Version | None, theirs: Version | None, before: Version | None) -> str:
    if before is None:
        return "differs, and it is not known which is newer"
    if theirs is None:
        return "was removed there" if ours == before else "was removed there, and changed here"
    if ours is None:
        return "was changed there, and removed here"
    return "is newer there" if ours == before else "was changed on both sides"


class Memory:
    """What a folder and a workspace had in common when they last met, in a file of this program's own."""

    def __init__(self, data_dir: Path, workspace_id: str, folder: Path) -> None:
        name = hashlib.sha256(f"{workspace_id}\0{folder}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self._file = data_dir / "folders" / f"{name}.json"

    def recall(self) -> Versions:
        """Nothing where they never met, or it cannot be read: then nothing is taken for older than it is."""
        try:
            rows = json.loads(self._file.read_bytes())
            return {
                WorkspacePath(path): Version(kind=EntryKind(kind), executable=bool(executable), digest=Digest(digest))
                for path, (kind, executable, digest) in rows.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def keep(self, versions: Versions) -> None:
        rows = {path: (each.kind.value, each.executable, each.digest) for path, each in sorted(versions.items())}
        temporary = self._file.with_name(f"{self._file.name}.{secrets.token_hex(4)}")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
            temporary.replace(self._file)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise StoreUnavailable(
                f"what was exchanged cannot be noted in the data folder ({error.strerror})",
                hint="The files are there. Free space on that disk; the same command then notes it.",
            ) from error
