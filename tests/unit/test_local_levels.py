"""What the choice of a level and the restricted level's places on the host are made of."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vaporform_mcp.errors import Conflict, SandboxUnavailable
from vaporform_mcp.sandboxes.local import hostports, identity, layout, probe, processes, reach, sweeping
from vaporform_mcp.sandboxes.local.bubblewrap import Bind
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.limits import RESTRICTED_GAPS, gaps_of, limits_of
from vaporform_mcp.sandboxes.local.recipe import RESTRICTED, Fingerprint
from vaporform_mcp.sandboxes.local.toolchains import Toolchain

DENIED = {
    "Ubuntu": "bwrap: setting up uid map: Permission denied",
    "a limit": "bwrap: Creating new namespace failed: nesting depth or max_*_namespaces exceeded",
    "Docker": "bwrap: No permissions to creating new namespace, likely because the kernel does not allow it",
    "a masked /proc": "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
    "a filter": "unprivileged: unshare: Operation not permitted",
}
NOT_HELPED = {
    "a full disk": "bwrap: write failed: Disk quota exceeded",
    "no setuid": "unprivileged: uid_map: Operation not permitted\nunprivileged: the user map was refused",
    "the level itself": "restricted: landlock: version 2 is too old, 3 is needed",
    "nothing said": "",
}


@pytest.mark.parametrize("said", DENIED.values(), ids=DENIED)
def test_where_namespaces_are_denied_another_level_would_help(said: str) -> None:
    error = probe.explain(said)
    assert isinstance(error, probe.NamespacesDenied)
    assert error.cause in error.message
    assert error.hint


@pytest.mark.parametrize("said", NOT_HELPED.values(), ids=NOT_HELPED)
def test_where_something_else_is_the_matter_it_would_not(said: str) -> None:
    error = probe.explain(said)
    assert not isinstance(error, probe.NamespacesDenied)
    assert error.hint


@pytest.mark.parametrize("kind", ["self-test", "user", "landlock", "seccomp", "machine"])
def test_whatever_the_restricted_level_lacks_has_a_mend_and_no_detail(kind: str) -> None:
    error = probe.explain(f"restricted: {kind}: /a/path")
    assert "reason that is not known" not in error.message
    assert "/a/path" not in error.message + error.hint
    assert error.hint


def test_a_greeting_tells_the_level_that_a_sandbox_was_started_at() -> None:
    for policy, level in ((f"{RESTRICTED}0a1b", "restricted"), ("0a1b", "namespaces")):
        made = Fingerprint(policy=policy, shape="c", start=3, files="12-34")
        assert Fingerprint.parse(str(made)) == made
        assert made.level == level


def test_at_the_restricted_level_processes_are_always_limited_and_more_is_left_open(tmp_path: Path) -> None:
    config = LocalConfig(data_dir=tmp_path, processes=77)
    assert limits_of(config, own_user=False, level="restricted")["NPROC"] == 77
    first = gaps_of(config, "none", own_user=False, in_cgroup=False)
    assert [gap for gap in RESTRICTED_GAPS if gap in first] == []
    for own_user in (False, True):
        second = gaps_of(config, "none", own_user=own_user, in_cgroup=False, level="restricted")
        assert set(first) | set(RESTRICTED_GAPS) <= set(second)
    assert len(gaps_of(config, "none", own_user=True, in_cgroup=False, level="restricted")) < len(
        gaps_of(config, "none", own_user=False, in_cgroup=False, level="restricted")
    )


def test_a_toolchain_is_found_at_its_own_place_too() -> None:
    tree = Toolchain(name="node", bind=Bind("/home/me/n", "/toolchains/0-node"), path="/toolchains/0-node/bin")
    bare = Toolchain(name="go", bind=Bind("/home/me/go", "/toolchains/1-go"), path="/toolchains/1-go")
    program = Toolchain(name="uv", bind=Bind("/home/me/.local/bin/uv", "/toolchains/2-uv/uv"), path="/toolchains/2-uv")
    assert [each.is_tree for each in (tree, bare, program)] == [True, True, False]
    assert (tree.host_path, bare.host_path) == ("/home/me/n/bin", "/home/me/go")


def test_the_processes_of_a_user_are_counted_with_their_threads() -> None:
    mine = processes.running()[os.getpid()]
    assert (mine.parent, mine.uid) == (os.getppid(), os.getuid())
    assert identity.processes_of(os.getuid()) >= mine.threads >= 1
    assert identity.processes_of(123_456_789) == 0


def folder_in(data: Path, name: str = "ws") -> layout.Folder:
    folder = layout.folder_of(data, name, 1)
    layout.create(folder)
    return folder


@pytest.mark.root
def test_a_data_folder_that_everybody_may_pass_to_is_opened_for_passing_alone() -> None:
    with_parent = Path("/var/tmp")  # one that everybody may pass through
    if not reach.is_passable(with_parent):
        pytest.skip(f"{with_parent} is closed here")
    done = subprocess.run(["mktemp", "-d", "-p", with_parent], capture_output=True, text=True, check=True)
    data = Path(done.stdout.strip())
    try:
        folder = folder_in(data)
        reach.make_reachable(folder)
        assert folder.base == folder.root
        assert reach.is_passable(folder.base)
        assert [path.stat().st_mode & 0o077 for path in (data, folder.root, folder.run)] == [0o001, 0o001, 0]
        layout.create(folder)  # as every server does
        assert reach.is_passable(folder.base)
    finally:
        subprocess.run(["rm", "-rf", data], check=True)


@pytest.mark.root
def test_out_of_a_closed_data_folder_the_files_move_once_and_are_the_same(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    folder = folder_in(tmp_path / "data")
    (folder.files / "a").write_text("kept")
    born = layout.birth(folder.files)
    reach.make_reachable(folder)
    base = folder.base
    try:
        assert base != folder.root
        assert reach.is_passable(base)
        assert (folder.files / "a").read_text() == "kept"
        assert layout.birth(folder.files) == born
        reach.make_reachable(folder)
        layout.create(folder)
        assert folder.base == base
        trash = layout.trash(folder)
        assert trash is not None
        assert layout.elsewhere(trash) == base
    finally:
        subprocess.run(["rm", "-rf", base], check=True)


def test_a_port_that_nobody_has_or_the_sandbox_has_is_its_preview() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        assert hostports.url_of(port, {port}) == f"http://127.0.0.1:{port}"
        with pytest.raises(Conflict, match="another program"):
            hostports.url_of(port, set())
    assert hostports.url_of(port, set()) == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1"])  # noqa: S104  # whatever a server binds to
def test_a_server_of_the_sandbox_is_reached_by_the_address_that_it_has(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("this computer has no IPv6")
    with server:
        port = int(server.getsockname()[1])
        name = "localhost" if host == "::1" else "127.0.0.1"
        assert hostports.url_of(port, {port}) == f"http://{name}:{port}"


async def test_what_has_a_sandboxs_tag_is_ended_and_nothing_else(tmp_path: Path) -> None:
    ours, other = folder_in(tmp_path), folder_in(tmp_path, "other")
    for folder in (ours, other):
        folder.tools.mkdir()
    tag, other_tag = sweeping.tag_of(ours), sweeping.tag_of(other)
    sleeps = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    started = [
        subprocess.Popen([*sleeps, *words], env=environment, stdout=subprocess.PIPE)  # noqa: ASYNC220  # returns at once
        for environment, words in (
            ({sweeping.TAG: tag}, []),
            ({}, [tag]),
            ({sweeping.TAG: other_tag}, [other_tag]),
            ({}, [tag, "x"]),
            ({}, []),
        )
    ]
    try:
        for each in started:
            assert each.stdout is not None
            each.stdout.readline()
        await sweeping.sweep(ours)
        assert [each.poll() is None for each in started] == [False, False, True, True, True]
    finally:
        for each in started:
            each.kill()
            each.communicate()


def test_a_root_without_another_user_is_refused() -> None:
    with pytest.raises(SandboxUnavailable):
        identity.command_uid("ws", 0, 0, [[(0, 0, 1)], [(0, 0, 1)]])


def test_a_start_that_was_denied_is_not_counted_so_that_the_first_process_is_the_first(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    layout.forget_start(folder, layout.next_start(folder))
    assert [layout.next_start(folder), layout.next_start(folder)] == [1, 2]
    layout.forget_start(folder, 2)
    assert layout.next_start(folder) == 2
