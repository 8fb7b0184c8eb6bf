"""Listing, deleting into the trash, and taking out again."""

from __future__ import annotations

import pytest

from tests.workspace.conftest import Server, ServerFactory
from tests.workspace.helpers import NAME, OWNER, opened, path, run, shell
from vaporform_mcp.errors import Conflict, InvalidArgument, NotFound, NotSupported
from vaporform_mcp.manager import OpenRequest


async def test_a_deleted_workspace_comes_back_whole_from_the_trash(server: Server) -> None:
    workspace = await opened(server.manager)
    await run(workspace, "echo unsynced > a.txt")
    await server.manager.delete(OWNER, NAME)
    assert [summary.state for summary in await server.manager.list(OWNER)] == ["deleted"]
    assert list((server.data / "sandboxes").glob("*-1")) == []
    await server.manager.undelete(OWNER, NAME)
    assert await shell(await opened(server.manager), "cat a.txt") == "unsynced\n"


async def test_a_name_in_the_trash_is_free_and_the_trash_waits_for_it_to_be_free_again(server: Server) -> None:
    await (await opened(server.manager)).write(path("old.txt"), b"old", made_by="write_to_file")
    await server.manager.delete(OWNER, NAME)
    await (await opened(server.manager)).write(path("new.txt"), b"new", made_by="write_to_file")
    with pytest.raises(Conflict):
        await server.manager.undelete(OWNER, NAME)
    assert sorted(summary.state for summary in await server.manager.list(OWNER)) == ["deleted", "open"]


async def test_what_is_not_there_cannot_be_deleted(server: Server) -> None:
    with pytest.raises(NotFound):
        await server.manager.delete(OWNER, NAME)
    with pytest.raises(NotFound):
        await server.manager.undelete(OWNER, NAME)


async def test_opening_tells_what_the_workspace_is(server: Server) -> None:
    first = await server.manager.open(OWNER, NAME, OpenRequest(), wait_s=30)
    assert (first.created, first.state, first.percent) == (True, "ready", 100.0)
    assert first.isolation == "namespaces"
    await (await opened(server.manager)).write(path("a.txt"), b"x", made_by="write_to_file")
    again = await server.manager.open(OWNER, NAME, OpenRequest(), wait_s=30)
    assert (again.files, again.revision) == (1, 1)


@pytest.mark.parametrize(
    "request_",
    [
        OpenRequest(branch="main"),
        OpenRequest(git_url="/etc"),
        OpenRequest(git_url="file:///etc"),
        OpenRequest(git_url="--upload-pack=touch x"),
        OpenRequest(git_url="ext::sh -c id"),
        OpenRequest(git_url="https://user:secret@example.com/a.git"),
        OpenRequest(git_url="https://example.com/a.git", branch="--upload-pack=x"),
        OpenRequest(git_url="https://example.com/a b.git"),
        OpenRequest(git_url="https://"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_before_anything_is_made(
    server: Server, request_: OpenRequest
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await server.manager.open(OWNER, NAME, request_, wait_s=30)
    assert "secret" not in str(caught.value) + caught.value.hint
    assert await server.manager.list(OWNER) == []


async def test_what_the_provider_does_not_have_is_refused_with_its_name(server: Server) -> None:
    with pytest.raises(NotSupported, match="image"):
        await server.manager.open(OWNER, NAME, OpenRequest(image="debian"), wait_s=30)


async def test_a_clone_that_fails_says_what_git_said_and_leaves_nothing_half_done(start_server: ServerFactory) -> None:
    from vaporform_mcp.errors import SandboxUnavailable

    url = "http://127.0.0.1:9/none.git"
    async with start_server() as server:
        with pytest.raises(SandboxUnavailable, match="git could not clone"):
            await server.manager.open(OWNER, NAME, OpenRequest(git_url=url), wait_s=30)
        assert await server.manager.list(OWNER) == []
        again = await server.manager.open(OWNER, NAME, OpenRequest(), wait_s=30)
        assert (again.created, again.state) == (True, "ready")
