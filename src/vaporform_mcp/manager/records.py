"""Workspaces' records in the store, found or made against what other servers do at the same time."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

from vaporform_mcp.errors import Conflict, NotFound
from vaporform_mcp.manager.requests import OpenRequest, agree
from vaporform_mcp.stores.base import Store
from vaporform_mcp.types import Spec, WorkspaceName, WorkspaceRecord
from vaporform_mcp.workspace.recording import update_record

__all__ = ["Records"]

MAKE_TRIES = 5


class Records:
    def __init__(self, store: Store, spec: Spec) -> None:
        self._store = store
        self._spec = spec

    async def find_or_make(
        self, owner: str, name: WorkspaceName, request: OpenRequest | None
    ) -> tuple[WorkspaceRecord, bool]:
        """The record, and whether this call made it; without a request none is made.

        A record that was found has a higher version afterwards: whoever made it learns so that it is in use.

        Raises:
            Conflict: it is not the one asked for.
            NotFound: there is none, and none is to be made.
        """
        for _ in range(MAKE_TRIES):
            found = await self._store.get_workspace(owner, name)
            if found is None and request is None:
                break
            if found is not None and request is not None:
                agree(found, request)
            try:
                if found is not None:
                    return await update_record(self._store, found, _used_now), False
                return await self._store.create_workspace(self._new(owner, name, request or OpenRequest())), True
            except (Conflict, NotFound):
                continue  # another server was quicker to make it, or has just deleted it
        raise NotFound(f"the workspace {name} was deleted meanwhile", hint="Open it again to make a new one.")

    def _new(self, owner: str, name: WorkspaceName, request: OpenRequest) -> WorkspaceRecord:
        now = time.time()
        spec = replace(
            self._spec,
            image=request.image,
            snapshot=request.snapshot,
            public=request.public,
            git_url=request.git_url,
            git_branch=request.branch,
            git_commit=request.commit,
            git_depth=request.depth,
            resources=request.resources,
        )
        return WorkspaceRecord(
            id=uuid.uuid4().hex[:16], owner=owner, name=name, spec=spec, created_at=now, last_used_at=now
        )


def _used_now(record: WorkspaceRecord) -> WorkspaceRecord:
    return replace(record, last_used_at=time.time())
