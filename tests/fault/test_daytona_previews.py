"""Links to the ports of a Daytona sandbox: who may see what is behind them, for how long, and what they say of that."""

from __future__ import annotations

import urllib.error
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.e2e.places import fetch
from tests.fault.daytona import Scene, open_scene, say
from vaporform_mcp.sandboxes.base import Command
from vaporform_mcp.sandboxes.daytona.sandbox import DaytonaSandbox
from vaporform_mcp.tools.text import preview_facts, preview_line

pytestmark = pytest.mark.usefixtures("namespaces")

PORTS = (3000, 5173)
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
UNWARNED = {**BROWSER, "X-Daytona-Skip-Preview-Warning": "true"}


@pytest.fixture
async def private() -> AsyncIterator[tuple[Scene, DaytonaSandbox]]:
    async with open_scene(public=False, preview_s=600) as scene:
        sandbox = await scene.acquire()
        await serve(sandbox)
        yield scene, sandbox


@pytest.fixture
async def public() -> AsyncIterator[tuple[Scene, DaytonaSandbox]]:
    async with open_scene(auto_stop_min=20) as scene:
        sandbox = await scene.acquire()
        await serve(sandbox)
        yield scene, sandbox


async def serve(sandbox: DaytonaSandbox) -> None:
    """Each port has a page of its own."""
    for port in PORTS:
        await say(sandbox, f"mkdir -p {port} && echo port {port} > {port}/index.html")
        line = f"exec python3 -m http.server {port} --bind 127.0.0.1 --directory {port}"
        started = await sandbox.exec(Command(text=line), wait_s=20, until_port=True)
        assert port in started.ports


def status(url: str, headers: dict[str, str] | None = None) -> int:
    try:
        return fetch(url, headers)[0]
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


async def test_a_signed_link_leads_to_its_port_until_it_expires_and_says_so(
    private: tuple[Scene, DaytonaSandbox],
) -> None:
    scene, sandbox = private
    previews = [await sandbox.preview(port) for port in PORTS]
    assert [fetch(each.url) for each in previews] == [(200, f"port {port}\n".encode()) for port in PORTS]
    facts = preview_facts(previews[0])
    left = datetime.fromisoformat(str(facts["expires_at"])) - datetime.now(UTC)
    assert (facts["public"], 0 < left.total_seconds() <= 600) == (False, True)
    assert f"(anyone with the URL until {facts['expires_at']}; sleeps after 15 minutes" in preview_line(previews[0])
    scene.service.advance(601)
    assert [status(each.url) for each in previews] == [400, 400]
    assert status((await sandbox.preview(PORTS[0])).url) == 200
    assert status(f"{scene.service.url}/preview/{PORTS[0]}-{sandbox.sandbox_id}/") == 400, "without a signature"


async def test_the_link_that_is_given_after_a_stop_is_not_the_one_that_the_stop_has_ended(
    private: tuple[Scene, DaytonaSandbox],
) -> None:
    scene, sandbox = private
    before = await sandbox.preview(PORTS[0])
    scene.service.happen(sandbox.sandbox_id, "stopped")
    await say(sandbox, "true")
    await serve(sandbox)
    after = await sandbox.preview(PORTS[0])
    assert (status(before.url), status(after.url)) == (400, 200)


async def test_a_public_link_needs_no_token_and_says_who_sees_it_and_when_it_sleeps(
    public: tuple[Scene, DaytonaSandbox],
) -> None:
    scene, sandbox = public
    previews = [await sandbox.preview(port) for port in PORTS]
    assert [fetch(each.url) for each in previews] == [(200, f"port {port}\n".encode()) for port in PORTS]
    for each in previews:
        assert scene.service.key not in each.url
        assert "?" not in each.url
        assert preview_facts(each) == {"port": each.port, "url": each.url, "public": True, "sleeps_after_min": 20}
        assert preview_line(each).endswith("(anyone with the URL; sleeps after 20 minutes without use)")


async def test_browsers_meet_the_warning_page_which_a_header_skips(public: tuple[Scene, DaytonaSandbox]) -> None:
    """And a program that is no browser never meets it."""
    _, sandbox = public
    url = (await sandbox.preview(PORTS[0])).url
    assert b"Preview URL Warning" in fetch(url, BROWSER)[1]
    assert fetch(url, UNWARNED)[1] == fetch(url)[1] == b"port 3000\n"
