"""Snapshots: prepared machines that sandboxes are made from."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.emulators.daytona.clock import Clock
from tests.emulators.daytona.images import DEFAULT_IMAGE, Image, find_image
from tests.emulators.daytona.machine.wire import Refusal

__all__ = ["Snapshot", "Snapshots"]

_DEFAULT = "daytona-small"


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """`files` is a copy of the sandbox that it was made of; without it, it is its image."""

    name: str
    image: Image
    created: datetime
    updated: datetime
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: str = "active"
    error_reason: str | None = None
    cpu: int = 1
    memory: int = 1
    disk: int = 3
    general: bool = False
    source: str | None = None
    used: datetime | None = None
    files: Path | None = None


class Snapshots:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, Snapshot] = {}
        self.reset()

    def reset(self) -> None:
        """The service's own is all that there is."""
        now = self._clock.now()
        default = Snapshot(name=_DEFAULT, image=find_image(DEFAULT_IMAGE), created=now, updated=now, general=True)
        self._known = {default.id: default}

    def find(self, id_or_name: str) -> Snapshot:
        for snapshot in self._known.values():
            if id_or_name in (snapshot.id, snapshot.name):
                return snapshot
        raise Refusal(404, f"Snapshot {id_or_name} not found")

    def usable(self, name: str | None) -> Snapshot:
        """The one that a new sandbox is made from."""
        try:
            snapshot = self.find(name or _DEFAULT)
        except Refusal as error:
            raise Refusal(400, f"Snapshot {name} not found. Did you add it through the Daytona Dashboard?") from error
        if snapshot.state != "active":
            raise Refusal(400, f"Snapshot {snapshot.name} is {snapshot.state}")
        snapshot.used = self._clock.now()
        return snapshot
