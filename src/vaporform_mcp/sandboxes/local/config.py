"""What the local provider is told by the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vaporform_mcp.types import Network

__all__ = ["Level", "LocalConfig"]

Level = Literal["namespaces", "restricted"]
"""How commands are isolated: in namespaces of their own, or as ordinary processes that may do little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalConfig:
    """How sandboxes on this machine are made.

    `data_dir` holds them. `isolation` names the level; `auto` is namespaces, and restricted where this machine denies
    them (see `levels.py`). A sandbox to which no server is attached ends after `linger_s` seconds. `toolchains`
    adjusts what of the user's own toolchains is shown inside (see `toolchains.py`). `egress_allow` and
    `egress_private` are the network policy's domains and private hosts. `host_environment` is the server's own
    environment, of which PATH, HOME and the proxy and certificate variables matter.

    The limits hold for one sandbox (`processes`, `tmp_mb`), one process (`memory_mb`, `open_files`) or one file
    (`file_mb`). Where there is a cgroup (see `cgroups.py`), `memory_mb` holds for the whole sandbox too. Their defaults
    let a large build run.
    """

    data_dir: Path
    network: Network = "internet"
    isolation: Literal["auto"] | Level = "auto"
    linger_s: float = 600.0
    toolchains: tuple[str, ...] = ()
    egress_allow: tuple[str, ...] = ()
    egress_private: tuple[str, ...] = ()
    processes: int = 2048
    memory_mb: int = 16_384
    file_mb: int = 8_192
    open_files: int = 16_384
    tmp_mb: int = 2_048
    host_environment: Mapping[str, str] = field(default_factory=dict[str, str])
