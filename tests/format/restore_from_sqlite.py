"""Restores a workspace from a store's SQLite file. Written from docs/storage-format.md; uses none of our code.

    python3 restore_from_sqlite.py DATABASE WORKSPACE TARGET [REVISION]

WORKSPACE is a name, REVISION a number or a label (without it: the newest). TARGET must be empty or not there. Exits
with 1 where a file could not be restored; those that could are there then.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

APPLICATION_ID = 0x56706F72
SCHEMA_VERSION = 1

TREE = """
    SELECT path, kind, mode, size, digest FROM changes AS c WHERE workspace = ? AND kind IS NOT NULL AND number = (
        SELECT max(number) FROM changes WHERE workspace = c.workspace AND path = c.path AND number <= ?)
    ORDER BY kind = 'symlink', path
"""
CHUNKS = "SELECT content FROM chunks WHERE blob = (SELECT id FROM blobs WHERE digest = ?) ORDER BY seq"


def main(database: str, workspace: str, target: Path, revision: str | None) -> int:
    # By a URI, so that a misspelt name is refused and not made.
    with closing(sqlite3.connect(f"{Path(database).absolute().as_uri()}?mode=ro", uri=True)) as db:
        check(db)
        key = key_of(db, workspace)
        tree = db.execute(TREE, (key, number_of(db, key, revision))).fetchall()
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            sys.exit(f"{target} is not empty")
        taken = {row[0] for row in tree}
        faults = 0
        for path, kind, mode, size, digest in tree:
            fault = misplaced(path, taken) or restore(db, target / path, kind, mode, size, digest)
            if fault:
                faults += 1
                sys.stderr.write(f"{path!r}: {fault}\n")
    return 1 if faults else 0


def check(db: sqlite3.Connection) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        sys.exit("this is no store")
    if version != SCHEMA_VERSION:
        sys.exit(f"this store has schema {version}; the page that was read describes {SCHEMA_VERSION}")


def key_of(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT key FROM workspaces WHERE name = ? AND deleted_at IS NULL", (name,)).fetchone()
    if row is None:
        known = ", ".join(row[0] for row in db.execute("SELECT name FROM workspaces ORDER BY name"))
        sys.exit(f"there is no workspace {name!r}; there are: {known}")
    return row[0]


def number_of(db: sqlite3.Connection, key: int, revision: str | None) -> int:
    if revision is None:
        return db.execute("SELECT number FROM heads WHERE workspace = ?", (key,)).fetchone()[0]
    column = "number" if revision.isdigit() else "label"
    sql = f"SELECT max(number) FROM revisions WHERE workspace = ? AND {column} = ?"  # noqa: S608  # one of two names
    (number,) = db.execute(sql, (key, int(revision) if revision.isdigit() else revision)).fetchone()
    if number is None:
        sys.exit(f"there is no revision {revision}")
    return number


def misplaced(path: str, taken: set[str]) -> str | None:
    """What the page says that no path has, in case somebody else wrote this one."""
    parts = path.split("/")
    if "\0" in path or any(part in {"", ".", ".."} for part in parts):
        return "refused, since it is no path inside the folder"
    if any("/".join(parts[:count]) in taken for count in range(1, len(parts))):
        return "refused, since what it lies below is no folder"
    return None


def restore(db: sqlite3.Connection, place: Path, kind: str, mode: int, size: int, digest: str) -> str | None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "symlink":
        content = b"".join(chunks(db, digest))
        if hashlib.sha256(content).hexdigest() != digest:
            return "damaged"
        place.symlink_to(os.fsdecode(content))
        return None
    partial = place.with_name(f".restoring-{secrets.token_hex(8)}")
    seen = hashlib.sha256()
    with partial.open("wb") as file:
        for chunk in chunks(db, digest):
            seen.update(chunk)
            file.write(chunk)
    if seen.hexdigest() != digest or partial.stat().st_size != size:
        partial.unlink()
        return "damaged"
    partial.chmod(mode)
    partial.rename(place)
    return None


def chunks(db: sqlite3.Connection, digest: str) -> Iterator[bytes]:
    for (content,) in db.execute(CHUNKS, (digest,)):
        yield content


if __name__ == "__main__":
    if len(sys.argv) not in {4, 5}:
        sys.exit(f"usage: {sys.argv[0]} DATABASE WORKSPACE TARGET [REVISION]")
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4] if len(sys.argv) == 5 else None))
