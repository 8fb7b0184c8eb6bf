"""What the settings say about Daytona sandboxes."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol

from vaporform_mcp.types import Network, Resources

__all__ = ["DEFAULT_API_URL", "DaytonaConfig", "own_store_id"]

DEFAULT_API_URL = "https://app.daytona.io/api"


_MADE = frozenset({"api_key", "store_id", "target", "image", "snapshot", "resources"})


class Chosen(Protocol):
    """The settings; those that are not named here are called as the fields of `DaytonaConfig`."""

    @property
    def target(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def snapshot(self) -> str: ...
    @property
    def cpu(self) -> int: ...
    @property
    def memory_gb(self) -> int: ...
    @property
    def disk_gb(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DaytonaConfig:
    """`store_id` tells our sandboxes from those of other stores of the same account.

    Intervals are minutes: without use until a sandbox stops, stopped until it is archived, and stopped until it is
    deleted. `ready_s` bounds the wait for a sandbox, `build_s` the one for an image that is built for the first time.
    """

    api_key: str = field(repr=False)
    store_id: str
    api_url: str = DEFAULT_API_URL
    toolbox_hosts: Sequence[str] = ()
    target: str | None = None
    image: str | None = None
    snapshot: str | None = None
    public: bool = True
    network: Network = "internet"
    network_allow: Sequence[str] = ()
    resources: Resources | None = None
    auto_stop_min: int = 15
    auto_archive_min: int = 60 * 24
    auto_delete_min: int = 60 * 24 * 30
    ephemeral: bool = False
    ttl_min: int = 0
    max_running: int = 10
    max_sandboxes: int = 50
    ready_s: float = 60.0
    build_s: float = 900.0
    preview_s: int = 3600

    @classmethod
    def of(cls, chosen: Chosen, *, api_key: str, store_id: str) -> DaytonaConfig:
        """From settings, where an empty text or 0 stands for nothing chosen."""
        same = {each.name: getattr(chosen, each.name) for each in fields(cls) if each.name not in _MADE}
        return cls(
            **same,
            api_key=api_key,
            store_id=store_id,
            target=chosen.target or None,
            image=chosen.image or None,
            snapshot=chosen.snapshot or None,
            resources=Resources(
                cpu=chosen.cpu or None, memory_gb=chosen.memory_gb or None, disk_gb=chosen.disk_gb or None
            ),
        )


def own_store_id(folder: Path) -> str:
    """What tells the store of this folder from others, for sandboxes that lie elsewhere."""
    file, made = folder / "store-id", folder / f".store-id-{secrets.token_hex(4)}"
    if not file.exists():
        made.write_text(secrets.token_hex(8))
        with suppress(FileExistsError):
            file.hardlink_to(made)  # whole, and only where no other server was quicker
        made.unlink()
    return file.read_text().strip()
