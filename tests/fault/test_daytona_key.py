"""The account's key goes to the service and to nobody else, and lies nowhere where others read."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.contract.sandboxes import emulator
from tests.e2e.stdio_client import StdioServer, environment_in
from tests.fault.daytona import Scene, open_scene, say
from vaporform_mcp.errors import NotSupported
from vaporform_mcp.sandboxes.daytona.destinations import Destinations

CLOUD = "https://app.daytona.io/api"


class Stranger(ThreadingHTTPServer):
    """A server of somebody else's, that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[str] = []

    @property
    def url(self) -> str:
        """By another host's name than the emulator's."""
        return f"http://localhost:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Stranger)
        self.server.heard.append(f"{self.requestline} {self.headers}")
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Said by the assertions."""


@contextmanager
def listening() -> Generator[Stranger]:
    with Stranger() as stranger:
        thread = Thread(target=stranger.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield stranger
        stranger.shutdown()
        thread.join()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with listening() as started:
        yield started


@pytest.mark.parametrize(
    "url",
    [
        "https://app.daytona.io/toolbox",
        "https://proxy.app.daytona.io/toolbox",
        "https://proxy.daytona.io",
        "https://eu.proxy.daytona.io:8443/toolbox",
        "wss://PROXY.App.Daytona.io./toolbox",
    ],
)
def test_the_clouds_own_hosts_get_the_key(url: str) -> None:
    Destinations(CLOUD).check(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://daytona.io.evil.example/toolbox",
        "https://evildaytona.io/toolbox",
        "https://app.daytona.io@evil.example/toolbox",
        "https://evil.example/https://app.daytona.io",
        "https://169.254.169.254/latest",
        "http://app.daytona.io/toolbox",
        "ws://proxy.app.daytona.io/toolbox",
        "ftp://app.daytona.io/",
        "//app.daytona.io",
        "",
    ],
)
def test_no_other_host_does_and_none_without_encryption(url: str) -> None:
    with pytest.raises(NotSupported, match="API key was not sent"):
        Destinations(CLOUD).check(url)


@pytest.mark.parametrize(
    ("api_url", "named", "url", "is_trusted"),
    [
        ("https://api.daytona.corp.example/api", (), "https://proxy.daytona.corp.example", True),
        ("https://daytona.co.uk/api", (), "https://evil.co.uk", False),
        ("https://daytona.example/api", (), "https://proxy.daytona.example", True),
        ("https://daytona.example/api", (), "https://proxy.example", False),
        ("https://daytona.example/api", ("proxy.example",), "https://proxy.example", True),
        ("https://daytona.example/api", ("proxy.example",), "https://x.proxy.example", False),
        ("https://daytona.example/api", ("*.proxy.example",), "https://x.proxy.example", True),
        ("https://daytona.example/api", ("proxy.example",), "http://proxy.example", False),
        ("https://10.1.2.3/api", (), "https://9.1.2.3", False),
        ("http://10.1.2.3:3000/api", (), "http://10.1.2.3:4000/toolbox", True),
    ],
)
def test_hosts_of_ones_own_are_trusted_by_their_domain_or_by_name(
    api_url: str, named: tuple[str, ...], url: str, is_trusted: bool
) -> None:
    destinations = Destinations(api_url, named)
    if is_trusted:
        destinations.check(url)
    else:
        with pytest.raises(NotSupported):
            destinations.check(url)


async def test_a_toolbox_at_a_strangers_host_is_refused_and_never_asked(scene: Scene, stranger: Stranger) -> None:
    scene.service.settings(toolbox_url=f"{stranger.url}/toolbox")
    with pytest.raises(NotSupported, match="localhost") as told:
        await scene.acquire()
    assert "VAPORFORM_DAYTONA__TOOLBOX_HOSTS" in told.value.hint
    assert stranger.heard == []
    await scene.provider.destroy("ws", 1)
    assert scene.asked("delete_sandbox") == 1, "what cannot be used can be deleted all the same"


async def test_a_host_that_is_named_in_the_settings_is_asked(scene: Scene) -> None:
    port = scene.service.url.rpartition(":")[2]
    scene.service.settings(toolbox_url=f"http://localhost:{port}/toolbox")
    async with open_scene(afresh=False, toolbox_hosts=("localhost",)) as named:
        assert await say(await named.acquire(), "echo fine") == "fine"


@pytest.mark.parametrize(
    ("route", "status"),
    [("get_sandbox", 302), ("list_sandboxes", 307), ("create_sandbox", 307), ("execute", 308), ("upload_files", 307)],
)
async def test_a_redirect_to_a_stranger_is_not_followed(
    scene: Scene, stranger: Stranger, route: str, status: int
) -> None:
    scene.service.fault(route, times=None, status=status, headers={"Location": f"{stranger.url}/elsewhere"})

    async def used() -> None:
        sandbox = await scene.acquire()
        await sandbox.write_mark(b"uploaded")

    with pytest.raises(NotSupported, match="localhost"):
        await used()
    assert stranger.heard == []


def test_the_key_is_in_no_log_result_sandbox_or_store(namespaces: None, tmp_path: Path) -> None:
    service = emulator()
    service.reset()
    key = service.key
    environment = {
        **environment_in(tmp_path, VAPORFORM_SANDBOX="daytona", VAPORFORM_TOOLS="all", VAPORFORM_LOG_LEVEL="debug"),
        "VAPORFORM_DAYTONA__API_URL": service.api_url,
        "DAYTONA_API_KEY": key,
    }
    told: list[str] = []
    with StdioServer(environment) as server:
        for tool, arguments in (
            ("open_workspace", {"name": "default"}),
            ("write_to_file", {"path": "a.txt", "content": "hello"}),
            ("execute_command", {"command": "env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; true"}),
            ("execute_command", {"command": f"grep -rlsa {key.replace('-', '[-]')} ~ /tmp . ; true"}),
            ("get_preview_url", {"port": 3000}),
            ("checkpoint", {"label": "one"}),
            ("attempt_completion", {"result": "done"}),
        ):
            told.append(server.call(tool, **arguments).text)
        service.fault("execute", times=None, status=403, body=f'{{"message": "no entry for Bearer {key}"}}')
        told.append(server.call("execute_command", command="true").text)
        service.clear_faults()
        told += [line.decode(errors="replace") for line in server.lines]
        server.end_input()
        server.wait()
        told.append(server.logged())
    assert "no entry for Bearer …" in "".join(told), "what the service says is told, without the key"
    assert not [text for text in told if key in text]
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert files
    assert not [each for each in files if key.encode() in each.read_bytes()]
    assert os.environ.get("DAYTONA_API_KEY") is None
