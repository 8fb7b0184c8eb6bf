"""Changes, revisions and trees as documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.mongo.tables import Doc
from vaporform_mcp.types import Digest, Entry, EntryKind, Revision, WorkspacePath

__all__ = [
    "Step",
    "Torn",
    "Tree",
    "change_document",
    "entry_of",
    "fit_inline",
    "parts_of",
    "revision_of",
    "step_of",
    "under",
]

Tree = Mapping[WorkspacePath, Entry | None]
"""What paths are or become; None where one is removed."""

INLINE_BYTES = 32 * 1024
PART_BYTES = 512 * 1024
_KINDS = {kind.value: kind for kind in EntryKind}
_FIELDS_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one path was given: the entry (None: removed), and the number of the revision that did it."""

    path: WorkspacePath
    entry: Entry | None
    number: int


class Torn(StoreUnavailable):
    """What was read in several documents is no longer there in all of them: a prune took it meanwhile."""

    def __init__(self) -> None:
        super().__init__("the history was pruned while it was read", hint="Repeat the call.")


def change_document(path: WorkspacePath, entry: Entry | None, made_in: int | None = None) -> Doc:
    """`made_in` is the number of the pruned revision that did it, None where it is the bearing one's own."""
    made = {} if made_in is None else {"from": made_in}
    if entry is None:
        return {"path": path, "kind": None, **made}
    return {
        "path": path,
        "kind": entry.kind.value,
        "mode": entry.mode,
        "size": entry.size,
        "digest": entry.digest,
        "mime_type": entry.mime_type,
        **made,
    }


def entry_of(document: Doc) -> Entry | None:
    kind = document["kind"]
    if kind is None:
        return None
    return Entry(
        kind=_KINDS[kind],
        mode=document["mode"],
        size=document["size"],
        digest=Digest(document["digest"]),
        mime_type=document["mime_type"],
    )


def step_of(document: Doc, number: int) -> Step:
    """A change of a document that a revision of that number bears."""
    return Step(path=document["path"], entry=entry_of(document), number=document.get("from", number))


def fit_inline(changes: Iterable[Doc]) -> bool:
    """Whether they go into the revision's own document, which is read and updated more often than they are."""
    return sum(map(_size, changes)) <= INLINE_BYTES


def parts_of(changes: Iterable[Doc]) -> Iterator[Sequence[Doc]]:
    """The changes in their order, in parts that each fit into a document many times over."""
    part: list[Doc] = []
    size = 0
    for change in changes:
        grown = size + _size(change)
        if part and grown > PART_BYTES:
            yield part
            part, grown = [], grown - size
        part.append(change)
        size = grown
    if part:
        yield part


def _size(change: Doc) -> int:
    """About so many bytes, at most."""
    return len(change["path"].encode()) + _FIELDS_BYTES


def revision_of(document: Doc) -> Revision:
    return Revision(
        number=document["number"],
        id=document["id"],
        epoch=document["epoch"],
        time=document["time"],
        made_by=document["made_by"],
        label=document["label"],
        added=document["added"],
        changed=document["changed"],
        removed=document["removed"],
    )


def under(path: WorkspacePath) -> dict[str, str]:
    """The names that can lie under `path`, as a range in the order of their bytes."""
    return {"$gte": path + "/", "$lt": path + chr(ord("/") + 1)}
