"""The database: its collections, made ready at the first call, and who may use them."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from functools import partial

import anyio
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from vaporform_mcp import __version__
from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.mongo.failures import NEWER, too_slow
from vaporform_mcp.stores.mongo.options import check_options
from vaporform_mcp.stores.mongo.reach import LOOK_MS, Reach
from vaporform_mcp.stores.mongo.tables import COMMAND_S, Doc, Table, together

__all__ = ["SCHEMA_VERSION", "Database", "Tables"]

log = logging.getLogger(__name__)
# The driver tells there of each command with all that is in it: names, contents, environments.
logging.getLogger("pymongo.command").setLevel(logging.INFO)

SCHEMA_VERSION = 1
SELECT_MS = 1500
"""How long a call looks for a server that takes it: what a store that is down costs."""

CONNECT_MS = 1200
"""How long each step of a connection may take; less, so that a server that says nothing is known as that in time."""

FIRST_TRIES = 3
"""The first contact with a far server has many steps (names, certificates): while none fails it is waited for."""

SILENT_S = 0.9
"""After so long a write's first command is doubted; a server that then answers nothing for as long is given up."""

CLOSE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """`docs/storage-format.md` explains every collection and field to people."""

    about: Table
    workspaces: Table
    revisions: Table
    changes: Table
    folds: Table
    files: Table
    chunks: Table


class Database:
    """Connects at the first call that needs it, and is made ready then, however many servers do so at once.

    A server that cannot be reached costs one call a short wait, and the next ones none, until the driver finds it.

    `read_only`: nothing is made, and where there is nothing, nothing is found.
    """

    def __init__(self, uri: str, name: str, *, read_only: bool = False) -> None:
        """Raises `StoreUnavailable` or, for its options, `InvalidArgument`: the URI cannot be used."""
        self._is_read_only = read_only
        self._reach = Reach()
        check_options(uri)
        try:
            self._client: AsyncMongoClient[Doc] = AsyncMongoClient(
                uri,
                appname="vaporform-mcp",
                serverSelectionTimeoutMS=SELECT_MS,
                connectTimeoutMS=CONNECT_MS,
                heartbeatFrequencyMS=LOOK_MS,
                event_listeners=[self._reach],
                tz_aware=True,
            )
            self._database = self._client[name]
        except (PyMongoError, OSError, ValueError, TypeError) as error:  # OSError: a file that it names
            # Without its text, which may quote the password.
            raise StoreUnavailable(
                f"the MongoDB URI cannot be used ({type(error).__name__})",
                hint="Mend VAPORFORM_MONGO__URI (or MONGODB_URI): mongodb://user:password@host/?options, with special "
                "characters in user and password percent-encoded.",
            ) from None
        self._tables = Tables(
            about=Table(self._database, "vaporform", self._reach),
            workspaces=Table(self._database, "workspaces", self._reach),
            revisions=Table(self._database, "revisions", self._reach),
            changes=Table(self._database, "changes", self._reach),
            folds=Table(self._database, "folds", self._reach),
            files=Table(self._database, "blobs.files", self._reach),
            chunks=Table(self._database, "blobs.chunks", self._reach),
        )
        self._is_ready = False
        self._id: str | None = None
        self._is_closed = False
        # Holds: one call makes it ready; those that come meanwhile find it so.
        self._preparing = anyio.Lock()

    async def tables(self) -> Tables:
        """Raises `StoreUnavailable`: it cannot be reached, or is of a newer version or of another program."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed", hint="The server is ending; start it again.")
        if not self._is_ready:
            async with self._preparing:
                await self._reach.check()
                if not self._is_ready:
                    await self._prepare()
                    self._is_ready = True
        await self._reach.check()
        return self._tables

    async def check_kept(self) -> None:
        """Before anything is made that would bring a database into being, and where nothing is found in it.

        Raises `StoreUnavailable`: it is no longer the one that was made ready.
        """
        about = await self._told_at_once()
        if not self._is_read_only and (about is None or about.get("id") != self._id):
            raise StoreUnavailable(
                "the MongoDB database was dropped or replaced while this server runs",
                hint="Put it back from a backup: everything then goes on by itself, and the sandboxes do so meanwhile. "
                "Only a server that is started anew begins with what is there now.",
            )

    async def _told_at_once(self) -> Doc | None:
        """What the database says of itself. A server that is slow is waited for; one that answers nothing is given up
        soon, so that a write does not wait for it.
        """
        about: Doc | None = None
        doubting = anyio.CancelScope()

        async def ask() -> None:
            nonlocal about
            about = await self._tables.about.one({"_id": "store"})
            doubting.cancel()

        async def doubt() -> None:
            with doubting:
                await anyio.sleep(SILENT_S)
                try:
                    with anyio.fail_after(SILENT_S):
                        await self._client.admin.command("ping")
                except PyMongoError:
                    return  # the question itself meets that too, and tells it better
                except TimeoutError as error:
                    silent = too_slow()
                    self._reach.lose(silent)
                    raise silent from error

        await together(ask, doubt)
        return about

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        with anyio.move_on_after(CLOSE_S, shield=True) as scope:
            await self._client.close()
        if scope.cancelled_caught:
            log.warning("gave up closing the connections to MongoDB after %s s", CLOSE_S)

    async def _prepare(self) -> None:
        await self._first_contact()
        tables = self._tables
        about = await tables.about.one({"_id": "store"})
        if about is None:
            await self._check_unused()
            if self._is_read_only:
                return
            made_by = f"vaporform-mcp {__version__}"
            await tables.about.insert(
                {"_id": "store", "schema": SCHEMA_VERSION, "made_by": made_by, "id": uuid.uuid4().hex}
            )
            about = await tables.about.one({"_id": "store"}) or {}
        _check_schema(about)
        self._id = about.get("id")  # none in a database of the first versions
        if self._is_read_only:
            return
        await together(*(partial(index, tables) for index in (_index_records, _index_revisions, _index_blobs)))

    async def _first_contact(self) -> None:
        for attempt in range(FIRST_TRIES):
            try:
                with self._reach.bounded(COMMAND_S):
                    await self._client.admin.command("ping")
            except StoreUnavailable:
                if attempt == FIRST_TRIES - 1 or self._reach.has_failed:
                    raise
            else:
                return

    async def _check_unused(self) -> None:
        """A database that has collections named as ours and no word of us is another program's."""
        with self._reach.bounded(COMMAND_S):
            names = await self._database.list_collection_names()
        if taken := sorted({"workspaces", "revisions", "blobs.files", "blobs.chunks"} & set(names)):
            raise StoreUnavailable(
                f"the MongoDB database has collections of another program ({', '.join(taken)})",
                hint="Set VAPORFORM_MONGO__DATABASE to a database of its own; it is made at the first call.",
            )


