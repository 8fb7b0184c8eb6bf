"""What may be asked of a workspace that is opened, and whether the one that exists agrees with it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from vaporform_mcp.errors import Conflict, InvalidArgument
from vaporform_mcp.types import Resources, WorkspaceRecord
from vaporform_mcp.workspace.importing import check_git

__all__ = ["OpenRequest", "agree"]

_MOST = 2_048
"""CPUs or GiB that no machine of a provider has; what an account may have, the provider says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """What `open_workspace` may ask of a workspace that is new; asked of an old one, it must agree with it."""

    git_url: str | None = None
    branch: str | None = None
    commit: str | None = None
    depth: int | None = None
    image: str | None = None
    snapshot: str | None = None
    public: bool | None = None
    resources: Resources | None = None

    def check(self) -> None:
        """Raises `InvalidArgument` where it makes no sense, whatever there is."""
        for field in ("branch", "commit", "depth"):
            if getattr(self, field) is not None and self.git_url is None:
                raise InvalidArgument(f"{field} was given without git_url", hint="Give both, or neither.")
        if self.git_url is not None:
            check_git(self.git_url, self.branch, self.commit, self.depth)
        if self.image is not None and self.snapshot is not None:
            raise InvalidArgument("image and snapshot were both given", hint="Give one of them, or neither.")
        if self.resources is not None:
            _check_amounts(self.resources)
        if self.snapshot is not None and self.resources is not None:
            raise InvalidArgument(
                "resources were given, and a sandbox of a snapshot has those of the snapshot",
                hint="Leave cpu, memory_gb and disk_gb out, or name an image instead of the snapshot.",
            )


def _check_amounts(resources: Resources) -> None:
    for field in fields(resources):
        amount: int | None = getattr(resources, field.name)
        if amount is not None and not 0 < amount <= _MOST:
            raise InvalidArgument(
                f"{field.name} {amount} is impossible",
                hint=f"Give 1 to {_MOST:,}, or leave it out.",
            )


def agree(record: WorkspaceRecord, request: OpenRequest) -> None:
    """Raises `Conflict` where the workspace that exists is not the one asked for."""
    spec = record.spec
    asked = {
        "git_url": (request.git_url, spec.git_url),
        "branch": (request.branch, spec.git_branch),
        "commit": (request.commit, spec.git_commit),
        "depth": (request.depth, spec.git_depth),
        "image": (request.image, spec.image),
        "snapshot": (request.snapshot, spec.snapshot),
        "resources": (request.resources, spec.resources),
    }
    for field, (wanted, has) in asked.items():
        if wanted is not None and wanted != has:
            raise Conflict(
                f"the workspace {record.name} exists already, with another {field}",
                hint="Open it without that argument, or choose a new name.",
            )
