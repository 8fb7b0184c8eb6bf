"""What the store alone can tell of an owner's workspaces: nothing here makes a workspace or starts a sandbox."""

from __future__ import annotations

from collections.abc import Sequence

from vaporform_mcp import history
from vaporform_mcp.errors import NotFound, TooLarge
from vaporform_mcp.sandboxes.base import MAX_FILE_BATCH_BYTES
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import WorkspaceName, WorkspacePath, WorkspaceRecord
from vaporform_mcp.workspace.results import FileText

__all__ = ["Archive"]

MAX_FILE_BYTES = MAX_FILE_BATCH_BYTES
MAX_REVISIONS = 500


class Archive:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, owner: str, name: WorkspaceName) -> WorkspaceRecord:
        """Raises `NotFound` where the owner has none of that name outside the trash."""
        record = await self._store.get_workspace(owner, name)
        if record is None:
            raise NotFound(f"there is no workspace {name}", hint="See list_workspaces.")
        return record

    async def names(self, owner: str) -> Sequence[str]:
        """The owner's workspaces, latest used first."""
        return [record.name for record in await self._store.list_workspaces(owner)]

    async def points(self, owner: str, name: WorkspaceName) -> Sequence[str]:
        """The latest revisions: their numbers and, after these, the labels among them; newest first."""
        record = await self.find(owner, name)
        revisions = await self._store.log(record.id, limit=MAX_REVISIONS)
        labels = [revision.label for revision in revisions if revision.label is not None]
        return [*(str(revision.number) for revision in revisions), *dict.fromkeys(labels)]

    async def paths(self, owner: str, name: WorkspaceName, at: str | None) -> Sequence[WorkspacePath]:
        """What there is at a point, None for the newest, in path order."""
        record = await self.find(owner, name)
        number = (await history.find(self._store, record.id, at)).number if at is not None else None
        return sorted(await self._store.tree(record.id, number))

    async def file(self, owner: str, name: WorkspaceName, path: WorkspacePath, at: str | None) -> FileText:
        """The file at a point, None for the newest, as the mirror has it; of a symbolic link, its target.

        Raises:
            NotFound: there is no such workspace, point or file, or its content is missing or damaged.
            TooLarge: it is over `MAX_FILE_BYTES`.
        """
        record = await self.find(owner, name)
        store = self._store
        point = await (history.find(store, record.id, at) if at is not None else history.newest(store, record.id))
        entry = (await store.entries(record.id, [path], point.number)).get(path)
        if entry is None:
            near = history.near_paths(path, await store.tree(record.id, point.number))
            hint = f"Near it: {', '.join(near)}." if near else "Look with history."
            raise NotFound(f"{point} of the workspace {name} has no file {path!r}", hint=hint)
        if entry.size > MAX_FILE_BYTES:
            raise TooLarge(
                f"{path!r} at {point} has {entry.size:,} bytes; at most {MAX_FILE_BYTES:,} are given as a resource",
                hint="`vaporform-mcp export` writes it to a folder of yours.",
            )
        content = (await store.get_blobs({entry.digest})).get(entry.digest)
        if content is None:
            raise NotFound(
                f"the content of {path!r} at {point} is missing or damaged in the store",
                hint="`vaporform-mcp verify` names all that is.",
            )
        return FileText(
            path=path,
            content=content,
            mime_type=entry.mime_type,
            source="mirror",
            revision=point.number,
            removed=False,
        )
