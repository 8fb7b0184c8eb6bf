"""One writing connection and a few reading ones to the store's file, used in worker threads."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import to_thread

from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.sqlite.failures import FILE, another_file, is_busy, is_lasting, translated
from vaporform_mcp.stores.sqlite.files import FileId, connect, connect_read_only, identify, pin
from vaporform_mcp.stores.sqlite.schema import check_tables, is_current, prepare

__all__ = ["Connections"]

log = logging.getLogger(__name__)

T = TypeVar("T")

READERS = 3
TURN_S = 15.0  # how long a call waits for this process's earlier calls: a few that each met a locked file
CLOSE_S = 10.0
BUSY_PAUSE_S = 0.02


@dataclass(slots=True)
class _Opened:
    """A connection, the file that it was opened on, and whether its commits wait for the disk."""

    connection: sqlite3.Connection
    file: FileId | None
    is_durable: bool = True


class Connections:
    """Opens nothing before the first call that needs it, and then uses that file alone, whatever comes in its place.

    A call that was cancelled ends its thread's work before it gives way, so a connection is never left inside a
    transaction; that is bounded by `busy_s` and the work itself.
    """

    def __init__(self, path: Path, busy_s: float, *, read_only: bool = False) -> None:
        self._path = path
        self._is_read_only = read_only
        # The file that was found good first. An empty one in its place would be taken for a store with nothing in it.
        self._file: FileId | None = None
        self._pin: int | None = None
        self._busy_s = busy_s
        self._threads = anyio.CapacityLimiter(1 + READERS)
        self._writing = anyio.Semaphore(1, fast_acquire=True)
        self._reading = anyio.Semaphore(READERS, fast_acquire=True)
        self._writer: _Opened | None = None
        self._readers: list[_Opened] = []
        self._is_closed = False
        # Holds: one of our threads makes or brings forward the tables, or learns which file is ours; others find it so.
        self._preparing = threading.Lock()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` reads from one consistent state of the file; it never waits for a writer."""
        return await self._in_turn(self._reading, self._read, work)

    async def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Run `work` as one transaction. One that is not `durable` becomes so with the next that is.

        In WAL mode a commit with synchronous=FULL flushes the whole log, so what was committed before it without
        a flush of its own lies on the disk then as well.
        """
        return await self._in_turn(self._writing, lambda wanted: self._write(wanted, durable=durable), work)

    async def aclose(self) -> None:
        """Close the connections that no thread uses any more. Safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        turns = [self._writing, *[self._reading] * READERS]
        with anyio.move_on_after(CLOSE_S, shield=True) as scope:
            for turn in turns:
                await turn.acquire()
            await to_thread.run_sync(self._close, limiter=self._threads)
            for turn in turns:
                turn.release()
        if scope.cancelled_caught:
            log.warning("gave up closing the store's file after %s s", CLOSE_S)

    async def _in_turn(
        self,
        turns: anyio.Semaphore,
        run: Callable[[Callable[[sqlite3.Connection], T]], T],
        work: Callable[[sqlite3.Connection], T],
    ) -> T:
        try:
            with anyio.fail_after(TURN_S):
                await turns.acquire()
        except TimeoutError as error:
            raise StoreUnavailable(
                f"{FILE} has been too busy to take this call for {TURN_S:.0f} seconds", hint="Repeat the call."
            ) from error
        try:
            if self._is_closed:
                raise StoreUnavailable("the store is closed", hint="The server is ending; start it again.")
            return await to_thread.run_sync(run, work, limiter=self._threads)
        finally:
            turns.release()

    # What follows runs in worker threads, one at a time for the writer and each reader. -------------------------

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with translated():
            reader = self._idle_reader()
            is_usable = True
            try:
                return _look(reader.connection, work)
            except sqlite3.Error as error:
                is_usable = not is_lasting(error)
                raise
            finally:
                if is_usable:
                    self._readers.append(reader)
                else:
                    _close(reader)

    def _write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool) -> T:
        with translated():
            writer = self._current_writer()
            try:
                if writer.is_durable != durable:
                    writer.connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    writer.is_durable = durable
                return _transact(writer.connection, work)
            except sqlite3.Error as error:
                if is_lasting(error):
                    self._retire_writer()
                raise

    def _idle_reader(self) -> _Opened:
        is_there = self._is_there()
        while (reader := self._popped_reader()) is not None:
            if is_there and reader.file == self._file:
                return reader
            _close(reader)
        if not is_there:
            raise another_file()
        reader = self._open()
        try:
            if not self._patiently(is_current, reader.connection):
                # By a connection of its own: the writer may be at work in another thread.
                maker = self._open()
                try:
                    self._prepare(maker.connection)
                finally:
                    _close(maker)
            self._patiently(check_tables, reader.connection)
            self._learn(reader)
            reader.connection.execute("PRAGMA query_only = ON")
        except BaseException:
            _close(reader)
            raise
        return reader

    def _popped_reader(self) -> _Opened | None:
        try:
            return self._readers.pop()  # asking first whether there is one would let another thread take it
        except IndexError:
            return None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with self._preparing:
            self._patiently(prepare, connection)

    def _patiently(self, work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
        """Some steps, such as the switch to WAL, meet a locked file without SQLite's own wait for it."""
        until = time.monotonic() + self._busy_s
        while True:
            try:
                return work(connection)
            except sqlite3.Error as error:
                if not is_busy(error) or time.monotonic() >= until:
                    raise
            time.sleep(BUSY_PAUSE_S)

    def _current_writer(self) -> _Opened:
        if not self._is_there():
            # What is written to a file that was moved away would be lost.
            self._retire_writer()
            raise another_file()
        if self._writer is None:
            writer = self._open()
            try:
                self._prepare(writer.connection)
                self._patiently(check_tables, writer.connection)
                self._learn(writer)
            except BaseException:
                _close(writer)
                raise
            self._writer = writer
        return self._writer

    def _open(self) -> _Opened:
        if self._is_read_only:
            connection = connect_read_only(self._path, self._busy_s)
        else:
            connection = connect(self._path, self._busy_s, may_make=self._file is None)
        return _Opened(connection, identify(self._path))

    def _is_there(self) -> bool:
        """Whether the file is the one that was used so far, if any was."""
        return self._file is None or identify(self._path) == self._file

    def _learn(self, opened: _Opened) -> None:
        """From now on it is this file, or one that was already. Raises `StoreUnavailable` where it is another."""
        with self._preparing:
            if self._file is None and opened.file is not None:
                self._pin = pin(self._path, opened.file)
                self._file = opened.file
            if opened.file != self._file:
                raise another_file()

    def _retire_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        # Closing a file that was moved leaves out what is in its log only, and the log stays behind.
        with suppress(sqlite3.Error):
            writer.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        _close(writer)

    def _close(self) -> None:
        while self._readers:
            _close(self._readers.pop())
        self._retire_writer()
        if self._pin is not None:
            os.close(self._pin)
            self._pin = None


def _look(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _transact(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # A newer server may have changed the tables while this one runs.
        is_current(connection)
        result = work(connection)
        connection.execute("COMMIT")
        return result
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _close(opened: _Opened) -> None:
    try:
        opened.connection.close()
    except sqlite3.Error:
        log.warning("the store's file could not be closed cleanly", exc_info=True)
