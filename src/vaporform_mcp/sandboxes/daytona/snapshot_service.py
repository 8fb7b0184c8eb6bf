"""The service's requests about snapshots, by the client that its SDK generates: the SDK's own give up at one failed
look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daytona_api_client_async import CreateSandboxSnapshot, SnapshotDto, SnapshotsApi

from vaporform_mcp.sandboxes.daytona.faults import Failure, printable
from vaporform_mcp.sandboxes.daytona.service import CONTROL_S, Refused, Service
from vaporform_mcp.sandboxes.snapshots import SnapshotState

__all__ = ["Saved", "SnapshotService"]

_PAGE = 100
_MAX_PAGES = 100

_STATES: Mapping[str, SnapshotState] = {
    "active": SnapshotState.ACTIVE,
    "inactive": SnapshotState.INACTIVE,
    "error": SnapshotState.FAILED,
    "build_failed": SnapshotState.FAILED,
    "removing": SnapshotState.REMOVING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A snapshot as the service told of it. `source` is the id of the sandbox that it was saved from."""

    id: str
    name: str
    state: SnapshotState
    reason: str
    is_general: bool
    source: str | None
    size_gb: float | None
    created_at: float


class SnapshotService:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._api = SnapshotsApi(service.sandboxes.api_client)  # pyright: ignore[reportUnknownMemberType]

    async def save(self, machine_id: str, name: str) -> None:
        """Ask for it, once. Where the answer was lost, `find` it by its name."""
        asked = CreateSandboxSnapshot(name=name)
        await self._service.ask(
            lambda: self._service.sandboxes.create_sandbox_snapshot(machine_id, asked, _request_timeout=CONTROL_S),
            repeat=False,
        )

    async def find(self, name: str) -> Saved | None:
        """The one of exactly that name; None where there is none."""
        try:
            found = await self._service.ask(lambda: self._api.get_snapshot(name, _request_timeout=CONTROL_S))
        except Refused as error:
            if error.failure.status in {404, 410}:
                return None
            raise
        return _saved(found) if found.name == name else None

    async def list(self) -> Sequence[Saved]:
        """Newest first, as the service has them."""
        found: list[Saved] = []
        for page in range(1, _MAX_PAGES + 1):
            answer = await self._service.ask(
                lambda page=page: self._api.get_all_snapshots(page=page, limit=_PAGE, _request_timeout=CONTROL_S)
            )
            found += [_saved(each) for each in answer.items]
            if page >= answer.total_pages or not answer.items:
                return found
        raise Refused(Failure(said=f"the list of snapshots has no end after {len(found):,}"))

    async def delete(self, snapshot: Saved) -> None:
        """What is not there any more is no failure."""
        try:
            await self._service.ask(lambda: self._api.remove_snapshot(snapshot.id, _request_timeout=CONTROL_S))
        except Refused as error:
            if error.failure.status not in {404, 410}:
                raise

    async def activate(self, snapshot: Saved) -> None:
        await self._service.ask(lambda: self._api.activate_snapshot(snapshot.id, _request_timeout=CONTROL_S))


def _saved(found: SnapshotDto) -> Saved:
    return Saved(
        id=found.id,
        name=found.name,
        # Building, pulling, pending, and whatever else it may come to call being made.
        state=_STATES.get(found.state.value, SnapshotState.SAVING),
        reason=printable(found.error_reason or ""),
        is_general=found.general,
        source=found.source_sandbox_id,
        size_gb=None if found.size is None else float(found.size),
        created_at=found.created_at.timestamp(),
    )
