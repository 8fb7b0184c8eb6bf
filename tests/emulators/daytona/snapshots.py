"""Snapshots: prepared machines that sandboxes are made from, built of an image or saved from a sandbox."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from tests.emulators.daytona.clock import Clock, stamp
from tests.emulators.daytona.images import DEFAULT_IMAGE, Image, find_image
from tests.emulators.daytona.lifecycle import Lifecycle
from tests.emulators.daytona.machine.wire import Refusal
from tests.emulators.daytona.machines import copy_files
from tests.emulators.daytona.records import ORGANIZATION, Sandbox

__all__ = ["Snapshot", "Snapshots", "show_snapshot"]

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
    """All that there are; what they hold lies below `folder`."""

    def __init__(self, lifecycle: Lifecycle, folder: Path, tasks: TaskGroup) -> None:
        self._lifecycle = lifecycle
        self._folder = folder
        self._tasks = tasks
        self._known: dict[str, Snapshot] = {}
        self.reset()

    @property
    def _clock(self) -> Clock:
        return self._lifecycle.clock

    def reset(self) -> None:
        """The service's own is all that there is."""
        self._known.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._add(_DEFAULT, find_image(DEFAULT_IMAGE)).general = True

    def all(self) -> list[Snapshot]:
        return sorted(self._known.values(), key=lambda each: (each.created, each.id), reverse=True)

    def is_known(self, name: str) -> bool:
        return any(each.name == name for each in self._known.values())

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

    def _add(self, name: str, image: Image) -> Snapshot:
        if self.is_known(name):
            raise Refusal(409, f"Snapshot with name {name} already exists")
        now = self._clock.now()
        snapshot = Snapshot(name=name, image=image, created=now, updated=now)
        self._known[snapshot.id] = snapshot
        return snapshot

    def build(self, name: str, image: str, *, cpu: int | None, memory: int | None, disk: int | None) -> Snapshot:
        """Of an image; answered at once and done in the background."""
        snapshot = self._add(name, find_image(image))
        snapshot.cpu, snapshot.memory, snapshot.disk = cpu or 1, memory or 1, disk or 3
        snapshot.state = "building"
        self._tasks.start_soon(self._build, snapshot)
        return snapshot

    async def _build(self, snapshot: Snapshot) -> None:
        await anyio.sleep(self._lifecycle.timings["building_snapshot"])
        snapshot.error_reason = snapshot.image.failure or None
        self._set(snapshot, "build_failed" if snapshot.image.failure else "active")

    def save(self, sandbox: Sandbox, name: str) -> None:
        """Of a sandbox's files, which it may not change meanwhile."""
        if sandbox.state not in {"started", "stopped"}:
            raise Refusal(400, "Sandbox must be started or stopped to create a snapshot")
        snapshot = self._add(name, sandbox.image)
        snapshot.cpu, snapshot.memory, snapshot.disk = sandbox.cpu, sandbox.memory, sandbox.disk
        snapshot.source, snapshot.state = sandbox.id, "building"
        self._lifecycle.borrow(sandbox, "snapshotting", lambda: self._save(sandbox, snapshot))

    async def _save(self, sandbox: Sandbox, snapshot: Snapshot) -> None:
        if self._lifecycle.outcomes:
            outcome = self._lifecycle.outcomes.popleft()
            snapshot.error_reason = outcome.reason
            self._set(snapshot, outcome.state)
            return
        files = self._folder / snapshot.id
        await anyio.to_thread.run_sync(copy_files, self._lifecycle.machines.root(sandbox.id), files)
        snapshot.files = files
        self._set(snapshot, "active")

    def delete(self, snapshot: Snapshot) -> None:
        if snapshot.general:
            raise Refusal(403, "You cannot delete a general snapshot")
        self._set(snapshot, "removing")
        self._tasks.start_soon(self._delete, snapshot)

    async def _delete(self, snapshot: Snapshot) -> None:
        await anyio.sleep(self._lifecycle.timings["destroying"])
        if snapshot.files is not None:
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(self._folder / snapshot.id, ignore_errors=True))
        self._known.pop(snapshot.id, None)

    def activate(self, snapshot: Snapshot) -> None:
        if snapshot.state != "inactive":
            raise Refusal(400, f"Snapshot {snapshot.name} is not inactive")
        self._set(snapshot, "active")

    def deactivate(self, snapshot: Snapshot) -> None:
        """As weeks without use do."""
        self._set(snapshot, "inactive")

    def _set(self, snapshot: Snapshot, state: str) -> None:
        snapshot.state = state
        snapshot.updated = self._clock.now()


def show_snapshot(snapshot: Snapshot) -> dict[str, object]:
    return {
        "id": snapshot.id,
        "organizationId": ORGANIZATION,
        "general": snapshot.general,
        "name": snapshot.name,
        "imageName": snapshot.image.name,
        "state": snapshot.state,
        "size": 0.5,
        "entrypoint": None,
        "cpu": snapshot.cpu,
        "gpu": 0,
        "mem": snapshot.memory,
        "disk": snapshot.disk,
        "errorReason": snapshot.error_reason,
        "createdAt": stamp(snapshot.created),
        "updatedAt": stamp(snapshot.updated),
        "lastUsedAt": stamp(snapshot.used) if snapshot.used else None,
        "sourceSandboxId": snapshot.source,
    }
