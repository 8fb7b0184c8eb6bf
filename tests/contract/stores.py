"""What the store tests share: how each kind of store is opened, and samples to keep in it."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import mongod
from vaporform_mcp.stores.base import Blob, Store
from vaporform_mcp.stores.mongo import MongoStore, open_mongo
from vaporform_mcp.stores.sqlite import SqliteStore, open_sqlite
from vaporform_mcp.types import (
    Change,
    Digest,
    Entry,
    EntryKind,
    Revision,
    Spec,
    WorkspaceName,
    WorkspacePath,
    WorkspaceRecord,
    parse_path,
)

__all__ = [
    "KINDS",
    "LONG",
    "Clock",
    "append",
    "blob",
    "digest_of",
    "file",
    "link",
    "make_workspace",
    "open_store",
    "path",
    "record",
    "streamed",
    "write",
]

LONG = os.environ.get("TEST_LONG", "") not in ("", "0")
KINDS = ("sqlite", "mongo")
_conform: tuple[type[Store], ...] = (SqliteStore, MongoStore)


@dataclass
class Clock:
    """Tells the time that a test set."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def open_store(kind: str, folder: Path, clock: Callable[[], float]) -> AsyncGenerator[Store]:
    match kind:
        case "sqlite":
            async with open_sqlite(folder / "data" / "vaporform.sqlite3", clock=clock) as store:
                yield store
        case "mongo":
            uri = mongod.shared.uri()
            with mongod.dropped(uri) as name:
                async with open_mongo(uri, name, clock=clock) as store:
                    yield store
        case _:
            raise ValueError(kind)


def digest_of(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest())


def blob(content: bytes) -> Blob:
    return Blob(digest=digest_of(content), content=content, mime_type="text/plain")


def file(content: bytes, *, mode: int = 0o644) -> Entry:
    return Entry(kind=EntryKind.FILE, mode=mode, size=len(content), digest=digest_of(content), mime_type="text/plain")


def link(target: bytes) -> Entry:
    return Entry(
        kind=EntryKind.SYMLINK,
        mode=0o777,
        size=len(target),
        digest=digest_of(target),
        mime_type="inode/symlink",
    )


async def entry_of(store: Store, workspace_id: str, at: WorkspacePath) -> Entry | None:
    return (await store.entries(workspace_id, [at])).get(at)


def path(raw: str) -> WorkspacePath:
    return parse_path(raw)


def record(name: str, *, owner: str = "ada", id: str | None = None, last_used_at: float = 1.0) -> WorkspaceRecord:
    return WorkspaceRecord(
        id=id or uuid.uuid4().hex,
        owner=owner,
        name=WorkspaceName(name),
        spec=Spec(provider="local"),
        created_at=1.0,
        last_used_at=last_used_at,
    )


async def make_workspace(store: Store, name: str = "site") -> str:
    return (await store.create_workspace(record(name))).id


async def append(
    store: Store,
    workspace: str,
    changes: Mapping[str, Entry | None],
    *,
    parent: int | None = None,
    epoch: int = 0,
    label: str | None = None,
    revision_id: str | None = None,
) -> Revision:
    """Append on the head, unless `parent` says on what."""
    return await store.append(
        workspace,
        parent=(await store.head(workspace)).number if parent is None else parent,
        revision_id=revision_id or uuid.uuid4().hex,
        epoch=epoch,
        changes=[Change(path=parse_path(name), entry=entry) for name, entry in changes.items()],
        made_by="test",
        label=label,
    )


async def write(
    store: Store, workspace: str, contents: Mapping[str, bytes | None], *, label: str | None = None
) -> Revision:
    """Put the contents and append them on the head; None removes."""
    await store.put_blobs([blob(content) for content in contents.values() if content is not None])
    entries = {name: None if content is None else file(content) for name, content in contents.items()}
    return await append(store, workspace, entries, label=label)


async def streamed(content: bytes, piece: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), piece):
        yield content[start : start + piece]
