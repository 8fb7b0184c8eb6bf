"""A repository of the world outside becomes a workspace: which commit, how deep, and where it takes a password."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.contract.sandboxes import daytona_config, emulator
from tests.githost import GitHost, git_host
from tests.workspace.helpers import OWNER, WAIT_S, shell
from vaporform_mcp.credentials import Credentials, parse_credential
from vaporform_mcp.errors import InvalidArgument, NotFound, PermissionDenied, VaporformError
from vaporform_mcp.locks import HostLock
from vaporform_mcp.manager import Manager, OpenRequest, open_manager
from vaporform_mcp.sandboxes.base import Provider
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.types import Spec, WorkspaceName
from vaporform_mcp.workspace import Workspace

pytestmark = pytest.mark.usefixtures("namespaces")

USER, PASSWORD = "deploy", "p%ss word,4711"
QUOTED = "p%25ss%20word%2C4711"
NAME = WorkspaceName("shop")


class Scene:
    """What one server has, on either provider; `host` is how sandboxes call the host of repositories."""

    def __init__(self, manager: Manager, provider: Provider, host: str, folder: Path) -> None:
        self.manager = manager
        self.provider = provider
        self.host = host
        self.folder = folder

    async def open(
        self, path: str, *, branch: str | None = None, commit: str | None = None, depth: int | None = None
    ) -> Workspace:
        request = OpenRequest(git_url=f"http://{self.host}/{path}", branch=branch, commit=commit, depth=depth)
        opened = await self.manager.open(OWNER, NAME, request, wait_s=WAIT_S)
        assert opened.state == "ready", opened
        return await self.manager.workspace(OWNER, NAME, wait_s=WAIT_S)

    async def refused(
        self, kind: type[VaporformError], said: str, path: str, *, branch: str | None = None, commit: str | None = None
    ) -> VaporformError:
        """Nothing of the workspace is left then."""
        with pytest.raises(kind, match=said) as told:
            await self.open(path, branch=branch, commit=commit)
        assert await self.manager.list(OWNER) == []
        assert PASSWORD not in f"{told.value}{told.value.hint}"
        return told.value


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    with git_host(tmp_path_factory.mktemp("served"), user=USER, password=PASSWORD) as host:
        yield host


@pytest.fixture(scope="module")
def commits(served: GitHost) -> list[str]:
    """Of the repositories `shop` and `private/shop`, which are alike."""
    versions = [{"a": f"{number}\n"} for number in (1, 2, 3)]
    served.publish("private/shop", versions)
    return served.publish("shop", versions)


@pytest.fixture(params=["local", "daytona"])
async def scene(
    request: pytest.FixtureRequest, tmp_path: Path, served: GitHost, commits: list[str]
) -> AsyncIterator[Scene]:
    served.passed.clear()
    opened: AbstractAsyncContextManager[Provider]
    if request.param == "daytona":
        from vaporform_mcp.sandboxes.daytona.provider import open_daytona

        service = emulator()
        service.reset()
        service.settings(hosts={"git.test": f"127.0.0.1:{served.port}"})
        host = "git.test"
        opened = open_daytona(daytona_config(store_id=tmp_path.name))
    else:
        host = f"127.0.0.1:{served.port}"
        opened = open_local(
            LocalConfig(
                data_dir=tmp_path,
                egress_private=(host,),
                linger_s=2.0,
                toolchains=("none",),
                host_environment=dict(os.environ),
            )
        )
    lines = [f"{USER}:{QUOTED}@{host}/private/shop.git", f"{USER}:wrong-one@{host}/private/other.git"]
    credentials = Credentials(parse_credential(f"http://{each}") for each in lines)
    async with (
        open_sqlite(tmp_path / "vaporform.sqlite3") as store,
        opened as provider,
        open_manager(
            store,
            provider,
            lambda name: HostLock(tmp_path / "locks" / name),
            Spec(provider=provider.name),
            credentials=credentials,
        ) as manager,
    ):
        yield Scene(manager, provider, host, tmp_path)


async def test_a_private_repository_is_cloned_and_comes_back_and_its_password_is_nowhere_to_be_found(
    scene: Scene, served: GitHost
) -> None:
    workspace = await scene.open("private/shop.git", depth=1)
    assert await shell(workspace, "cat a; git rev-list --count HEAD; git status --short") == "3\n1\n"
    assert set(served.passed) == {"/private/shop.git/info/refs", "/private/shop.git/git-upload-pack"}
    await shell(workspace, "git config user.email a@b.c; git config user.name A; echo 4 > a; git commit -qam four")
    await workspace.sync(made_by="test")
    await _assert_nowhere(scene, workspace)
    # What commands do with the origin is their own affair: they have no password.
    assert "could not read Username" in await shell(workspace, "GIT_TERMINAL_PROMPT=0 git fetch 2>&1 || true")

    await scene.provider.destroy(workspace.record.id, 1)
    assert await shell(workspace, "cat a; git log --format=%s | head -n 2; git status --short") == "4\nfour\ncommit 3\n"
    (notice,) = [each for each in workspace.take_notices() if "rebuilt" in each]
    assert "The git repository came back" in notice
    await _assert_nowhere(scene, workspace)


async def _assert_nowhere(scene: Scene, workspace: Workspace) -> None:
    pattern = "".join(f"[{each}]" for each in "ss word,4711")  # which does not match itself
    places = "~ /workspace /tmp /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
    control = "printf 'ss word,%s' 4711 > /tmp/control; "
    assert await shell(workspace, f"{control} grep -rslaE '{pattern}' {places}; rm /tmp/control") == "/tmp/control\n"
    found = await shell(workspace, f"cat ~/.git-credentials 2>/dev/null; grep -rslaE '{pattern}' {places}; true")
    assert found == ""
    for file in scene.folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            assert PASSWORD.encode() not in content, file
            assert QUOTED.encode() not in content, file


async def test_a_commit_is_checked_out_on_its_branch_or_on_none_however_deep(scene: Scene, commits: list[str]) -> None:
    cases = (
        ("main", commits[1], None, "2\nmain\n2\n"),
        (None, commits[1][:9], None, "2\nHEAD\n2\n"),
        (None, commits[0], 1, "1\nHEAD\n1\n"),
        ("stable", None, None, "1\nstable\n1\n"),
    )
    for branch, commit, depth, expected in cases if scene.provider.name == "local" else cases[2:3]:
        workspace = await scene.open("shop.git", branch=branch, commit=commit, depth=depth)
        look = "cat a; git rev-parse --abbrev-ref HEAD; git rev-list --count HEAD; git status --short"
        assert await shell(workspace, look) == expected
        if depth is not None:
            await workspace.sync(made_by="test")
            await scene.provider.destroy(workspace.record.id, 1)
            assert await shell(workspace, look) == expected
        await scene.manager.delete(OWNER, NAME)


async def test_what_cannot_be_cloned_is_told_for_what_it_is_and_leaves_nothing(scene: Scene) -> None:
    await scene.refused(NotFound, "there is no repository at that address", "unheard-of.git")
    await scene.refused(NotFound, "it has no branch or tag mian", "shop.git", branch="mian")
    await scene.refused(NotFound, "it has no commit " + "ab" * 20, "shop.git", commit="ab" * 20)
    for refused, path in (("asks for credentials", "private/third.git"), ("refused the cred", "private/other.git")):
        error = await scene.refused(PermissionDenied, refused, path)
        assert "VAPORFORM_GIT__CREDENTIALS" in error.hint
        assert "wrong-one" not in f"{error}{error.hint}"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (OpenRequest(git_url="/etc"), "scheme"),
        (OpenRequest(git_url="file:///etc"), "scheme 'file'"),
        (OpenRequest(git_url="--upload-pack=id"), "scheme"),
        (OpenRequest(git_url="ssh://git@host.invalid/a.git"), "scheme 'ssh'"),
        (OpenRequest(git_url="https://me:s3cret@host.invalid/a.git"), "carries credentials"),
        (OpenRequest(git_url="https://host.invalid/a.git", branch="--exec=id"), "not a branch"),
        (OpenRequest(git_url="https://host.invalid/a.git", commit="main"), "not a commit's id"),
        (OpenRequest(git_url="https://host.invalid/a.git", commit="--exec"), "not a commit's id"),
        (OpenRequest(git_url="https://host.invalid/a.git", commit="abcdef1", depth=1), "by its whole id"),
        (OpenRequest(branch="main"), "branch was given without git_url"),
        (OpenRequest(commit="abcdef1"), "commit was given without git_url"),
        (OpenRequest(depth=1), "depth was given without git_url"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(request_: OpenRequest, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said) as told:
        request_.check()
    assert told.value.hint
    assert "s3cret" not in f"{told.value}{told.value.hint}"
