"""Files that come in pieces: open, append, commit."""

from __future__ import annotations

from .faults import Refused
from .writing import Draft

__all__ = ["Uploads"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection
    from .request import Request
    from .root import Root

MAX_UPLOADS = 16
"""At a time, of one connection."""


class Uploads:
    """An upload belongs to the connection that opened it and is gone with it."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._drafts: dict[tuple[Connection, int], Draft] = {}
        self._count = 0

    def operations(self) -> dict[str, Callable[[Request], None]]:
        return {"open": self._open, "append": self._append, "commit": self._commit}

    def disconnected(self, connection: Connection) -> None:
        for key in [key for key in self._drafts if key[0] is connection]:
            self._drafts.pop(key).abort()

    def _open(self, request: Request) -> None:
        self._root.require()
        if sum(key[0] is request.connection for key in self._drafts) >= MAX_UPLOADS:
            raise Refused("limit", f"{MAX_UPLOADS} files are being uploaded already", "Wait until one is done.")
        expected = request.optional_items("expected")
        draft = Draft(self._root, request.text("path"), request.optional_integer("mode"), expected)
        self._count += 1
        self._drafts[request.connection, self._count] = draft
        request.reply({"upload": self._count})

    def _append(self, request: Request) -> None:
        draft = self._find(request)
        try:
            draft.append(request.data)
        except Refused:
            # Its space is wanted by others, and nothing can be done with half of it.
            self._take(request).abort()
            raise
        request.reply({})

    def _commit(self, request: Request) -> None:
        draft = self._take(request)
        if request.flag("abort"):
            draft.abort()
            request.reply({"stat": None})
        elif self._root.is_gone:
            draft.abort()
            self._root.require()
        else:
            request.reply(draft.commit(flush=False))

    def _find(self, request: Request) -> Draft:
        draft = self._drafts.get((request.connection, request.integer("upload")))
        if draft is None:
            raise Refused("not_found", "there is no such upload; it may have failed before", "Begin it again.")
        return draft

    def _take(self, request: Request) -> Draft:
        draft = self._find(request)
        del self._drafts[request.connection, request.integer("upload")]
        return draft
