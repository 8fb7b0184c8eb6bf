"""Completion: back up, name the stack, serve if nothing does; never install, never build."""

from __future__ import annotations

import urllib.request

import anyio.to_thread

from tests.workspace.conftest import Server
from tests.workspace.helpers import opened, path, run, shell

GATEWAY = b"""
from http.server import BaseHTTPRequestHandler, HTTPServer
class Gateway(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(502)
HTTPServer(("127.0.0.1", 8324), Gateway).serve_forever()
"""

PAGE = b"<!doctype html><title>hello</title><h1>Hello</h1>"


async def test_what_changed_is_backed_up_as_a_checkpoint(server: Server) -> None:
    workspace = await opened(server.manager)
    await shell(workspace, "echo 1 > a.txt; echo 2 > b.txt")
    completed = await workspace.complete(command=None, wait_s=30)
    assert completed.mirrored
    assert completed.files_total == 2
    labelled = await server.store.labelled(workspace.record.id, completed.checkpoint)
    assert labelled is not None
    assert completed.mirror.revision == labelled.number


async def test_a_static_site_is_named_and_served_where_nothing_serves(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("index.html"), PAGE, made_by="write_to_file")
    completed = await workspace.complete(command=None, wait_s=30)
    assert completed.dev_server is not None
    assert completed.dev_server.started, completed
    assert completed.preview_url is not None
    assert completed.tech_stack.language == "HTML"
    assert await anyio.to_thread.run_sync(_fetch, completed.preview_url) == PAGE


async def test_a_server_that_already_runs_is_left_alone_and_its_preview_given(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("index.html"), PAGE, made_by="write_to_file")
    executed = await run(workspace, "python3 -m http.server 8321 --bind 127.0.0.1", background=True)
    completed = await workspace.complete(command=None, wait_s=30)
    assert completed.dev_server is not None
    assert (completed.dev_server.started, completed.dev_server.process_id) == (False, executed.result.process_id)
    assert [(item.preview.port, item.status) for item in completed.previews] == [(8321, 200)]
    assert len(await workspace.processes()) == 1


async def test_a_server_that_fails_is_reported_with_its_log_and_the_completion_stands(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("a.txt"), b"x", made_by="write_to_file")
    completed = await workspace.complete(command="echo it broke; exit 4", wait_s=30)
    assert completed.dev_server is None, "echo is no server"
    completed = await workspace.complete(command="sh -c 'echo it broke; exit 4'", wait_s=30)
    assert completed.mirrored
    assert completed.dev_server is not None
    assert "it broke" in (completed.dev_server.error or "")
    assert completed.warnings


async def test_a_port_that_does_not_speak_http_is_no_server(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("index.html"), PAGE, made_by="write_to_file")
    listen = "import socket,time; s=socket.create_server(('127.0.0.1', 8322)); time.sleep(600)"
    await run(workspace, f'python3 -c "{listen}"', background=True)
    completed = await workspace.complete(command=None, wait_s=30)
    assert completed.dev_server is not None
    assert completed.dev_server.started
    statuses = {item.preview.port: item.status for item in completed.previews}
    assert statuses[8322] is None


async def test_a_gateway_with_nothing_behind_it_is_no_server(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("index.html"), PAGE, made_by="write_to_file")
    await workspace.write(path("gateway.py"), GATEWAY, made_by="write_to_file")
    await run(workspace, "python3 gateway.py", background=True)
    completed = await workspace.complete(command=None, wait_s=30)
    assert completed.dev_server is not None
    assert completed.dev_server.started
    statuses = {item.preview.port: item.status for item in completed.previews}
    assert (statuses.pop(8324), set(statuses.values())) == (502, {200})
    assert completed.preview_url is not None
    assert await anyio.to_thread.run_sync(_fetch, completed.preview_url) == PAGE


async def test_the_server_of_a_rebuilt_sandbox_is_started_as_it_was_and_keeps_its_url(server: Server) -> None:
    workspace = await opened(server.manager)
    await workspace.write(path("index.html"), PAGE, made_by="write_to_file")
    executed = await run(workspace, "python3 -m http.server 8323", background=True)
    [preview] = executed.previews
    await server.provider.destroy(workspace.record.id, 1)
    completed = await workspace.complete(command=None, wait_s=30)
    assert completed.preview_url == preview.url
    assert await anyio.to_thread.run_sync(_fetch, preview.url) == PAGE


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own preview
        return answer.read()
