"""A pull replaces what it has compared, and nothing that was saved since."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.contract.stores import append, digest_of, file, record, streamed, write
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.transfer.exchange import Memory
from vaporform_mcp.transfer.folders import open_folder
from vaporform_mcp.transfer.pulling import pull

SMALL, LARGE = 9 * 1024 * 1024, 17 * 1024 * 1024
"""Two of the first do not go together, and one of the second goes as a stream."""


async def test_what_is_saved_while_a_pull_is_at_work_is_kept_and_named(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    async with open_sqlite(tmp_path / "store.sqlite3") as store:
        made = await store.create_workspace(record("site"))
        memory = Memory(tmp_path / "data", made.id, here)

        def save(done: int, _total: int) -> None:
            if done == 1:
                for name in "bc":
                    (here / name).write_bytes(b"saved meanwhile")

        async def pulled(*, overwrite: bool = False, at_work: bool = False) -> set[str]:
            tree = await store.tree(made.id)
            with open_folder(here, to_write=True) as folder:
                did = await pull(
                    store, tree, folder, memory, overwrite=overwrite, dry_run=False,
                    on_progress=save if at_work else None,
                )  # fmt: skip
            return {*did.problems, *(each.path for each in did.plan.kept)}

        await write(store, made.id, {"a": b"1", "b": b"1", "c": b"1"})
        assert await pulled() == set()
        large = b"3" * LARGE
        for name in "ab":
            await write(store, made.id, {name: b"2" * SMALL})
        await store.put_large_blob(digest_of(large), LARGE, streamed(large, 1_000_000), "x/y")
        await append(store, made.id, {"c": file(large)})
        assert await pulled(at_work=True) == {"b", "c"}
        assert (here / "a").stat().st_size == SMALL
        assert (here / "b").read_bytes() == (here / "c").read_bytes() == b"saved meanwhile"
        assert {path.name for path in here.iterdir()} == {"a", "b", "c"}
        # It is still known to be newer.
        assert await pulled() == {"b", "c"}
        assert await pulled(overwrite=True) == set()
        assert (here / "c").stat().st_size == LARGE


async def test_a_folder_that_was_removed_is_filled_again(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    async with open_sqlite(tmp_path / "store.sqlite3") as store:
        made = await store.create_workspace(record("site"))
        await write(store, made.id, {"a": b"1", "b/c": b"1"})
        tree = await store.tree(made.id)
        memory = Memory(tmp_path / "data", made.id, here)
        for _ in range(2):
            with open_folder(here, to_write=True) as folder:
                did = await pull(store, tree, folder, memory, overwrite=False, dry_run=False)
            assert (did.plan.kept, did.plan.write) == ([], ["a", "b/c"])
            assert (here / "b" / "c").read_bytes() == b"1"
            shutil.rmtree(here)
            dry = await pull(store, tree, None, memory, overwrite=False, dry_run=True)
            assert (dry.plan.kept, dry.plan.write) == ([], ["a", "b/c"])
            here.mkdir()
