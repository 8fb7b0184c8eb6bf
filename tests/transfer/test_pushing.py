"""What a push plans from a folder and what both sides had when they last met."""

from __future__ import annotations

from pathlib import Path

from tests.contract.stores import file
from vaporform_mcp.exclusions import Exclusions
from vaporform_mcp.transfer.exchange import Memory, version_of
from vaporform_mcp.transfer.folders import open_folder
from vaporform_mcp.transfer.pushing import read_local
from vaporform_mcp.types import WorkspacePath


async def test_what_cannot_be_told_to_be_gone_is_not_removed_and_what_is_gone_is(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    # The system refuses to look for it, as it does below a folder that nobody may enter.
    gone, untold = WorkspacePath("gone"), WorkspacePath("x" * 300)
    tree = {path: file(b"1") for path in (gone, untold)}
    memory = Memory(tmp_path / "data", "site", here)
    memory.keep({path: version_of(entry) for path, entry in tree.items()})
    with open_folder(here) as folder:
        local = await read_local(folder, Exclusions(), with_ignored=False)
        plan = local.plan(tree, memory, overwrite=False)
    assert (plan.write, plan.remove, plan.kept) == ([], [gone], [])
