"""Previews of servers that are killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from tests.contract.network import Origin, free_port, serving, talk
from tests.contract.test_previews import GET, lost, to
from vaporform_mcp.sandboxes.local.previews import PreviewForwarder

ROOT = Path(__file__).parents[2]

SERVER = """
import sys
import anyio
from tests.contract.test_previews import to
from vaporform_mcp.sandboxes.local.previews import PreviewForwarder

async def main():
    async with PreviewForwarder() as previews:
        sys.stdout.write(f"{await previews.open('w1', int(sys.argv[1]), to(int(sys.argv[2])), None)}\\n")
        sys.stdout.flush()
        await anyio.sleep(60)

anyio.run(main)
"""


@contextmanager
def other_server(port: int, inside: int) -> Generator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", SERVER, str(port), str(inside)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


async def first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return await to_thread.run_sync(process.stdout.readline)


async def test_a_preview_that_two_servers_share_goes_on_when_one_is_killed() -> None:
    async with serving(Origin()) as inside, PreviewForwarder() as previews:
        wanted = free_port()
        with other_server(wanted, inside) as process:
            assert int(await first_line(process)) == wanted
            assert await previews.open("w1", wanted, to(inside), None) == wanted
            assert [(await talk(wanted, GET))[-2:] for _ in range(10)] == [b"hi"] * 10
            process.kill()
            await to_thread.run_sync(process.wait)
            assert [(await talk(wanted, GET))[-2:] for _ in range(10)] == [b"hi"] * 10


@pytest.mark.parametrize(("workspace", "same"), [("w1", True), ("w2", False)])
async def test_a_port_is_shared_with_another_process_for_the_same_workspace_only(workspace: str, *, same: bool) -> None:
    wanted = free_port()
    with other_server(wanted, free_port()) as process:
        assert int(await first_line(process)) == wanted
        async with PreviewForwarder() as previews:
            assert (await previews.open(workspace, wanted, lost, wanted) == wanted) is same


async def test_a_killed_server_leaves_its_port_free_for_any_workspace() -> None:
    wanted = free_port()
    with other_server(wanted, free_port()) as process:
        assert int(await first_line(process)) == wanted
        process.kill()
        await to_thread.run_sync(process.wait)
        async with PreviewForwarder() as previews:
            with anyio.fail_after(20):
                assert await previews.open("w2", wanted, lost, None) == wanted
