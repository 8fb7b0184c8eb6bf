"""Sandboxes as the control plane records them, and how it shows them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from tests.emulators.daytona.clock import stamp
from tests.emulators.daytona.images import Image
from tests.emulators.daytona.machines import Machine

__all__ = ["ORGANIZATION", "Sandbox", "show", "show_item"]

ORGANIZATION = str(uuid.uuid5(uuid.NAMESPACE_DNS, "emulated.daytona"))


@dataclass(slots=True, kw_only=True)
class Sandbox:
    """One sandbox. Intervals are minutes: 0 switches one off, and -1 deletion. `machine` is there while it runs."""

    id: str
    name: str
    image: Image
    created: datetime
    updated: datetime
    activity: datetime
    snapshot: str = ""
    dockerfile: str = ""
    user: str = "daytona"
    env: dict[str, str] = field(default_factory=dict[str, str])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    public: bool = False
    target: str = "us"
    cpu: int = 1
    gpu: int = 0
    memory: int = 1
    disk: int = 3
    auto_stop: int = 15
    auto_pause: int = 0
    auto_archive: int = 7 * 24 * 60
    auto_delete: int = -1
    destroy_at: datetime | None = None
    network_block_all: bool = False
    network_allow_list: str | None = None
    domain_allow_list: str | None = None
    state: str = "creating"
    desired_state: str = "started"
    error_reason: str = ""
    recoverable: bool = False
    started: datetime | None = None
    stopped_since: datetime | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    machine: Machine | None = None

    @property
    def ends_unused(self) -> bool:
        """What is called ephemeral: it goes as soon as it stops."""
        return self.auto_delete == 0


def show_item(sandbox: Sandbox, toolbox: str) -> dict[str, object]:
    """As a list shows it: without its environment."""
    shown: dict[str, object] = {
        "id": sandbox.id,
        "organizationId": ORGANIZATION,
        "name": sandbox.name,
        "user": sandbox.user,
        "labels": sandbox.labels,
        "public": sandbox.public,
        "networkBlockAll": sandbox.network_block_all,
        "target": sandbox.target,
        "cpu": sandbox.cpu,
        "gpu": sandbox.gpu,
        "memory": sandbox.memory,
        "disk": sandbox.disk,
        "state": sandbox.state,
        "desiredState": sandbox.desired_state,
        "recoverable": sandbox.recoverable,
        "backupState": "None",
        "autoStopInterval": sandbox.auto_stop,
        "autoPauseInterval": sandbox.auto_pause,
        "autoArchiveInterval": sandbox.auto_archive,
        "autoDeleteInterval": sandbox.auto_delete,
        "createdAt": stamp(sandbox.created),
        "updatedAt": stamp(sandbox.updated),
        "lastActivityAt": stamp(sandbox.activity),
        "toolboxProxyUrl": toolbox,
    }
    optional = {
        "snapshot": sandbox.snapshot,
        "errorReason": sandbox.error_reason,
        "networkAllowList": sandbox.network_allow_list,
        "domainAllowList": sandbox.domain_allow_list,
        "autoDestroyAt": stamp(sandbox.destroy_at) if sandbox.destroy_at else None,
    }
    return shown | {name: value for name, value in optional.items() if value}


def show(sandbox: Sandbox, toolbox: str) -> dict[str, object]:
    shown = show_item(sandbox, toolbox)
    shown.update({"env": sandbox.env, "kvm": False, "volumes": ()})
    if sandbox.dockerfile:
        shown["buildInfo"] = {
            "dockerfileContent": sandbox.dockerfile,
            "contextHashes": [],
            "createdAt": stamp(sandbox.created),
            "updatedAt": stamp(sandbox.created),
            "snapshotRef": f"daytona-{sandbox.id[:8]}",
        }
    return shown
