"""A database server that is killed under its writers has, started again, everything that was acknowledged."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.contract.stores import digest_of, file, make_workspace, path, write
from tests.mongod import start_mongod
from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.stores.mongo import open_mongo


@pytest.mark.parametrize(
    "after", [7, pytest.param(23, marks=pytest.mark.long), pytest.param(61, marks=pytest.mark.long)]
)
async def test_what_was_acknowledged_is_there_after_the_database_server_was_killed(tmp_path: Path, after: int) -> None:
    server = start_mongod(tmp_path)
    acknowledged: dict[str, bytes] = {}
    try:
        async with open_mongo(server.uri, "x") as store:
            workspace = await make_workspace(store)

            async def write_on() -> None:
                for number in range(10_000):
                    content = b"%d" % number
                    try:
                        await write(store, workspace, {f"{number}.txt": content})
                    except StoreUnavailable:
                        return
                    acknowledged[f"{number}.txt"] = content
                    if len(acknowledged) == after:
                        enough.set()

            enough = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(write_on)
                await enough.wait()
                server.stop()
        server = start_mongod(tmp_path)
        async with open_mongo(server.uri, "x") as store:
            tree = await store.tree(workspace)
            for name, content in acknowledged.items():
                assert tree[path(name)] == file(content)
            report = await store.verify()
            assert (report.missing, report.corrupt) == ([], [])
            held = await store.get_blobs([digest_of(content) for content in acknowledged.values()])
            assert len(held) == len(acknowledged)
    finally:
        server.stop()
