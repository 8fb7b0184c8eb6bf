"""Previews of the emulated Daytona: what is seen of a server inside a sandbox from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import anyio
import pytest
from daytona import AsyncSandbox

from tests.emulators.daytona.emulator import Emulator

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"}
_WAIT_S = 20.0
# Answers HTTP with what it was asked, and takes the handshake of a WebSocket whose frames it sends back as they are.
SERVER = """
import base64, hashlib, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.end_headers()
            while True:
                first, length = self.rfile.read(2)
                mask = self.rfile.read(4)
                data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(length & 127)))
                self.wfile.write(bytes([first, len(data)]) + data)
                if first & 15 == 8:
                    self.close_connection = True
                    return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = f"{self.command} {self.path} {body.decode()} host={self.headers['Host']}"
        said += f" token={self.headers.get('X-Daytona-Preview-Token')}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("Set-Cookie", "a=b")
        self.end_headers()
        self.wfile.write(said.encode())
    do_POST = do_GET
http.server.ThreadingHTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
"""


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def serving(sandbox: AsyncSandbox) -> AsyncSandbox:
    """A sandbox in which a server listens on port 3000."""
    await sandbox.fs.upload_file(SERVER.encode(), "server.py")
    await sandbox.process.exec("python3 server.py >/dev/null 2>&1 &")
    listening = (
        "until python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 3000))' 2>/dev/null; do :; done"
    )
    await sandbox.process.exec(listening, timeout=20)
    return sandbox


async def text(client: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get(url, headers=named, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def test_a_public_preview_needs_no_token_and_a_private_one_does(
    serving: AsyncSandbox, client: aiohttp.ClientSession
) -> None:
    link = await serving.get_preview_link(3000)
    assert (await text(client, f"{link.url}/a"))[0] == 307
    status, said = await text(client, f"{link.url}/a%2Fb?c=d", X_Daytona_Preview_Token=link.token)
    assert (status, said.split(" host=")[0]) == (200, "GET /a%2Fb?c=d ")
    assert said.endswith("token=None")
    status, said = await text(client, f"{link.url}/a?c=d&DAYTONA_SANDBOX_AUTH_KEY={link.token}")
    assert (status, said.split(" host=")[0]) == (200, "GET /a?c=d ")
    await serving.set_public(True)
    assert (await text(client, f"{link.url}/"))[0] == 200
    assert (await text(client, f"{link.url.replace('/3000-', '/2280-')}/version"))[0] == 307


async def test_bodies_headers_and_hosts_are_passed_on(
    serving: AsyncSandbox, client: aiohttp.ClientSession, emulator: Emulator
) -> None:
    await serving.set_public(True)
    link = await serving.get_preview_link(3000)
    async with client.post(f"{link.url}/form", data=b"x" * 3) as answer:
        assert (await answer.text()).startswith("POST /form xxx host=127.0.0.1:")
        assert answer.headers["Set-Cookie"] == "a=b"
    host = f"3000-{serving.id}.preview.example"
    async with client.get(f"{emulator.url}/deep/path", headers={"Host": host}) as answer:
        assert (await answer.text()).startswith(f"GET /deep/path  host={host}")


async def test_nobody_listening_and_a_stopped_sandbox_are_told_apart(
    sandbox: AsyncSandbox, client: aiohttp.ClientSession
) -> None:
    await sandbox.set_public(True)
    link = await sandbox.get_preview_link(3000)
    status, said = await text(client, link.url)
    assert (status, "connection refused" in said) == (502, True)
    await sandbox.stop()
    status, said = await text(client, link.url)
    assert (status, "Is the Sandbox started?" in said) == (400, True)


async def test_browsers_are_warned_first_and_nobody_else(
    serving: AsyncSandbox, client: aiohttp.ClientSession, emulator: Emulator
) -> None:
    await serving.set_public(True)
    url = (await serving.get_preview_link(3000)).url
    async with client.get(url, headers=BROWSER) as answer:
        assert (answer.content_type, "Warning" in await answer.text()) == ("text/html", True)
    async with client.get(url, headers={**BROWSER, "X-Daytona-Skip-Preview-Warning": "true"}) as answer:
        assert (await answer.text()).startswith("GET / ")
    async with client.get(url, headers=BROWSER, cookies={"daytona-preview-page-accepted": "true"}) as answer:
        assert (await answer.text()).startswith("GET / ")
    assert (await text(client, url))[1].startswith("GET / ")
    emulator.settings(preview_warning=False)
    async with client.get(url, headers=BROWSER) as answer:
        assert (await answer.text()).startswith("GET / ")


async def test_a_signed_url_needs_nothing_else_until_it_expires(
    serving: AsyncSandbox, client: aiohttp.ClientSession, emulator: Emulator
) -> None:
    signed = await serving.create_signed_preview_url(3000, 600)
    assert serving.id not in signed.url
    assert (await text(client, f"{signed.url}/a"))[1].startswith("GET /a ")
    emulator.advance(600)
    async with client.get(signed.url) as answer:  # a browser is sent on to a login that does not know what it wants
        assert (answer.status, "went wrong" in await answer.text()) == (400, True)
    default = await serving.create_signed_preview_url(3000)
    emulator.advance(60)
    assert (await text(client, default.url))[0] == 307
    ended = await serving.create_signed_preview_url(3000, 600)
    await serving.expire_signed_preview_url(3000, ended.token)
    assert (await text(client, ended.url))[0] == 307


async def test_a_signed_url_does_not_outlive_a_stop(serving: AsyncSandbox, client: aiohttp.ClientSession) -> None:
    signed = await serving.create_signed_preview_url(3000, 600)
    await serving.stop()
    await serving.start()
    assert (await text(client, signed.url))[0] == 307


async def test_websockets_are_passed_on_and_cut_off_where_a_fault_says_so(
    serving: AsyncSandbox, client: aiohttp.ClientSession, emulator: Emulator
) -> None:
    await serving.set_public(True)
    url = (await serving.get_preview_link(3000)).url
    with anyio.fail_after(_WAIT_S):
        async with client.ws_connect(url) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
            await socket.send_bytes(b"\0\1")
            assert await socket.receive_bytes() == b"\0\1"
        emulator.fault("preview", close_code=1011, after_frames=1)
        async with client.ws_connect(url) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
            assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1011
        emulator.fault("preview", close_code=1006)
        async with client.ws_connect(url) as socket:
            await socket.receive()
            assert socket.close_code == 1006
