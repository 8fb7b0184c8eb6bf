"""A private service reached through a port of the sandbox's loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.contract.network import ORIGIN, Names, connected, echo, free_port, rest_of, serving
from vaporform_mcp.sandboxes.local.forwarding import serve_forward
from vaporform_mcp.sandboxes.local.policy import EgressPolicy, parse


@asynccontextmanager
async def forwarding(policy: EgressPolicy, names: Names, port: int) -> AsyncGenerator[int]:
    async def serve() -> None:
        await serve_forward(listener, "db.corp", port, policy, resolve=names)

    with socket.create_server((ORIGIN, 0)) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            yield listener.getsockname()[1]
            tasks.cancel_scope.cancel()


async def test_what_connects_inside_talks_to_the_service() -> None:
    async with serving(echo) as port:
        policy = parse([], [f"db.corp:{port}"])
        async with forwarding(policy, Names({"db.corp": [[ORIGIN]]}), port) as inside, connected(inside) as client:
            await client.send(b"select 1")
            await client.send_eof()
            assert await rest_of(client) == b"select 1"


@pytest.mark.parametrize("answers", [{"db.corp": [["169.254.169.254"]]}, {}, {"db.corp": [[ORIGIN]]}])
async def test_a_service_that_cannot_or_must_not_be_reached_resets_the_connection(
    answers: dict[str, list[list[str]]],
) -> None:
    port = free_port()
    async with forwarding(parse([], [f"db.corp:{port}"]), Names(answers), port) as inside, connected(inside) as client:
        with pytest.raises(anyio.BrokenResourceError):
            await rest_of(client)
