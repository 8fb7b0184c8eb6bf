"""What may be asked of a workspace that is opened, and whether the one that exists agrees with it."""

from __future__ import annotations

from dataclasses import dataclass

from vaporform_mcp.errors import Conflict, InvalidArgument
from vaporform_mcp.types import WorkspaceRecord
from vaporform_mcp.workspace.importing import check_git

__all__ = ["OpenRequest", "agree"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """What `open_workspace` may ask of a workspace that is new; asked of an old one, it must agree with it."""

    git_url: str | None = None
    branch: str | None = None
    image: str | None = None
    snapshot: str | None = None
    public: bool | None = None

    def check(self) -> None:
        """Raises `InvalidArgument` where it makes no sense, whatever there is."""
        if self.branch is not None and self.git_url is None:
            raise InvalidArgument("branch was given without git_url", hint="Give both, or neither.")
        if self.git_url is not None:
            check_git(self.git_url, self.branch)


def agree(record: WorkspaceRecord, request: OpenRequest) -> None:
    """Raises `Conflict` where the workspace that exists is not the one asked for."""
    spec = record.spec
    asked = {
        "git_url": (request.git_url, spec.git_url),
        "branch": (request.branch, spec.git_branch),
        "image": (request.image, spec.image),
        "snapshot": (request.snapshot, spec.snapshot),
    }
    for field, (wanted, has) in asked.items():
        if wanted is not None and wanted != has:
            raise Conflict(
                f"the workspace {record.name} exists already, with another {field}",
                hint="Open it without that argument, or choose a new name.",
            )
