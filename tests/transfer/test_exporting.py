"""Plain files that are written where a person works."""

from __future__ import annotations

from pathlib import Path

from tests.contract.stores import record, write
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.transfer.exchange import Memory
from vaporform_mcp.transfer.exporting import export_tree
from vaporform_mcp.transfer.folders import open_folder
from vaporform_mcp.transfer.pulling import pull

RUN_BY_GIT = {".git/hooks/pre-commit", ".git/config", "sub/.git", ".GIT/config", "a/git~1/config"}
KEPT = ".git/vaporform/state"


async def test_nothing_that_git_would_run_here_is_written(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    async with open_sqlite(tmp_path / "store.sqlite3") as store:
        made = await store.create_workspace(record("site"))
        await write(store, made.id, dict.fromkeys(("a/b", ".gitignore", *RUN_BY_GIT), b"1"))
        memory = Memory(tmp_path / "data", made.id, here)
        with open_folder(here, to_write=True) as folder:
            tree = await store.tree(made.id)
            pulled = await pull(store, tree, folder, memory, overwrite=True, dry_run=False)
            assert (pulled.plan.write, pulled.problems) == ([".gitignore", "a/b"], {})
            exported = await export_tree(store, tree, folder)
            assert set(exported) == RUN_BY_GIT
            assert sorted(path.name for path in here.iterdir()) == [".gitignore", "a"]
            # What the mirror keeps of a repository is handed out: git runs nothing of it.
            await write(store, made.id, {KEPT: b"origin x\n"})
            assert set(await export_tree(store, await store.tree(made.id), folder)) == set(exported)
            assert (here / KEPT).read_bytes() == b"origin x\n"
