"""What a sandbox is asked for: from a workspace's spec and the settings, checked before anything is made."""

from __future__ import annotations

import re

from vaporform_mcp.errors import InvalidArgument, NotSupported
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.service import Order
from vaporform_mcp.types import Network, Resources, Spec

__all__ = ["labels_of", "name_of", "network_of", "order_of"]

_ID = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
_SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/ -]{0,127}")
_NETWORK_ADDRESS = re.compile(r"[0-9a-fA-F.:]+(?:/\d{1,3})?")

_MAX_NETWORKS = 5

_PREPARED = """FROM {image}
RUN command -v python3 >/dev/null 2>&1 \\
 || (command -v apt-get >/dev/null && apt-get update && apt-get install -y --no-install-recommends python3) \\
 || (command -v apk >/dev/null && apk add --no-cache python3) \\
 || (command -v dnf >/dev/null && dnf install -y python3) \\
 || (command -v microdnf >/dev/null && microdnf install -y python3) \\
 || (command -v zypper >/dev/null && zypper --non-interactive install python3)
RUN mkdir -p /workspace && chmod 0777 /workspace || true
"""


def name_of(workspace_id: str, epoch: int) -> str:
    """By which the sandbox is found again. Raises `InvalidArgument` for an id that is none."""
    if not _ID.fullmatch(workspace_id) or not 0 < epoch < 10**12:
        raise InvalidArgument(
            f"{workspace_id[:80]!r} is not a workspace's id",
            hint="Ids are 1 to 64 letters, digits, _ and -, and no - at either end.",
        )
    return f"vaporform-{workspace_id}-{epoch}"


def labels_of(config: DaytonaConfig, workspace_id: str = "", epoch: int = 0) -> dict[str, str]:
    """Of a sandbox; without a workspace, of all sandboxes of this store."""
    ours = {"vaporform": "sandbox", "vaporform-store": config.store_id}
    return ours | ({"vaporform-workspace": workspace_id, "vaporform-epoch": str(epoch)} if workspace_id else {})


def network_of(config: DaytonaConfig, spec: Spec) -> Network:
    """Raises `NotSupported` for what the settings do not allow, or the service does not have."""
    wanted = spec.network or config.network
    if wanted == "host":
        raise NotSupported("Daytona sandboxes have no network 'host'", hint="Use internet or none.")
    if wanted == "internet" and config.network == "none":
        raise NotSupported(
            "the network 'internet' is more than the settings of this server allow ('none')",
            hint="A person can change VAPORFORM_DAYTONA__NETWORK.",
        )
    return wanted


def order_of(config: DaytonaConfig, spec: Spec, workspace_id: str, epoch: int) -> Order:
    """Raises `InvalidArgument`, `NotSupported`: nothing was asked of the service."""
    image, snapshot = _origin(config, spec)
    resources = _resources(config, spec.resources or Resources(), has_image=image is not None)
    if spec.public and not config.public:
        raise NotSupported(
            "public previews are more than the settings of this server allow",
            hint="Leave public out; a person can change VAPORFORM_DAYTONA__PUBLIC.",
        )
    networks, domains = _allowed(config)
    return Order(
        name=name_of(workspace_id, epoch),
        labels=labels_of(config, workspace_id, epoch),
        env=dict(spec.env),
        public=config.public if spec.public is None else spec.public,
        target=config.target,
        dockerfile=None if image is None else _PREPARED.format(image=image),
        snapshot=snapshot,
        cpu=resources.cpu,
        memory_gb=resources.memory_gb,
        disk_gb=resources.disk_gb,
        auto_stop_min=config.auto_stop_min,
        auto_archive_min=config.auto_archive_min,
        auto_delete_min=0 if config.ephemeral else config.auto_delete_min,
        ttl_min=config.ttl_min,
        block_network=network_of(config, spec) == "none",
        allow_networks=networks,
        allow_domains=domains,
    )


def _origin(config: DaytonaConfig, spec: Spec) -> tuple[str | None, str | None]:
    """The image or the snapshot; neither is the service's own default snapshot."""
    if spec.image is not None and spec.snapshot is not None:
        raise InvalidArgument("image and snapshot were both given", hint="Give one of them, or neither.")
    image, snapshot = spec.image, spec.snapshot
    if image is None and snapshot is None:
        image, snapshot = config.image, config.snapshot
    if image is not None and not _IMAGE.fullmatch(image):
        raise InvalidArgument(
            f"{image[:80]!r} is not the name of an image", hint="Give one with its tag, such as python:3.12-slim."
        )
    if snapshot is not None and not _SNAPSHOT.fullmatch(snapshot):
        raise InvalidArgument(f"{snapshot[:80]!r} is not the name of a snapshot", hint="Give one that the account has.")
    return image, snapshot


def _resources(config: DaytonaConfig, wanted: Resources, *, has_image: bool) -> Resources:
    """What the settings have is for images, and the most that a workspace may ask for; snapshots have their own."""
    if not has_image:
        if wanted == Resources():
            return wanted
        raise InvalidArgument(
            "resources were given, and a sandbox of a snapshot has those of the snapshot",
            hint="Name an image too (python:3.12-slim, node:22, …), or leave the resources out.",
        )
    most = config.resources or Resources()
    for field in ("cpu", "memory_gb", "disk_gb"):
        asked, allowed = getattr(wanted, field), getattr(most, field)
        if asked is not None and allowed is not None and asked > allowed:
            raise NotSupported(
                f"{field} {asked} is more than the settings of this server allow ({allowed})",
                hint=f"Ask for less; a person can change VAPORFORM_DAYTONA__{field.upper()}.",
            )
    return Resources(
        cpu=wanted.cpu or most.cpu,
        memory_gb=wanted.memory_gb or most.memory_gb,
        disk_gb=wanted.disk_gb or most.disk_gb,
    )


def _allowed(config: DaytonaConfig) -> tuple[list[str], list[str]]:
    networks = [each for each in config.network_allow if _NETWORK_ADDRESS.fullmatch(each)]
    if len(networks) > _MAX_NETWORKS:
        raise InvalidArgument(
            f"VAPORFORM_DAYTONA__NETWORK_ALLOW names {len(networks)} networks, and the service takes {_MAX_NETWORKS}",
            hint="Name fewer, or domains.",
        )
    return networks, [each for each in config.network_allow if each not in networks]
