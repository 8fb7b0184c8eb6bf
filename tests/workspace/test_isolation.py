"""How a workspace is isolated never changes without being said."""

from __future__ import annotations

from pathlib import Path

from tests.workspace.helpers import NAME, opened, path, shell
from tests.workspace.seams import seam_server
from vaporform_mcp.sandboxes.local.config import Level


async def used(data: Path, level: Level) -> list[str]:
    """What the first results of a server of that level have to say of the workspace, which keeps its files."""
    async with seam_server(data, isolation=level) as server:
        workspace = await opened(server.manager)
        await shell(workspace, "date >> kept")
        assert (await workspace.info()).isolation == level
        told = workspace.take_notices()
        await workspace.sync(made_by="test")
        assert workspace.take_notices() == []
    return told


async def test_a_change_of_the_level_is_told_once_in_both_directions(tmp_path: Path) -> None:
    assert await used(tmp_path, "namespaces") == []
    (worse,) = await used(tmp_path, "restricted")
    assert "restricted now, namespaces until now" in worse
    assert await used(tmp_path, "restricted") == []
    (better,) = await used(tmp_path, "namespaces")
    assert "namespaces now, restricted until now" in better
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager, NAME)
        assert (await workspace.read(path("kept"))).content.count(b"\n") == 4
        await server.provider.destroy(workspace.record.id, 1)


async def test_a_level_that_changes_with_the_loss_of_the_sandbox_is_told_too(tmp_path: Path) -> None:
    await used(tmp_path, "namespaces")
    async with seam_server(tmp_path, isolation="restricted") as server:
        workspace = await opened(server.manager)
        workspace.take_notices()
        await server.provider.destroy(workspace.record.id, 1)
        await shell(workspace, "cat kept")
        assert len(workspace.take_notices()) == 1  # of the loss alone: the level is as it was
        await server.provider.destroy(workspace.record.id, 2)
    async with seam_server(tmp_path) as server:
        workspace = await opened(server.manager)
        assert any("namespaces now, restricted until now" in each for each in workspace.take_notices())
        await server.provider.destroy(workspace.record.id, 3)
