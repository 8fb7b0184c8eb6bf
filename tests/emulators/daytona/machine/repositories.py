"""Git repositories that the toolbox clones."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Callable

from tests.emulators.daytona.machine.wire import Channel, Fields, Refusal

__all__ = ["GIT_OPERATIONS"]

_CLONE_S = 300.0
# What git says, and what the daemon makes of it.
_FAILURES = (
    (r"Authentication failed|could not read Username|terminal prompts disabled", 401, "GIT_AUTH_FAILED"),
    (r"Remote branch .* not found", 404, "GIT_BRANCH_NOT_FOUND"),
    (r"not found|does not exist|does not appear to be a git repository", 404, "GIT_REPO_NOT_FOUND"),
    (r"unable to access|Could not resolve|Failed to connect", 502, "GIT_TRANSPORT_FAILED"),
)


def _clone(_channel: Channel, fields: Fields) -> object:
    url, path = fields.get("url"), fields.get("path")
    if not isinstance(url, str) or not url or not isinstance(path, str) or not path:
        raise Refusal(400, "url and path are required", "BAD_REQUEST")
    branch, commit, depth = fields.get("branch"), fields.get("commit_id"), fields.get("depth")
    target = os.path.join(os.getcwd(), path)
    options = ["--branch", str(branch)] if branch else []
    # A commit may be older than what a shallow clone holds.
    options += ["--depth", str(depth)] if depth and not commit else []
    _git(fields, ["clone", "--quiet", *options, "--", url, target])
    if commit:
        _git(fields, ["-C", target, "checkout", "--quiet", "--detach", f"{commit}"])
    return {}


def _git(fields: Fields, arguments: list[str]) -> None:
    settings = {"credential.helper": "", "advice.detachedHead": "false"}
    if fields.get("insecure_skip_tls") is True:
        settings["http.sslVerify"] = "false"
    username, password = fields.get("username"), fields.get("password")
    if username or password:
        # By the environment: neither the list of processes nor the clone's own settings get to hold it.
        pair = base64.b64encode(f"{username or ''}:{password or ''}".encode()).decode()
        settings["http.extraHeader"] = f"Authorization: Basic {pair}"
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": str(len(settings)), "LC_ALL": "C"}
    # The daemon goes out by itself, not by what its sandbox's commands are told.
    env |= {"http_proxy": os.environ.get("http_proxy", ""), "no_proxy": ""}
    for number, (name, value) in enumerate(settings.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    try:
        done = subprocess.run(
            ["git", *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CLONE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refusal(408, "git did not end in time", "REQUEST_TIMEOUT") from None
    if done.returncode == 0:
        return
    said = done.stderr.decode("utf-8", "replace").strip()
    for pattern, status, code in _FAILURES:
        if re.search(pattern, said):
            raise Refusal(status, said, code)
    raise Refusal(400, said, "BAD_REQUEST")


GIT_OPERATIONS: dict[str, Callable[[Channel, Fields], object]] = {"git.clone": _clone}
