"""The account that the live tests use: small sandboxes, soon gone, and in the end all of them removed."""

from __future__ import annotations

import os
from dataclasses import replace

from vaporform_mcp.errors import NotFound, SandboxLost
from vaporform_mcp.sandboxes.daytona.config import DEFAULT_API_URL, DaytonaConfig

__all__ = ["API_URL", "KEY", "NONE", "TARGET", "config", "remove_all"]

KEY = os.environ.get("TEST_DAYTONA_API_KEY", "")
API_URL = os.environ.get("TEST_DAYTONA_API_URL", "") or DEFAULT_API_URL
TARGET = os.environ.get("TEST_DAYTONA_TARGET", "")
NONE = "these need an account of Daytona: set TEST_DAYTONA_API_KEY"
STORE_ID = "vaporform-live-tests"
"""The label that tells these sandboxes from all others of the account."""


def config(**changes: object) -> DaytonaConfig:
    """Of the service's default snapshot, which is its smallest: 1 CPU and 1 GiB. It costs nothing once it sleeps."""
    small = DaytonaConfig(
        api_key=KEY,
        api_url=API_URL,
        target=TARGET or None,
        store_id=STORE_ID,
        auto_stop_min=5,
        auto_archive_min=60,
        auto_delete_min=30,
        ttl_min=120,
        max_running=4,
    )
    return replace(small, **changes)  # pyright: ignore[reportArgumentType]  # its fields


async def remove_all(store_id: str = STORE_ID) -> list[str]:
    """Every sandbox of this store of the account, each confirmed by its id; what there was."""
    from vaporform_mcp.sandboxes.daytona.provider import open_daytona
    from vaporform_mcp.sandboxes.daytona.registry import known_sandboxes

    of_the_store = config(store_id=store_id)
    found = await known_sandboxes(of_the_store)
    async with open_daytona(of_the_store) as provider:
        for each in found:
            try:
                await provider.destroy(each.workspace_id, each.epoch)
            except (NotFound, SandboxLost):
                continue
    return [f"{each.workspace_id}-{each.epoch}" for each in found]
