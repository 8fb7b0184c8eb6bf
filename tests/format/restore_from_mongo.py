"""Restores a workspace from a store in MongoDB. Written from docs/storage-format.md; uses a plain driver alone.

    python3 restore_from_mongo.py URI DATABASE WORKSPACE TARGET [REVISION]

WORKSPACE is a name, REVISION a number or a label (without it: the newest). TARGET must be empty or not there. Exits
with 1 where a file could not be restored; those that could are there then.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import gridfs
from gridfs.errors import CorruptGridFile, NoFile
from pymongo import MongoClient
from pymongo.database import Database

SCHEMA_VERSION = 1

Doc = dict[str, Any]


def main(uri: str, database: str, name: str, target: Path, revision: str | None) -> int:
    with MongoClient[Doc](uri) as client:
        db = client[database]
        check(db)
        workspace = workspace_of(db, name)
        tree = tree_at(db, workspace, number_of(db, workspace, revision))
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            sys.exit(f"{target} is not empty")
        bucket = gridfs.GridFSBucket(db, bucket_name="blobs")
        faults = 0
        for path, entry in sorted(tree.items(), key=lambda item: (item[1]["kind"] == "symlink", item[0])):
            fault = misplaced(path, tree) or restore(bucket, target / path, entry)
            if fault:
                faults += 1
                sys.stderr.write(f"{path!r}: {fault}\n")
    return 1 if faults else 0


def check(db: Database[Doc]) -> None:
    about = db["vaporform"].find_one({"_id": "store"})
    if about is None:
        sys.exit("this is no store")
    if about["schema"] != SCHEMA_VERSION:
        sys.exit(f"this store has schema {about['schema']}; the page that was read describes {SCHEMA_VERSION}")


def workspace_of(db: Database[Doc], name: str) -> Doc:
    found = db["workspaces"].find_one({"name": name, "deleted_at": None})
    if found is None:
        known = ", ".join(sorted(each["name"] for each in db["workspaces"].find()))
        sys.exit(f"there is no workspace {name!r}; there are: {known}")
    return found


def kept(workspace: Doc) -> Doc:
    """Revisions that are committed and were not pruned."""
    return {
        "workspace": workspace["key"],
        "pending": None,
        "$or": [{"number": {"$gt": workspace["pruned_to"]}}, {"kept": True}],
    }


def number_of(db: Database[Doc], workspace: Doc, revision: str | None) -> int:
    condition = kept(workspace)
    if revision is not None:
        condition |= {"number": int(revision)} if revision.isdigit() else {"label": revision}
    found = db["revisions"].find_one(condition, sort=[("number", -1)])
    if found is None:
        sys.exit(f"there is no revision {revision or 'at all'}")
    return found["number"]


def tree_at(db: Database[Doc], workspace: Doc, number: int) -> dict[str, Doc]:
    tree: dict[str, Doc] = {}
    for revision in db["revisions"].find(kept(workspace), sort=[("number", 1)]):
        if revision["number"] > number:
            break
        parts = [revision]
        if "parts" in revision:
            parts = list(db["changes"].find({"revision": revision["parts"]}, sort=[("part", 1)]))
        for change in (change for part in parts for change in part["changes"]):
            if change["kind"] is None:
                tree.pop(change["path"], None)
            else:
                tree[change["path"]] = change
    return tree


def misplaced(path: str, tree: dict[str, Doc]) -> str | None:
    """What the page says that no path has, in case somebody else wrote this one."""
    parts = path.split("/")
    if "\0" in path or any(part in {"", ".", ".."} for part in parts):
        return "refused, since it is no path inside the folder"
    if any("/".join(parts[:count]) in tree for count in range(1, len(parts))):
        return "refused, since what it lies below is no folder"
    return None


def restore(bucket: gridfs.GridFSBucket, place: Path, entry: Doc) -> str | None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with bucket.open_download_stream(entry["digest"]) as stream:
            if entry["kind"] == "symlink":
                content = stream.read()
                if hashlib.sha256(content).hexdigest() != entry["digest"]:
                    return "damaged"
                place.symlink_to(os.fsdecode(content))
                return None
            seen = hashlib.sha256()
            with place.open("wb") as file:
                while piece := stream.read(1024 * 1024):
                    seen.update(piece)
                    file.write(piece)
    except (NoFile, CorruptGridFile):
        place.unlink(missing_ok=True)
        return "damaged"
    if seen.hexdigest() != entry["digest"]:
        place.unlink()
        return "damaged"
    place.chmod(entry["mode"])
    return None


if __name__ == "__main__":
    if len(sys.argv) not in {5, 6}:
        sys.exit(f"usage: {sys.argv[0]} URI DATABASE WORKSPACE TARGET [REVISION]")
    sys.exit(
        main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5] if len(sys.argv) == 6 else None)
    )
