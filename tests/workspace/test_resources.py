"""Files as resources, read and completed by a client of the protocol over a live workspace."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.memory import create_client_server_memory_streams
from mcp_types import (
    BlobResourceContents,
    PromptReference,
    ResourceTemplateReference,
    TextResourceContents,
)

from tests.workspace.conftest import Server
from tests.workspace.helpers import opened, path, shell
from vaporform_mcp.manager import Manager
from vaporform_mcp.server.calls import Calls
from vaporform_mcp.server.resources import Resources
from vaporform_mcp.server.results import FACTS_KEY
from vaporform_mcp.server.serving import Serving
from vaporform_mcp.server.stdio import make_server
from vaporform_mcp.types import WorkspaceName

FILE = "workspace://{name}/files/{path}"
REVISION_FILE = "workspace://{name}/revisions/{n}/files/{path}"
NOT_THERE = -32602

pytestmark = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


@asynccontextmanager
async def connected(server: Server, mode: str, *, owner: str = "local") -> AsyncGenerator[Client]:
    async def manager() -> Manager:
        return server.manager

    @asynccontextmanager
    async def unused() -> AsyncGenerator[Manager]:
        yield server.manager

    serving = Serving(
        open_manager=unused,
        load=lambda: None,
        owner=owner,
        workspace=WorkspaceName("default"),
        tools="all",
        wait_limit_s=30.0,
    )
    protocol = make_server(serving, {}, Calls(serving, {}, manager), Resources(serving, manager), anyio.Event())

    @asynccontextmanager
    async def transport() -> AsyncGenerator[tuple[object, object]]:
        async with (
            create_client_server_memory_streams() as (client_streams, server_streams),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(protocol.run, *server_streams, protocol.create_initialization_options())
            yield client_streams
            tasks.cancel_scope.cancel()

    with anyio.fail_after(60):
        async with Client(transport(), mode=mode) as client:  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            yield client


async def content_of(client: Client, uri: str) -> TextResourceContents | BlobResourceContents:
    (content,) = (await client.read_resource(uri)).contents
    assert content.uri == uri
    return content


async def text_of(client: Client, uri: str) -> str:
    content = await content_of(client, uri)
    assert isinstance(content, TextResourceContents)
    return content.text


async def refusal(client: Client, uri: str) -> MCPError:
    with pytest.raises(MCPError) as raised:
        await client.read_resource(uri)
    return raised.value


async def completions(client: Client, argument: str, value: str, **others: str) -> list[str]:
    template = REVISION_FILE if "n" in others or argument == "n" else FILE
    completed = await client.complete(
        ResourceTemplateReference(uri=template), {"name": argument, "value": value}, context_arguments=others
    )
    return completed.completion.values


async def test_the_templates_are_listed_and_nothing_is_opened_for_it(server: Server, mode: str) -> None:
    async with connected(server, mode) as client:
        listed = await client.list_resource_templates()
        assert [each.uri_template for each in listed.resource_templates] == [FILE, REVISION_FILE]
        assert (await client.list_resources()).resources == []
    assert await server.manager.list("local") == []


async def test_a_file_is_read_as_it_is_now_and_as_it_was(server: Server, mode: str) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("src/a b.ts"), b"let one\n", made_by="write_to_file")
    await workspace.checkpoint("first try", wait_s=30)
    await shell(workspace, "echo 'let two' > 'src/a b.ts'")
    async with connected(server, mode) as client:
        now = await content_of(client, "workspace://app/files/src/a%20b.ts")
        assert isinstance(now, TextResourceContents)
        assert (now.text, now.mime_type) == ("let two\n", "text/typescript")
        assert (now.meta or {})[FACTS_KEY]["source"] == "sandbox"
        for at in ("1", "2", "first%20try"):
            for name in ("src/a%20b.ts", "src%2Fa%20b.ts"):
                assert await text_of(client, f"workspace://app/revisions/{at}/files/{name}") == "let one\n"


async def test_names_in_any_script_and_binary_files_come_whole_with_their_type(server: Server, mode: str) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("имя?#%.txt"), "да".encode(), made_by="write_to_file")
    await workspace.write(path("p.png"), b"\x89PNG\r\n\x1a\n\0", made_by="write_to_file")
    await workspace.write(path("empty"), b"", made_by="write_to_file")
    async with connected(server, mode) as client:
        assert await text_of(client, "workspace://app/files/%D0%B8%D0%BC%D1%8F%3F%23%25.txt") == "да"
        assert await text_of(client, "workspace://app/files/empty") == ""
        for uri in ("workspace://app/files/p.png", "workspace://app/revisions/2/files/p.png"):
            content = await content_of(client, uri)
            assert isinstance(content, BlobResourceContents)
            assert content.mime_type == "image/png"
            assert base64.b64decode(content.blob) == b"\x89PNG\r\n\x1a\n\0"


async def test_what_is_not_there_is_told_with_what_is(server: Server, mode: str) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("src/app.py"), b"one", made_by="write_to_file")
    await shell(workspace, "rm src/app.py")
    await workspace.sync(made_by="test")
    async with connected(server, mode) as client:
        gone = await refusal(client, "workspace://app/files/src/app.py")
        assert gone.code == NOT_THERE
        assert "workspace://app/revisions/1/files/src/app.py" in str(gone)
        near = await refusal(client, "workspace://app/revisions/1/files/src/ap.py")
        assert "Near it: src/app.py." in str(near)
        assert "The newest is revision 2." in str(await refusal(client, "workspace://app/revisions/9/files/src/app.py"))
        assert (await refusal(client, "workspace://other/files/a")).code == NOT_THERE
    assert [each.name for each in await server.manager.list("local")] == ["app"]


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "workspace://app",
        "workspace://app/files/",
        "workspace://app/files/../../etc/passwd",
        "workspace://app/files/..%2F..%2Fetc%2Fpasswd",
        "workspace://app/files//etc/passwd",
        "workspace://app/files/%2Fetc%2Fpasswd",
        "workspace://app/files/%ff",
        "workspace://app/files/a%00b",
        "workspace://App/files/a",
        "workspace://app/revisions//files/a",
        "workspace://app/revisions/1/a",
        "workspace://app/revisions/1/files/../a",
    ],
)
async def test_an_address_that_is_none_or_leads_out_is_refused(server: Server, mode: str, uri: str) -> None:
    async with connected(server, mode) as client:
        refused = await refusal(client, uri)
        assert refused.code == NOT_THERE
        assert str(server.data) not in str(refused)
    assert await server.manager.list("local") == []


async def test_a_file_that_is_too_large_is_told_by_its_size(server: Server, mode: str) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "head -c 9000000 /dev/zero > large")
    await workspace.checkpoint("large", wait_s=60)
    async with connected(server, mode) as client:
        then = await refusal(client, "workspace://app/revisions/large/files/large")
        assert "9,000,000 bytes" in str(then)
        assert "over 8 MiB" in str(await refusal(client, "workspace://app/files/large"))


async def test_another_owners_workspaces_are_not_there(server: Server, mode: str) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("secret.txt"), b"secret", made_by="write_to_file")
    async with connected(server, mode, owner="eve") as client:
        for uri in ("workspace://app/files/secret.txt", "workspace://app/revisions/1/files/secret.txt"):
            assert (await refusal(client, uri)).code == NOT_THERE
        assert await completions(client, "name", "") == []
        assert await completions(client, "n", "", name="app") == []
        assert await completions(client, "path", "", name="app", n="1") == []


async def test_names_revisions_labels_and_paths_are_completed(server: Server, mode: str) -> None:
    workspace = await opened(server.manager)
    for number in range(12):
        await workspace.write(path(f"src/{number}.py"), b"x", made_by="write_to_file")
    await workspace.checkpoint("works", wait_s=30)
    await shell(workspace, "rm src/3.py")
    await workspace.sync(made_by="test")
    await opened(server.manager, WorkspaceName("app-two"))
    async with connected(server, mode) as client:
        assert sorted(await completions(client, "name", "app")) == ["app", "app-two"]
        assert await completions(client, "name", "two") == ["app-two"]
        newest = (await server.store.head(workspace.record.id)).number
        numbers = [str(number) for number in range(newest, 0, -1) if str(number).startswith("1")]
        assert await completions(client, "n", "1", name="app") == numbers
        assert await completions(client, "n", "wo", name="app") == ["works"]
        assert await completions(client, "path", "src/1", name="app") == ["src/1.py", "src/10.py", "src/11.py"]
        assert await completions(client, "path", "3.py", name="app") == []
        assert await completions(client, "path", "3.py", name="app", n="works") == ["src/3.py"]
        assert await completions(client, "path", "", name="nobodys") == []
        prompt = await client.complete(PromptReference(name="build"), {"name": "workspace", "value": "app-"})
        assert prompt.completion.values == ["app-two"]


async def test_at_most_a_hundred_completions_are_given_and_their_number_is_told(server: Server, mode: str) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "touch $(seq 150)")
    await workspace.sync(made_by="test")
    async with connected(server, mode) as client:
        completed = await client.complete(
            ResourceTemplateReference(uri=FILE), {"name": "path", "value": ""}, context_arguments={"name": "app"}
        )
        assert len(completed.completion.values) == 100
        assert (completed.completion.total, completed.completion.has_more) == (150, True)


async def test_damaged_content_is_told_and_not_given(server: Server, mode: str) -> None:
    import sqlite3

    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"sound content", made_by="write_to_file")
    with sqlite3.connect(server.data / "vaporform.sqlite3") as database:
        database.execute("UPDATE chunks SET content = ? WHERE content = ?", (b"evil", b"sound content"))
    database.close()
    async with connected(server, mode) as client:
        assert "missing or damaged" in str(await refusal(client, "workspace://app/revisions/1/files/a.txt"))
        assert await text_of(client, "workspace://app/files/a.txt") == "sound content"