def _check_schema(about: Doc) -> None:
    version = about.get("schema")
    if not isinstance(version, int) or version < 1:
        raise StoreUnavailable(
            "the MongoDB database does not say which version of vaporform-mcp's schema it has",
            hint="Set VAPORFORM_MONGO__DATABASE to another database, or restore this one from a backup.",
        )
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"the MongoDB database was written by a newer vaporform-mcp (schema {version}; this one knows "
            f"{SCHEMA_VERSION})",
            hint=NEWER,
        )


async def _index_records(tables: Tables) -> None:
    await tables.workspaces.index("owner", "name", "trash", unique=True)
    await tables.workspaces.index("key")


async def _index_revisions(tables: Tables) -> None:
    # The first two make an append compare-and-set, whatever gaps the numbers have; the third makes it repeatable.
    await tables.revisions.index("workspace", "parent", unique=True)
    await tables.revisions.index("workspace", "number", unique=True)
    await tables.revisions.index("workspace", "id", unique=True)
    await tables.revisions.index("workspace", "label", "-number")
    for table in (tables.revisions, tables.changes):
        await table.index("workspace", "changes.path", "-number")
    await tables.changes.index("revision", "part")
    await tables.folds.index("workspace", "number", "page", unique=True)


async def _index_blobs(tables: Tables) -> None:
    # What the GridFS specification asks for.
    await tables.files.index("filename", "uploadDate")
    await tables.chunks.index("files_id", "n", unique=True)
