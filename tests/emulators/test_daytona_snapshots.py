"""Snapshots, clones of repositories and the way out of the emulated Daytona's sandboxes, through the real SDK."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from daytona import (
    AsyncDaytona,
    AsyncSandbox,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
)
from daytona.common.errors import (
    DaytonaBadRequestError,
    DaytonaConflictError,
    DaytonaError,
    DaytonaGitAuthFailedError,
    DaytonaGitBranchNotFoundError,
    DaytonaGitRepoNotFoundError,
    DaytonaNotFoundError,
)

from tests.emulators.daytona.emulator import Emulator


class _Served(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; those below /private ask for a password."""

    def do_GET(self) -> None:
        if self.path.startswith("/private") and self.headers.get("Authorization") != "Basic bWU6c2VjcmV0":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # the base's own name
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of repositories: its address, with shop.git and private.git of two commits each."""
    folder = tmp_path_factory.mktemp("served")
    work = folder / "work"
    git = functools.partial(_git, work)
    work.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    for content in ("one", "two"):
        (work / "file").write_text(content)
        git("add", ".")
        git("commit", "--quiet", "--message", content)
    git("branch", "stable", "HEAD~1")
    for name in ("shop.git", "private.git"):
        git("clone", "--quiet", "--bare", ".", str(folder / name))
        _git(folder / name, "update-server-info")
    handler = functools.partial(_Served, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


async def test_a_sandbox_is_saved_under_a_name_and_others_are_made_of_it(
    daytona: AsyncDaytona, sandbox: AsyncSandbox
) -> None:
    await sandbox.process.exec("echo kept > note; ln -s note link; mkfifo pipe; chmod 700 note")
    await sandbox.create_snapshot("mine")
    saved = await daytona.snapshot.get("mine")
    assert (saved.state.value, saved.name) == ("active", "mine")
    assert (await sandbox.process.exec("cat note")).result == "kept\n"
    copy = await daytona.create(CreateSandboxFromSnapshotParams(snapshot="mine"))
    assert (await copy.process.exec("cat link; stat -c %a note")).result == "kept\n700\n"
    with pytest.raises(DaytonaConflictError):
        await sandbox.create_snapshot("mine")
    assert [each.name for each in (await daytona.snapshot.list()).items] == ["mine", "daytona-small"]
    await daytona.snapshot.delete(saved)
    while "mine" in [each.name for each in (await daytona.snapshot.list()).items]:
        pass
    with pytest.raises(DaytonaBadRequestError):
        await daytona.create(CreateSandboxFromSnapshotParams(snapshot="mine"))


async def test_a_snapshot_is_built_of_an_image(daytona: AsyncDaytona) -> None:
    made = await daytona.snapshot.create(CreateSnapshotParams(name="bare", image="bare:latest"))
    assert made.state.value == "active"
    sandbox = await daytona.create(CreateSandboxFromSnapshotParams(snapshot="bare"))
    assert (await sandbox.process.exec("python3 -V")).exit_code == 127
    with pytest.raises(DaytonaError, match="pull access denied"):
        await daytona.snapshot.create(CreateSnapshotParams(name="none", image="missing:latest"))


async def test_an_inactive_snapshot_has_to_be_activated(daytona: AsyncDaytona, emulator: Emulator) -> None:
    await daytona.snapshot.create(CreateSnapshotParams(name="old", image="python:3.12"))
    emulator.deactivate_snapshot("old")
    with pytest.raises(DaytonaBadRequestError, match="inactive"):
        await daytona.create(CreateSandboxFromSnapshotParams(snapshot="old"))
    await daytona.snapshot.activate(await daytona.snapshot.get("old"))
    await daytona.create(CreateSandboxFromSnapshotParams(snapshot="old"))


async def test_a_fork_has_the_files_of_its_source(sandbox: AsyncSandbox) -> None:
    await sandbox.process.exec("echo kept > note")
    fork = await sandbox.fork("fork")
    assert fork.name == "fork"
    assert (await fork.process.exec("cat note")).result == "kept\n"


async def test_what_a_build_says_can_be_followed(daytona: AsyncDaytona, emulator: Emulator) -> None:
    said: list[str] = []
    params = CreateSandboxFromImageParams(image="python:3.12")
    await daytona.create(params, on_snapshot_create_logs=said.append)
    assert "FROM python:3.12" in "\n".join(said)


async def test_repositories_are_cloned_with_branch_commit_and_password(
    sandbox: AsyncSandbox, emulator: Emulator, served: str
) -> None:
    emulator.settings(hosts={"git.example": served})
    await sandbox.git.clone("http://git.example/shop.git", "shop")
    await sandbox.git.clone("http://git.example/shop.git", "stable", branch="stable")
    head = (await sandbox.process.exec("cat shop/file stable/file; git -C stable rev-parse HEAD")).result
    assert head.startswith("twoone")
    await sandbox.git.clone("http://git.example/shop.git", "old", commit_id=head.removeprefix("twoone").strip())
    assert (await sandbox.process.exec("cat old/file")).result == "one"
    await sandbox.git.clone("http://git.example/private.git", "private", username="me", password="secret")
    assert (await sandbox.process.exec("grep -r -e secret -e bWU6 private/.git")).exit_code == 1


async def test_clones_that_fail_say_why(sandbox: AsyncSandbox, emulator: Emulator, served: str) -> None:
    emulator.settings(hosts={"git.example": served})
    with pytest.raises(DaytonaGitRepoNotFoundError):
        await sandbox.git.clone("http://git.example/none.git", "none")
    with pytest.raises(DaytonaGitBranchNotFoundError):
        await sandbox.git.clone("http://git.example/shop.git", "none", branch="none")
    with pytest.raises(DaytonaGitAuthFailedError):
        await sandbox.git.clone("http://git.example/private.git", "none", username="me", password="wrong")
    with pytest.raises(DaytonaNotFoundError):
        await sandbox.fs.get_file_info("none")


async def test_a_sandbox_reaches_what_its_network_settings_allow(
    daytona: AsyncDaytona, sandbox: AsyncSandbox, emulator: Emulator, served: str
) -> None:
    emulator.settings(hosts={"git.example": served, "other.example": served})
    ask = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://{}.example/shop.git/HEAD\").status)'"
    assert (await sandbox.process.exec(ask.format("git"))).result == "200\n"
    await sandbox.update_network_settings(domain_allow_list="git.example")
    assert (await sandbox.process.exec(ask.format("git"))).result == "200\n"
    assert "403" in (await sandbox.process.exec(ask.format("other"))).result
    await sandbox.update_network_settings(network_block_all=True)
    assert "403" in (await sandbox.process.exec(ask.format("git"))).result
