"""What the settings say about Daytona sandboxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vaporform_mcp.types import Network, Resources

__all__ = ["DEFAULT_API_URL", "DaytonaConfig"]

DEFAULT_API_URL = "https://app.daytona.io/api"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaytonaConfig:
    """`store_id` tells our sandboxes from those of other stores of the same account.

    Intervals are minutes: without use until a sandbox stops, stopped until it is archived, and stopped until it is
    deleted. `ready_s` bounds the wait for a sandbox, `build_s` the one for an image that is built for the first time.
    """

    api_key: str = field(repr=False)
    store_id: str
    api_url: str = DEFAULT_API_URL
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
