"""A collection as the rest of the store uses it: every command bounded in time, its failures in our words."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import anyio
import pymongo
from anyio import CapacityLimiter
from pymongo import ReadPreference, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure
from pymongo.read_concern import ReadConcern

from vaporform_mcp.stores.mongo.reach import Reach

__all__ = ["ASKED_AT_ONCE", "COMMAND_S", "Doc", "Table", "Update", "pieces", "together"]

Doc = dict[str, Any]
"""A document as the driver gives and takes it."""

Update = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Which document to update, and how; it is made where it is not there."""

T = TypeVar("T")

COMMAND_S = 10.0
BYTES_PER_S = 256 * 1024
"""A command that carries much is given its time on a slow line as well."""

ASKED_AT_ONCE = 256
"""Names in one `$in`. Some servers compare every document with the whole list."""

_AT_A_TIME = 8
_DUPLICATE = 11000


class Table:
    """One collection, written with majority and journal, read as a majority has it from the primary."""

    def __init__(self, database: AsyncDatabase[Doc], name: str, reach: Reach) -> None:
        self._reach = reach
        self._collection: AsyncCollection[Doc] = database.get_collection(
            name,
            write_concern=WriteConcern(w="majority", j=True),
            read_concern=ReadConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )

    async def one(
        self, condition: Mapping[str, Any], *, fields: Mapping[str, int] | None = None, last: str | None = None
    ) -> Doc | None:
        """A document that meets the condition: the one with the highest `last`, where that is given."""
        found = await self.find(condition, fields=fields, sort=None if last is None else (last, -1), limit=1)
        return found[0] if found else None

    async def find(
        self,
        condition: Mapping[str, Any],
        *,
        fields: Mapping[str, int] | None = None,
        sort: tuple[str, int] | None = None,
        limit: int = 0,
    ) -> list[Doc]:
        """Every document that meets the condition; the caller knows that they are few enough to hold."""
        return [
            document
            async for documents in self._batches(condition, fields, sort, limit, batch=10_000)
            for document in documents
        ]

    async def scan(
        self, condition: Mapping[str, Any], *, fields: Mapping[str, int] | None = None, sort: str | None = None
    ) -> AsyncGenerator[Doc]:
        """The documents one by one, however many there are; a `sort` that begins with a minus is in falling order."""
        order = None if sort is None else (sort.removeprefix("-"), -1 if sort.startswith("-") else 1)
        async with aclosing(self._batches(condition, fields, order, 0, batch=500)) as batches:
            async for documents in batches:
                for document in documents:
                    yield document

    async def named(
        self,
        field: str,
        names: Collection[object],
        *,
        also: Mapping[str, Any] | None = None,
        fields: Mapping[str, int] | None = None,
    ) -> list[Doc]:
        """Every document whose `field` is one of `names` and that meets `also`."""
        found: list[Doc] = []
        limiter = CapacityLimiter(_AT_A_TIME)

        async def ask(some: Sequence[object]) -> None:
            async with limiter:
                found.extend(await self.find({field: {"$in": list(some)}, **(also or {})}, fields=fields))

        groups = list(pieces(list(names), ASKED_AT_ONCE))
        await together(*(partial(ask, some) for some in groups))
        return found

    async def distinct(self, field: str) -> list[Any]:
        """Every value of an indexed field."""
        with self._reach.bounded(COMMAND_S * 3):
            cursor = await self._collection.aggregate([{"$sort": {field: 1}}, {"$group": {"_id": f"${field}"}}])
            async with cursor:
                return [document["_id"] async for document in cursor]

    async def insert(self, document: Doc) -> bool:
        """Whether it was inserted: False where a unique index has its like already."""
        try:
            with self._reach.bounded(COMMAND_S):
                await self._insert_one(document)
        except _Duplicate:
            return False
        return True

    async def insert_all(self, documents: Sequence[Doc], *, size_bytes: int) -> list[int]:
        """Insert what no unique index has the like of; answers with the places of the others."""
        if not documents:
            return []
        with self._reach.bounded(COMMAND_S + size_bytes / BYTES_PER_S):
            try:
                await self._collection.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                return _duplicates(error)
        return []

    async def update(self, condition: Mapping[str, Any], change: Mapping[str, Any], *, upsert: bool = False) -> bool:
        """Change one document; answers whether it was there. `Duplicate` races of an upsert are tried again."""
        for _ in range(3):
            try:
                with self._reach.bounded(COMMAND_S):
                    result = await self._update_one(condition, change, upsert=upsert)
            except _Duplicate:
                if upsert:
                    continue
                raise
            return result > 0
        return False

    async def update_unless_taken(self, condition: Mapping[str, Any], change: Mapping[str, Any]) -> bool | None:
        """Change one document; answers whether it was there, None where a unique index refuses the change."""
        try:
            return await self.update(condition, change)
        except _Duplicate:
            return None

    async def update_many(self, condition: Mapping[str, Any], change: Mapping[str, Any]) -> int:
        """Change all that meet the condition; answers how many those were."""
        with self._reach.bounded(COMMAND_S * 2):
            return (await self._collection.update_many(condition, change)).matched_count

    async def update_named(
        self, names: Collection[object], change: Mapping[str, Any], *, also: Mapping[str, Any] | None = None
    ) -> int:
        """Change the documents with these ids that meet `also`; answers how many those were."""
        count = 0
        for some in pieces(list(names), ASKED_AT_ONCE):
            count += await self.update_many({"_id": {"$in": list(some)}, **(also or {})}, change)
        return count

    async def upsert_all(self, updates: Iterable[Update], *, size_bytes: int) -> None:
        """Each in turn, made where it is not there; of two that make one at once, the second updates it."""
        writes = [pymongo.UpdateOne(condition, change, upsert=True) for condition, change in updates]
        for _ in range(3):
            if not writes:
                return
            with self._reach.bounded(COMMAND_S + size_bytes / BYTES_PER_S):
                try:
                    await self._collection.bulk_write(writes, ordered=False)
                except BulkWriteError as error:
                    writes = [writes[place] for place in _duplicates(error)]
                else:
                    return

    async def update_each(self, updates: Sequence[Update]) -> list[int]:
        """Each in turn, none made; answers with the places of those that a unique index refuses."""
        writes = [pymongo.UpdateOne(condition, change) for condition, change in updates]
        if not writes:
            return []
        with self._reach.bounded(COMMAND_S * 2):
            try:
                await self._collection.bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                return _duplicates(error)
        return []

    async def delete(self, condition: Mapping[str, Any]) -> int:
        """Delete all that meet the condition; answers how many those were."""
        with self._reach.bounded(COMMAND_S * 2):
            return (await self._collection.delete_many(condition)).deleted_count

    async def delete_each(self, conditions: Sequence[Mapping[str, Any]]) -> int:
        count = 0
        for some in pieces(conditions, 500):
            with self._reach.bounded(COMMAND_S * 2):
                writes = [pymongo.DeleteOne(condition) for condition in some]
                count += (await self._collection.bulk_write(writes, ordered=False)).deleted_count
        return count

    async def count(self, condition: Mapping[str, Any]) -> int:
        with self._reach.bounded(COMMAND_S):
            return await self._collection.count_documents(condition)

    async def index(self, *fields: str, unique: bool = False) -> None:
        """Make the index unless it is there. A field that begins with a minus is in falling order."""
        with self._reach.bounded(COMMAND_S * 3):
            await self._collection.create_index(
                [(field.removeprefix("-"), -1 if field.startswith("-") else 1) for field in fields], unique=unique
            )

    async def _batches(
        self,
        condition: Mapping[str, Any],
        fields: Mapping[str, int] | None,
        sort: tuple[str, int] | None,
        limit: int,
        *,
        batch: int,
    ) -> AsyncGenerator[list[Doc]]:
        cursor = self._collection.find(condition, fields, sort=None if sort is None else [sort], limit=limit)
        async with cursor.batch_size(batch):
            while cursor.alive:
                with self._reach.bounded(COMMAND_S * 2):
                    # Takes what is here already; only where nothing is, it asks the server.
                    documents = await cursor.to_list(batch)
                yield documents

    async def _insert_one(self, document: Doc) -> None:
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError as error:
            raise _Duplicate from error

    async def _update_one(self, condition: Mapping[str, Any], change: Mapping[str, Any], *, upsert: bool) -> int:
        try:
            result = await self._collection.update_one(condition, change, upsert=upsert)
        except OperationFailure as error:
            if error.code == _DUPLICATE:
                raise _Duplicate from error
            raise
        return result.matched_count


class _Duplicate(Exception):
    """A unique index has the like of it already."""


async def together(*calls: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Make the calls beside each other. The first failure ends the others and comes out as it is, in no group."""
    if len(calls) == 1:
        await calls[0]()
        return
    try:
        async with anyio.create_task_group() as group:
            for call in calls:
                group.start_soon(call)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in their order, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _duplicates(error: BulkWriteError) -> list[int]:
    """The places of the duplicates in a batch of which nothing else was refused. Raises the error otherwise."""
    details = error.details or {}
    errors: list[Doc] = details.get("writeErrors", [])
    if details.get("writeConcernErrors") or any(each["code"] != _DUPLICATE for each in errors):
        raise error
    return [each["index"] for each in errors]
