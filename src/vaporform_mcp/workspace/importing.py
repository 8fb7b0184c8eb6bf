"""Bringing a git repository into a new workspace, cloned inside the sandbox."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from vaporform_mcp.credentials import Credential
from vaporform_mcp.errors import InvalidArgument, NotFound, PermissionDenied, SandboxUnavailable, VaporformError
from vaporform_mcp.sandboxes.base import Command, RunState, Sandbox
from vaporform_mcp.types import Spec

__all__ = ["NO_ACCESS", "GitAccess", "access_to", "check_git", "clone"]

CLONE_LIMIT_S = 900.0
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_WHOLE = frozenset({40, 64})
_TAIL_BYTES = 1_000

_REFUSED = re.compile(r"could not read (?:Username|Password)|Authentication failed|Access denied|error: 40[13]", re.I)
_NO_GIT = re.compile(r"git: (?:command )?not found|git: No such file", re.I)
_NO_BRANCH = re.compile(r"Remote branch .* not found|could not find remote branch", re.I)
_NO_COMMIT = re.compile(r"not our ref|remote ref|unadvertised object|bad object|unable to read tree|not a commit", re.I)
_NO_REPOSITORY = re.compile(r"repository .* not found|not found: did you run git update-server-info", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitAccess:
    """What git is run with so that it may read one repository: `options` hold no secret, and `env` does."""

    options: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


NO_ACCESS = GitAccess()


def access_to(url: str, credential: Credential | None) -> GitAccess:
    """The credential is for this very repository: what else it could read, a repository's submodules, or an origin that
    a command has changed, could ask for. Git gets it from the environment, where a helper of its own finds it, so that
    it is in no file and in no command line; the empty helper keeps those of the sandbox from writing it down.
    """
    if credential is None:
        return NO_ACCESS
    said = 'printf "username=%s\\npassword=%s\\n" "$VAPORFORM_GIT_USERNAME" "$VAPORFORM_GIT_PASSWORD"'
    helper = f'!f() {{ if [ "$1" = get ]; then {said}; fi; }}; f'
    bare = url.rstrip("/")
    settings = {"credential.helper": "", "credential.useHttpPath": "true"}
    # Some hosts send on from the one to the other.
    settings |= {f"credential.{each}.helper": helper for each in (bare, f"{bare}.git")}
    return GitAccess(
        options=" ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items()),
        env={"VAPORFORM_GIT_USERNAME": credential.username, "VAPORFORM_GIT_PASSWORD": credential.password},
    )


def check_git(url: str, branch: str | None, commit: str | None = None, depth: int | None = None) -> None:
    """Raises `InvalidArgument` for what is no http(s) URL of a repository, no branch or tag name, or no commit."""
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
            hint="Use a URL without user name and password. For a private repository a person sets "
            "VAPORFORM_GIT__CREDENTIALS.",
        )
    if branch is not None and (not _BRANCH.fullmatch(branch) or ".." in branch):
        raise InvalidArgument(
            f"{branch[:80]!r} is not a branch or tag name", hint="Give the name of a branch or tag, such as main."
        )
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise InvalidArgument(
            f"{commit[:80]!r} is not a commit's id",
            hint="Give 7 to 40 hexadecimal digits, or a branch as branch.",
        )
    if commit is not None and depth is not None and len(commit) not in _WHOLE:
        raise InvalidArgument(
            f"the commit {commit} is cut short, and with a depth it has to be asked for by its whole id",
            hint="Give all 40 digits, or leave depth out.",
        )


async def clone(sandbox: Sandbox, spec: Spec, credential: Credential | None) -> None:
    """Clone what the spec names into the empty workspace.

    Raises:
        NotFound: there is no such repository, branch or commit.
        PermissionDenied: it is readable with credentials alone, and there are none, or others.
        SandboxUnavailable: it did not work otherwise; the message has the end of git's own words.
    """
    url = spec.git_url or ""
    access = access_to(url, credential)
    command = Command(
        text="sh -s # clones the repository",
        stdin=_script(spec, access).encode(),
        timeout_s=CLONE_LIMIT_S,
        env={"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "LC_ALL": "C", **access.env},
    )
    # Watched, so that the request that carries the environment is a short one.
    result = await sandbox.exec(command, on_output=_ignore)
    if result.state is RunState.EXITED and result.exit_code == 0:
        return
    said = (result.head + result.tail)[-_TAIL_BYTES:].decode(errors="replace").strip()
    if credential is not None:
        said = said.replace(credential.password, "…")
    raise _failure(spec, said or result.state.value, has_credential=credential is not None)


def _script(spec: Spec, access: GitAccess) -> str:
    depth = f" --depth {spec.git_depth}" if spec.git_depth else ""
    branch = f" --branch {shlex.quote(spec.git_branch)}" if spec.git_branch else ""
    url = shlex.quote(spec.git_url or "")
    git = f'set -e\ngit() {{ command git {access.options} "$@"; }}\n'
    if spec.git_commit is None:
        shallow = " --shallow-submodules" if depth else ""
        return f"{git}git clone --quiet --recurse-submodules{shallow}{depth}{branch} -- {url} .\n"
    commit = shlex.quote(spec.git_commit)
    return f"""{git}git clone --quiet --no-checkout{depth}{branch} -- {url} .
if ! git cat-file -e {commit}'^{{commit}}' 2>/dev/null; then
    git fetch --quiet{depth} origin {commit}
    # A remote has it: it need not be kept as one that none has.
    git update-ref refs/remotes/origin/at-{commit} {commit}
fi
{"git reset --quiet --hard" if spec.git_branch else "git checkout --quiet --detach"} {commit}
git submodule --quiet update --init --recursive{depth}
"""


def _failure(spec: Spec, said: str, *, has_credential: bool) -> VaporformError:
    text = f"git could not clone {spec.git_url}"
    if _REFUSED.search(said):
        why = "refused the credentials that the settings have for it" if has_credential else "asks for credentials"
        return PermissionDenied(
            f"{text}: its host {why}",
            hint="Check the address. For a private repository a person sets VAPORFORM_GIT__CREDENTIALS to "
            "https://user:token@host and restarts the server; then call open_workspace again.",
        )
    if _NO_GIT.search(said):
        return NotFound(
            f"{text}: the sandbox has no git",
            hint="Name an image or snapshot that has it, such as python:3.12.",
        )
    if spec.git_branch and _NO_BRANCH.search(said):
        return NotFound(
            f"{text}: it has no branch or tag {spec.git_branch}", hint="Name one that it has, or leave branch out."
        )
    if spec.git_commit and _NO_COMMIT.search(said):
        return NotFound(
            f"{text}: it has no commit {spec.git_commit}", hint="Give the whole id of a commit that was pushed to it."
        )
    if _NO_REPOSITORY.search(said):
        return NotFound(
            f"{text}: there is no repository at that address",
            hint="Check the address. A private one may be hidden: a person then sets VAPORFORM_GIT__CREDENTIALS.",
        )
    return SandboxUnavailable(
        f"{text}: {said}",
        hint="Check the address, and that the workspace's network setting lets the sandbox reach it; then "
        "call open_workspace again.",
    )


def _ignore(_data: bytes) -> None:
    """Nobody watches it."""
