"""A person's folder goes into a live workspace, while the person goes on working in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workspace.conftest import Server
from tests.workspace.helpers import opened, path
from vaporform_mcp.exclusions import Exclusions
from vaporform_mcp.sandboxes.base import MAX_FILE_BATCH_BYTES
from vaporform_mcp.transfer.exchange import Memory
from vaporform_mcp.transfer.folders import open_folder
from vaporform_mcp.transfer.live import LiveTarget
from vaporform_mcp.transfer.pushing import push, read_local

LARGE = MAX_FILE_BATCH_BYTES + 1


def shrink(file: Path) -> None:
    file.write_bytes(b"x" * (LARGE - 100))


def grow(file: Path) -> None:
    file.write_bytes(b"x" * (LARGE + 100))


def rewrite(file: Path) -> None:
    file.write_bytes(b"y" * file.stat().st_size)


@pytest.mark.parametrize("meddle", [Path.unlink, shrink, grow, rewrite])
async def test_a_file_that_goes_or_changes_during_a_push_is_named_and_the_rest_arrives(
    server: Server, tmp_path: Path, meddle: Callable[[Path], None]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, content in {"a": b"1", "b": b"1" * LARGE, "c": b"1" * LARGE, "small": b"1", "z": b"1"}.items():
        (mine / name).write_bytes(content)
    workspace = await opened(server.manager)
    memory = Memory(tmp_path / "memory", workspace.record.id, mine)
    with open_folder(mine) as folder:
        local = await read_local(folder, Exclusions(), with_ignored=False)
        for name in ("b", "small"):
            meddle(mine / name)
        done = await push(local, LiveTarget(workspace, "push: mine"), memory, overwrite=False)
    assert set(done.problems) == {"b", "small"}
    assert all("read" in why for why in done.problems.values())
    tree = await server.store.tree(workspace.record.id)
    assert sorted(tree) == ["a", "c", "z"]

    # Repeated, it brings what is there now.
    with open_folder(mine) as folder:
        local = await read_local(folder, Exclusions(), with_ignored=False)
        done = await push(local, LiveTarget(workspace, "push: mine"), memory, overwrite=False)
    assert done.problems == {}
    expected = {each.name: each.stat().st_size for each in mine.iterdir()}
    tree = await server.store.tree(workspace.record.id)
    assert {name: entry.size for name, entry in tree.items()} == expected
    assert tree[path("a")].size == 1
