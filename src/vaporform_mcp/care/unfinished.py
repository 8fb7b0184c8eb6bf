"""What is being imported: nobody's workspace until it is complete, and forgotten where its import was killed."""

from __future__ import annotations

import logging

from vaporform_mcp.errors import Conflict
from vaporform_mcp.stores.base import Store

__all__ = ["UNFINISHED_S", "forget_unfinished", "importer_for"]

log = logging.getLogger(__name__)

UNFINISHED_S = 86_400.0
"""An import on any machine is done or dead by then."""


def importer_for(owner: str) -> str:
    """Who owns what is being imported for `owner`: so it is neither listed nor taken out of a trash by halves."""
    return f"{owner} (importing)"


async def forget_unfinished(store: Store, owner: str, *, now: float) -> None:
    """Forget what imports for the owner have left that were killed at least `UNFINISHED_S` ago. Safe to repeat.

    Contents that nothing else names go with the next prune.
    """
    for record in await store.list_workspaces(importer_for(owner), deleted=True):
        if record.last_used_at < now - UNFINISHED_S:
            try:
                await store.delete_workspace(record.id, version=record.version)
            except Conflict as error:
                log.info("left an import alone that goes on: %s", error)
