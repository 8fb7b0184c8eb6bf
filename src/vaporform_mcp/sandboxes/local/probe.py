"""Why this machine cannot isolate commands, and the step that mends it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from vaporform_mcp.errors import SandboxUnavailable

__all__ = ["FAILED", "NamespacesDenied", "cannot_start", "explain"]

log = logging.getLogger(__name__)

FAILED = "no sandbox can be started: "


class NamespacesDenied(SandboxUnavailable):
    """This machine does not let us make namespaces; a level that needs none would help. `cause` says it in short."""

    def __init__(self, message: str, *, hint: str, cause: str) -> None:
        super().__init__(message, hint=hint)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class _Cause:
    """`denies`: namespaces are what is refused."""

    said: re.Pattern[str]
    message: str
    hint: str
    denies: bool = False


_NAMESPACES_OFF = (
    "Debian: sudo sysctl -w kernel.unprivileged_userns_clone=1. Elsewhere: sudo sysctl -w "
    "user.max_user_namespaces=28633. In Docker: run the container with --security-opt seccomp=unconfined "
    "--security-opt systempaths=unconfined --security-opt apparmor=unconfined."
)
_APPARMOR = (
    "Ubuntu 23.10 and newer restrict this by AppArmor. Install the system's bubblewrap with its profile: sudo apt "
    "install bubblewrap apparmor-profiles && sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict "
    "/etc/apparmor.d/ && sudo systemctl reload apparmor. Or allow it for every program: sudo sysctl -w "
    "kernel.apparmor_restrict_unprivileged_userns=0."
)
_MASKED_PROC = (
    "In Docker or Podman: run the container with --security-opt systempaths=unconfined (Podman: --security-opt "
    "unmask=ALL) besides --security-opt seccomp=unconfined."
)
_NO_LANDLOCK = (
    "The restricted level needs Linux 6.2 or newer with Landlock among its security modules (the kernel's lsm=), on "
    "x86-64 or ARM64, and a container runtime that does not forbid it. Update the kernel, or let this machine make "
    "namespaces: `vaporform-mcp doctor` says how."
)
_CAUSES = (
    _Cause(
        re.compile(r"restricted: self-test: .*hidepid"),
        "this machine hides processes (its /proc is mounted with hidepid), which the restricted level has to see",
        "sudo mount -o remount,hidepid=0 /proc, or let this machine make namespaces: `vaporform-mcp doctor` says how.",
    ),
    _Cause(
        re.compile(r"restricted: shortage"),
        "this machine has no processes left to start a sandbox",
        "End some programs, or sandboxes that are not in use (`vaporform-mcp ps`), and repeat the call.",
    ),
    _Cause(
        re.compile(r"restricted: self-test"),
        "the restricted level does not hold on this machine: a test at its start was not refused what it should be",
        "`vaporform-mcp doctor` says how to let this machine make namespaces, which isolate more.",
    ),
    _Cause(
        re.compile(r"restricted: user"),
        "this server runs as root and may not become the user that commands run as",
        "Run the server as an ordinary user. In a container, do not drop the capabilities SETUID and SETGID.",
    ),
    _Cause(
        re.compile(r"restricted: "),
        "this kernel, or the container that this server is in, lacks what the restricted level is made of",
        _NO_LANDLOCK,
    ),
    _Cause(
        re.compile(r"setting up uid map: Permission denied|Failed RTM_NEWADDR|Failed to make / slave: Permission"),
        "this system lets programs make a user namespace, but gives them no rights in it",
        _APPARMOR,
        denies=True,
    ),
    _Cause(
        re.compile(
            r"max_\w*_namespaces|nesting depth|No space left on device.*namespace|(namespace|unshare).*No space left"
        ),
        "this system's limit of user namespaces is reached, or is 0",
        "Raise it: sudo sysctl -w user.max_user_namespaces=28633.",
        denies=True,
    ),
    _Cause(
        re.compile(r"No permissions to creat|([Cc]reating new namespace failed|unshare): (Operation not|Permission)"),
        "this system does not let ordinary programs make namespaces, which isolate commands",
        _NAMESPACES_OFF,
        denies=True,
    ),
    _Cause(
        re.compile(r"(Can't mount proc|mount proc on).*: (Operation not|Permission)"),
        "a container runtime hides parts of /proc, so that no sandbox can have one of its own",
        _MASKED_PROC,
        denies=True,
    ),
    _Cause(
        re.compile(r"prctl\(PR_SET_SECCOMP\)|seccomp"),
        "the kernel refuses the system call filter that commands run under",
        "The kernel needs CONFIG_SECCOMP_FILTER. Update it, or use another machine or provider.",
    ),
    _Cause(
        re.compile(r"the user map was refused|uid_map|setting up gid map"),
        "this server runs as root and may not start commands as another user",
        "Run the server as an ordinary user. In a container, do not drop the capabilities SETUID and SETGID.",
    ),
    _Cause(
        re.compile(r"Permission denied: '|Can't find source path .*: Permission denied"),
        "a folder that the sandbox is made of cannot be reached by the user it runs as",
        "A server that runs as root reaches only what root owns or everybody may enter: keep its Python and "
        "VAPORFORM_DATA_DIR out of other users' private folders, or run the server as that user.",
    ),
    _Cause(
        re.compile(r"Can't find source path|No such file or directory"),
        "something that the sandbox is made of is missing",
        "Repeat the call. If it goes on, reinstall vaporform-mcp, and see `vaporform-mcp doctor`.",
    ),
    _Cause(
        re.compile(r"Operation not supported|Function not implemented|Invalid cross-device"),
        "the data folder is on a file system that cannot hold what a sandbox needs, such as sockets",
        "Set VAPORFORM_DATA_DIR to a folder on a local Linux file system (in WSL: not below /mnt).",
    ),
    _Cause(
        re.compile(r"No space left on device|Disk quota exceeded"),
        "there is no space left to start a sandbox",
        "Free some space on the disk that VAPORFORM_DATA_DIR is on.",
    ),
    _Cause(
        re.compile(r"Cannot allocate memory|Resource temporarily unavailable"),
        "this machine has no memory or processes left to start a sandbox",
        "End some programs, or sandboxes that are not in use (`vaporform-mcp ps`), and repeat the call.",
    ),
)


def explain(said: str) -> SandboxUnavailable:
    """What the programs that start a sandbox wrote when they failed, as an error that names the mend."""
    # In the log with its paths, which the error leaves out.
    log.warning("a sandbox did not start: %s", said.strip()[-2_000:] or "(nothing said)")
    for cause in _CAUSES:
        if not cause.said.search(said):
            continue
        message = f"{FAILED}{cause.message}"
        if cause.denies:
            return NamespacesDenied(message, hint=cause.hint, cause=cause.message)
        return SandboxUnavailable(message, hint=cause.hint)
    return SandboxUnavailable(
        "the sandbox did not start, for a reason that is not known",
        hint="The server's log has what was said. `vaporform-mcp doctor` tests this machine step by step.",
    )


def cannot_start(error: OSError) -> SandboxUnavailable:
    """The first program could not even be run, or the sandbox's folder not be used."""
    return explain(error.strerror or "")
