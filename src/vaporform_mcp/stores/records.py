"""A workspace's record as the stores keep it: what they search by in fields, the rest as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from vaporform_mcp.errors import Conflict, NotFound
from vaporform_mcp.types import Resources, Spec, WorkspaceName, WorkspaceRecord

__all__ = ["Row", "deleted_for_good", "from_row", "name_is_taken", "not_there", "to_row", "was_changed"]

Row = tuple[str, str, str, float, float, float | None, int, str]
"""Id, owner, name, created at, last used at, deleted at, version, and the rest as JSON."""


def to_row(record: WorkspaceRecord) -> Row:
    rest = {
        "spec": {
            **{each.name: getattr(record.spec, each.name) for each in fields(Spec)},
            "env": dict(record.spec.env),
            "resources": asdict(record.spec.resources) if record.spec.resources is not None else None,
        },
        "sandbox_id": record.sandbox_id,
        "imported": record.imported,
        "previews": {str(inner): outer for inner, outer in record.previews.items()},
        "commands": list(record.commands),
        "dev_command": record.dev_command,
        "isolation": record.isolation,
    }
    return (
        record.id,
        record.owner,
        record.name,
        record.created_at,
        record.last_used_at,
        record.deleted_at,
        record.version,
        json.dumps(rest, ensure_ascii=False, separators=(",", ":")),
    )


def from_row(row: Row) -> WorkspaceRecord:
    id_, owner, name, created_at, last_used_at, deleted_at, version, text = row
    rest = json.loads(text)
    return WorkspaceRecord(
        id=id_,
        owner=owner,
        name=WorkspaceName(name),
        spec=_spec(rest["spec"]),
        created_at=created_at,
        last_used_at=last_used_at,
        sandbox_id=rest["sandbox_id"],
        imported=rest["imported"],
        previews={int(inner): outer for inner, outer in rest["previews"].items()},
        commands=tuple(rest["commands"]),
        dev_command=rest["dev_command"],
        isolation=rest.get("isolation"),  # records of the first versions have none
        deleted_at=deleted_at,
        version=version,
    )


def _spec(kept: dict[str, Any]) -> Spec:
    resources = kept.pop("resources", None)  # records of the first versions have none
    return Spec(**kept, resources=Resources(**resources) if resources is not None else None)


def name_is_taken(record: WorkspaceRecord) -> Conflict:
    return Conflict(f"there is another workspace named {record.name!r}", hint="Choose another name, or open that one.")


def was_changed(record: WorkspaceRecord) -> Conflict:
    return Conflict(f"the workspace {record.name!r} was changed by somebody else", hint="Read it again and repeat.")


def deleted_for_good(record: WorkspaceRecord) -> NotFound:
    return NotFound(f"the workspace {record.name!r} was deleted for good", hint="Make it anew with open_workspace.")


def not_there() -> NotFound:
    return NotFound(
        "the store no longer has this workspace: it was deleted for good, or the store was removed or replaced",
        hint="What is in its sandbox stays there: take it out, or put the store back. Only a server that is started "
        "anew makes a new workspace of this name.",
    )
