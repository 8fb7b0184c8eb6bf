"""The limits that a sandbox's processes get from the kernel."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping

from vaporform_mcp.sandboxes.local.config import Level, LocalConfig
from vaporform_mcp.types import Network

__all__ = ["MAX_COMMANDS", "RESTRICTED_GAPS", "RESTRICTED_GAPS_AS_USER", "gaps_of", "limits_of"]

MAX_COMMANDS = 128
"""Commands that may run at once in one sandbox, each with as many processes as the limit leaves."""

RESTRICTED_GAPS = (
    "paths are this machine's own: commands start in the workspace's folder, there is no /workspace",
    "/tmp cannot be used; $TMPDIR can, is emptied at each start, and its size is not limited",  # noqa: S108  # words
    "whether any path of this machine exists, with its size, owner and times, can be found out, not what is in it",
    "the numbers, command lines and states of all processes of this machine can be read, and their connections",
    "users, host name and name servers of this machine can be read",
    "ports are this machine's own: its other users can reach what commands serve, and the proxy that leads out",
    "shared memory and semaphores in /dev/shm are those of this machine",
)
"""What the restricted level leaves open and namespaces do not. docs/security.md explains each."""

RESTRICTED_GAPS_AS_USER = (
    "commands run as the user that runs this server: one wall is between them and that user's files, not two",
    "processes are counted together with the others of that user",
)
"""The same, where commands do not run as a user of their own."""

_PER_NAMESPACE = (5, 14)
"""The first Linux that counts RLIMIT_NPROC by user namespace; before, the user's programs outside would count too."""


def limits_of(config: LocalConfig, *, own_user: bool, level: Level = "namespaces") -> Mapping[str, int]:
    """Names of the RLIMIT_ constants with their values, in the units of setrlimit.

    Memory is DATA rather than AS: address space that is only reserved, as WebAssembly engines do by the terabyte,
    does no harm. `own_user`: nothing else on the host runs as the sandbox's user. At the restricted level without one,
    what that user runs already has yet to be added to NPROC.
    """
    limits = {
        "FSIZE": config.file_mb << 20,
        "DATA": config.memory_mb << 20,
        "NOFILE": config.open_files,
        "CORE": 0,
    }
    if own_user or level == "restricted" or _kernel() >= _PER_NAMESPACE:
        limits["NPROC"] = config.processes
    return limits


def gaps_of(
    config: LocalConfig, network: Network, *, own_user: bool, in_cgroup: bool, level: Level = "namespaces"
) -> list[str]:
    """What a sandbox leaves open, in sentences for people. `in_cgroup`: see `cgroups.holds`."""
    gaps = [
        "disk space is limited for each file, not for all of them together",
        "this machine's system can be read: /usr, /opt and a part of /etc",
    ]
    if not in_cgroup:
        gaps.insert(0, f"memory is limited for each process ({config.memory_mb} MB), not for all of them together")
    if network == "host":
        gaps.insert(
            0,
            "commands use this machine's network as it is, with what listens on its loopback or has an abstract socket",
        )
    if not in_cgroup and "NPROC" not in limits_of(config, own_user=own_user, level=level):
        gaps.append("the number of processes is not limited, since this kernel cannot count a sandbox's own")
    if level == "restricted":
        gaps += RESTRICTED_GAPS
        if not own_user:
            gaps += RESTRICTED_GAPS_AS_USER
    return gaps


def _kernel() -> tuple[int, ...]:
    numbers = re.match(r"(\d+)\.(\d+)", platform.release())
    return tuple(int(part) for part in numbers.groups()) if numbers else (0, 0)
