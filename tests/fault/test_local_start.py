"""Sandboxes that cannot be started: the error names the mend, and nothing of the host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.sandboxes import no_phase
from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.platforms import check_platform
from vaporform_mcp.sandboxes.local import bubblewrap, probe
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.types import Spec

# What bubblewrap and our launcher say, with a word that the mend must have.
SAID = {
    "bwrap: setting up uid map: Permission denied": "AppArmor",
    "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted": "AppArmor",
    "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded": "max_user",
    "bwrap: No permissions to create new namespace, likely because the kernel does not allow it": "userns_clone",
    "bwrap: Creating new namespace failed: Operation not permitted": "seccomp=unconfined",
    "unprivileged: unshare: Operation not permitted": "seccomp=unconfined",
    "bwrap: Can't mount proc on /newroot/proc: Operation not permitted": "systempaths=unconfined",
    "bwrap: prctl(PR_SET_SECCOMP): Invalid argument": "CONFIG_SECCOMP_FILTER",
    "unprivileged: uid_map: [Errno 1] Operation not permitted\nunprivileged: the user map was refused": "SETUID",
    "PermissionError: [Errno 13] Permission denied: '/home/alice/secret'": "VAPORFORM_DATA_DIR",
    "bwrap: Can't find source path /home/alice/secret: No such file or directory": "reinstall",
    "bwrap: Can't create file /newroot/x: No space left on device": "space",
    "bwrap: Can't fork: Resource temporarily unavailable": "ps",
    "bwrap: Creating new namespace failed: Cannot allocate memory": "ps",
    "unprivileged: unshare: No space left on device": "max_user",
    "restricted: shortage: no further process or thread can be started": "ps",
    "something new, about /home/alice/secret": "doctor",
    "": "doctor",
}

DENIED = {
    "bwrap: setting up uid map: Permission denied",
    "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
    "bwrap: Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded",
    "bwrap: No permissions to create new namespace, likely because the kernel does not allow it",
    "bwrap: Creating new namespace failed: Operation not permitted",
    "unprivileged: unshare: Operation not permitted",
    "unprivileged: unshare: No space left on device",
    "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
}
"""Where it is namespaces that cannot be had, and not something that another level needs as well."""


@pytest.mark.parametrize("said", SAID)
def test_each_reason_has_its_mend_and_names_no_path(said: str) -> None:
    error = probe.explain(said)
    assert SAID[said] in error.hint
    assert "alice" not in f"{error} {error.hint}"


@pytest.mark.parametrize("said", SAID)
def test_only_where_namespaces_are_denied_another_level_is_tried(said: str) -> None:
    assert isinstance(probe.explain(said), probe.NamespacesDenied) is (said in DENIED)


@pytest.mark.parametrize(("platform", "mend"), [("win32", "WSL"), ("darwin", "Linux")])
def test_other_systems_are_told_what_they_can_do(monkeypatch: pytest.MonkeyPatch, platform: str, mend: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SandboxUnavailable) as caught:
        check_platform()
    assert mend in caught.value.hint


SERVER = """
import os, pathlib, sys, anyio
from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.types import Spec
async def main():
    config = LocalConfig(data_dir=pathlib.Path(sys.argv[1]), toolchains=("none",))
    async with open_local(config) as provider:
        try:
            await provider.acquire(Spec(provider="local"), "ws", 1, lambda *_: None)
        except SandboxUnavailable as error:
            print(error, "|", error.hint)
anyio.run(main)
"""


def test_where_namespaces_are_denied_nothing_runs_and_the_reason_is_told(tmp_path: Path) -> None:
    """A server inside a sandbox that lets it have no namespaces of its own."""
    bwrap = str(bubblewrap.find().path)
    denied = ["--unshare-user", "--disable-userns", "--dev-bind", "/", "/"]
    done = subprocess.run(
        [bwrap, *denied, "--", sys.executable, "-c", SERVER, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    message, _, hint = done.stdout.partition(" | ")
    assert "root" in message or "namespace" in message
    assert hint.strip()
    assert str(tmp_path) not in done.stdout


async def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "sandboxes").write_text("in the way")
    async with open_local(LocalConfig(data_dir=tmp_path, toolchains=("none",))) as provider:
        with pytest.raises(SandboxUnavailable, match="folder"):
            await provider.acquire(Spec(provider="local"), "ws", 1, no_phase)
