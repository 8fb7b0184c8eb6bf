"""A git repository comes back with the commits that were only in the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workspace.helpers import opened, path, shell
from tests.workspace.seams import seam_server
from vaporform_mcp.sandboxes.local.config import Level
from vaporform_mcp.types import EntryKind

INIT = "git init -q -b main . && git config user.email a@example.org && git config user.name A"
COMMIT = "git add -A && git commit -qm"


@pytest.fixture(params=["namespaces", "restricted"])
def isolation(request: pytest.FixtureRequest) -> Level:
    level: Level = request.param
    if level == "namespaces":
        request.getfixturevalue("namespaces")
    return level


async def test_without_a_remote_the_whole_history_comes_back(tmp_path: Path, isolation: Level) -> None:
    async with seam_server(tmp_path, isolation=isolation) as server:
        workspace = await opened(server.manager)
        await shell(workspace, f"{INIT}; echo 1 > a; {COMMIT} one; git checkout -qb side; echo 2 > b; {COMMIT} two")
        await shell(workspace, "git tag v1; echo 3 > b; git stash -q; echo 4 > a; mkdir sub; echo 5 > sub/new")
        report = await workspace.sync(made_by="test")
        assert report.problems == []
        before = await shell(workspace, "git log --oneline --all | sort; git status --short; git branch; git tag")
        await server.provider.destroy(workspace.record.id, 1)
        after = await shell(workspace, "git log --oneline --all | sort; git status --short; git branch; git tag")
        assert after == before
        look = "cat b; git fsck 2>&1 | grep -v dangling; git symbolic-ref HEAD"
        found = await shell(workspace, f"git stash pop -q; {look}")
        assert found == "3\nrefs/heads/side\n"
        (notice,) = [each for each in workspace.take_notices() if "rebuilt" in each]
        assert "The git repository came back" in notice


async def test_commits_that_no_remote_has_come_back_on_top_of_the_remotes(tmp_path: Path) -> None:
    async with seam_server(tmp_path / "data") as server:
        workspace = await opened(server.manager)
        # What stands for a remote has to be reached from a sandbox that is made anew: a repository in its own home.
        await shell(
            workspace, f"mkdir -p far && cd far && {INIT} && echo 1 > a && {COMMIT} one && cd .. && mv far ~/far"
        )
        await shell(
            workspace, "git init -q -b main . && git remote add origin ~/far && git fetch -q && git checkout -q main"
        )
        await workspace.sync(made_by="test")
        tree = await server.store.tree(workspace.record.id)
        assert path(".git/vaporform/state") in tree
        assert path(".git/vaporform/commits.bundle") not in tree
        await shell(workspace, f"git config user.email a@b.c; git config user.name A; echo 2 > b; {COMMIT} two")
        await workspace.sync(made_by="test")
        entry = (await server.store.tree(workspace.record.id))[path(".git/vaporform/commits.bundle")]
        assert entry.kind is EntryKind.FILE
        await server.provider.destroy(workspace.record.id, 1)
        said = await shell(workspace, "cat b; git log --oneline 2>&1 | head -n 1")
        assert said.startswith("2\n")
        (notice,) = [each for each in workspace.take_notices() if "rebuilt" in each]
        assert "its origin could not be reached" in notice
        assert ".git/vaporform/commits.bundle" in notice
        assert "prerequisite" in await shell(
            workspace, "git init -q . && git bundle verify .git/vaporform/commits.bundle 2>&1; true"
        )


async def test_what_git_tracks_in_a_folder_that_is_excluded_is_mirrored_and_nothing_else_of_it(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await shell(
            workspace, f"{INIT}; mkdir -p web/dist; echo 1 > web/dist/kept.js; {COMMIT} one; echo 2 > web/dist/made.js"
        )
        await workspace.sync(made_by="test")
        tree = await server.store.tree(workspace.record.id)
        assert {name for name in tree if not name.startswith(".git/")} == {"web/dist/kept.js"}


async def test_credentials_in_the_address_of_a_remote_are_not_kept(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await shell(
            workspace, f"{INIT}; git remote add origin https://me:s3cret@example.org/a.git; echo 1 > a; {COMMIT} one"
        )
        await workspace.sync(made_by="test")
        state = await shell(workspace, "cat .git/vaporform/state")
        assert "origin https://example.org/a.git\n" in state
        assert "s3cret" not in state


async def test_a_repository_that_git_cannot_read_is_a_problem_of_its_own_only(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await shell(workspace, "mkdir .git; echo nonsense > .git/HEAD; echo 1 > a")
        report = await workspace.sync(made_by="test")
        assert set(await server.store.tree(workspace.record.id)) == {"a"}
        (problem,) = report.problems
        assert problem.startswith(".git: its commits are not mirrored")


async def test_a_tag_or_branch_that_comes_after_the_last_commit_comes_back_too(tmp_path: Path) -> None:
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        await shell(workspace, f"{INIT}; echo 1 > a; {COMMIT} one")
        await workspace.sync(made_by="test")
        await shell(workspace, "git tag v1")
        await workspace.sync(made_by="test")
        await shell(workspace, "git branch side")
        await workspace.sync(made_by="test")
        await server.provider.destroy(workspace.record.id, 1)
        assert await shell(workspace, "git tag; git branch") == "v1\n* main\n  side\n"
