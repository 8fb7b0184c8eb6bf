"""Bringing a git repository into a new workspace, cloned inside the sandbox."""

from __future__ import annotations

import re
import shlex
from urllib.parse import urlsplit

from vaporform_mcp.errors import InvalidArgument, SandboxUnavailable
from vaporform_mcp.sandboxes.base import Command, RunState, Sandbox

__all__ = ["check_git", "clone"]

CLONE_LIMIT_S = 900.0
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,199}")
_TAIL_BYTES = 1_000


def check_git(url: str, branch: str | None) -> None:
    """Raises `InvalidArgument` for what is no http(s) URL of a repository, or no branch or tag name."""
    hint = "Give the https:// address of a repository, such as https://host/owner/name.git."
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise InvalidArgument("git_url is not a valid URL", hint=hint) from None
    if len(url) > 2_000 or re.search(r"[\s\x00-\x20\x7f]", url) or not port_ok:
        raise InvalidArgument("git_url is not a valid URL", hint=hint)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise InvalidArgument(
            f"git_url has the scheme {parts.scheme or 'none'!r}; only https and http are cloned", hint=hint
        )
    if parts.username or parts.password:
        raise InvalidArgument(
            "git_url carries credentials, which would be kept with the workspace",
            hint="Use a URL without user name and password; make the repository readable, or copy its files in.",
        )
    if branch is not None and (not _BRANCH.fullmatch(branch) or ".." in branch):
        raise InvalidArgument(
            f"{branch[:80]!r} is not a branch or tag name", hint="Give the name of a branch or tag, such as main."
        )


async def clone(sandbox: Sandbox, url: str, branch: str | None) -> None:
    """Clone into the empty workspace.

    Raises:
        SandboxUnavailable: it did not work; the message has the end of git's own words.
    """
    options = ["--branch", branch] if branch is not None else []
    line = shlex.join(["git", "clone", "--quiet", "--recurse-submodules", *options, "--", url, "."])
    result = await sandbox.exec(Command(text=line, timeout_s=CLONE_LIMIT_S, env={"GIT_TERMINAL_PROMPT": "0"}))
    if result.state is RunState.EXITED and result.exit_code == 0:
        return
    said = (result.head + result.tail)[-_TAIL_BYTES:].decode(errors="replace").strip()
    raise SandboxUnavailable(
        f"git could not clone {url}: {said or result.state.value}",
        hint="Check the address and the branch, that the repository is readable without a password, and that the "
        "workspace's network setting lets the sandbox reach it; then call open_workspace again.",
    )
