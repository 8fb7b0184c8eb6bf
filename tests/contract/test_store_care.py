"""Every store: pruning and verifying."""

from __future__ import annotations

import pytest

from tests.contract.stores import Clock, append, blob, digest_of, entry_of, file, make_workspace, path, streamed, write
from vaporform_mcp.errors import NotFound
from vaporform_mcp.stores.base import PruneReport, Store, VerifyReport

NOTHING = PruneReport(revisions=0, blobs=0, size_bytes=0)


async def history(store: Store) -> str:
    """Six revisions, the second with a label."""
    workspace = await make_workspace(store)
    await write(store, workspace, {"stays": b"s", "a": b"a1", "goes": b"g"})
    await write(store, workspace, {"a": b"a2"}, label="release")
    await write(store, workspace, {"a": b"a3", "goes": None})
    await write(store, workspace, {"a": b"a4", "brief": b"b"})
    await write(store, workspace, {"a": b"a5", "brief": None})
    await write(store, workspace, {"a": b"a6"})
    return workspace


async def test_pruning_drops_old_revisions_but_those_with_a_label(store: Store, clock: Clock) -> None:
    workspace = await history(store)
    trees = {number: await store.tree(workspace, number) for number in (2, 5, 6)}
    clock.now += 100
    pruned = await store.prune(workspace, keep_after=4, grace_s=10)
    gone = [b"a1", b"a3", b"a4", b"b"]
    assert pruned == PruneReport(revisions=3, blobs=len(gone), size_bytes=sum(map(len, gone)))
    assert [revision.number for revision in await store.log(workspace)] == [6, 5, 2]
    assert {number: await store.tree(workspace, number) for number in (2, 5, 6)} == trees
    assert await store.missing([digest_of(content) for content in gone]) == {digest_of(content) for content in gone}
    for number in (1, 3, 4):
        with pytest.raises(NotFound):
            await store.tree(workspace, number)
    assert await store.verify() == VerifyReport(blobs=5, size_bytes=8, missing=[], corrupt=[])


async def test_what_is_left_after_pruning_is_told_rightly(store: Store, clock: Clock) -> None:
    workspace = await history(store)
    clock.now += 100
    await store.prune(workspace, keep_after=4, grace_s=10)
    assert await entry_of(store, workspace, path("a")) == file(b"a6")
    assert (await store.count(workspace)).files == 2
    assert await store.last_entry(workspace, path("goes")) == (1, file(b"g"))
    assert await store.last_entry(workspace, path("brief")) is None
    assert (await store.labelled(workspace, "release")) == (await store.log(workspace))[-1]
    told = {change.path: change.entry for change in await store.changes(workspace, after=2, upto=5)}
    assert told == {"a": file(b"a5"), "goes": None, "brief": None}
    assert {change.path for change in await store.changes(workspace, after=5)} == {"a"}
    made = await write(store, workspace, {"brief": b"again", "goes": None})
    assert (made.number, made.added, made.removed) == (7, 1, 0)


async def test_changes_since_a_revision_that_was_pruned_are_not_found(store: Store) -> None:
    workspace = await history(store)
    await store.prune(workspace, keep_after=4, grace_s=10)
    with pytest.raises(NotFound):
        await store.changes(workspace, after=3)
    with pytest.raises(NotFound):
        await store.changes(workspace, after=0, upto=4)
    told = {change.path: change.entry for change in await store.changes(workspace, after=0)}
    assert {name: entry for name, entry in told.items() if entry} == await store.tree(workspace)


async def test_a_dry_run_tells_the_same_and_changes_nothing(store: Store, clock: Clock) -> None:
    workspace = await history(store)
    await store.put_blobs([blob(b"nobody names it")])
    clock.now += 100
    told = await store.prune(workspace, keep_after=4, grace_s=10, dry_run=True)
    assert len(await store.log(workspace)) == 6
    assert await store.tree(workspace, 3) == {"stays": file(b"s"), "a": file(b"a3")}
    assert await store.prune(workspace, keep_after=4, grace_s=10) == told
    assert (told.revisions, told.blobs) == (3, 5)


async def test_pruning_again_finds_nothing(store: Store, clock: Clock) -> None:
    workspace = await history(store)
    clock.now += 100
    await store.prune(workspace, keep_after=4, grace_s=10)
    assert await store.prune(workspace, keep_after=4, grace_s=10) == NOTHING
    assert await store.prune(workspace, keep_after=0, grace_s=10) == NOTHING


@pytest.mark.parametrize("keep_after", [6, 1000])
async def test_the_head_is_never_dropped(store: Store, keep_after: int) -> None:
    workspace = await history(store)
    head = await store.tree(workspace)
    await store.prune(workspace, keep_after=keep_after, grace_s=10)
    assert [revision.number for revision in await store.log(workspace)] == [6, 2]
    assert await store.tree(workspace) == head
    assert await store.tree(workspace, 6) == head
    assert (await write(store, workspace, {"next": b"n"})).number == 7


async def test_blobs_that_nobody_names_go_after_the_grace_and_not_before(store: Store, clock: Clock) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"loose")])
    await store.put_large_blob(digest_of(b"large"), 5, streamed(b"large", 2), "text/plain")
    clock.now += 9
    assert await store.prune(workspace, keep_after=0, grace_s=10) == NOTHING
    clock.now += 2
    assert (await store.prune(workspace, keep_after=0, grace_s=10)).blobs == 2
    assert len(await store.missing([digest_of(b"loose"), digest_of(b"large")])) == 2


async def test_asking_whether_a_blob_is_missing_or_putting_it_again_renews_it(store: Store, clock: Clock) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"asked"), blob(b"put"), blob(b"streamed"), blob(b"left")])
    clock.now += 9
    await store.missing([digest_of(b"asked")])
    await store.put_blobs([blob(b"put")])
    await store.put_large_blob(digest_of(b"streamed"), 8, streamed(b"streamed", 3), "text/plain")
    clock.now += 2
    pruned = await store.prune(workspace, keep_after=0, grace_s=10)
    assert pruned == PruneReport(revisions=0, blobs=1, size_bytes=4)
    await append(store, workspace, {"a": file(b"asked"), "b": file(b"put"), "c": file(b"streamed")})


async def test_what_another_workspace_names_stays(store: Store, clock: Clock) -> None:
    one, two = await make_workspace(store, "one"), await make_workspace(store, "two")
    await write(store, one, {"a": b"shared"})
    await write(store, one, {"a": b"newer"})
    await write(store, two, {"b": b"shared"})
    clock.now += 100
    assert await store.prune(one, keep_after=1, grace_s=10) == PruneReport(revisions=1, blobs=0, size_bytes=0)
    assert await store.get_blobs([digest_of(b"shared")]) == {digest_of(b"shared"): b"shared"}


@pytest.mark.many
async def test_a_long_history_is_thinned_out_whole(store: Store, clock: Clock) -> None:
    workspace = await make_workspace(store)
    for turn in range(5):
        await write(store, workspace, {f"f{number}": b"%d %d" % (turn, number) for number in range(1500)})
    clock.now += 100
    pruned = await store.prune(workspace, keep_after=4, grace_s=10)
    assert (pruned.revisions, pruned.blobs) == (4, 6000)
    assert len(await store.tree(workspace)) == 1500
    told: list[tuple[int, int]] = []
    assert (await store.verify(workspace, on_progress=lambda done, total: told.append((done, total)))).blobs == 1500
    assert told == sorted(told)
    assert told[-1] == (1500, 1500)


async def test_verifying_counts_each_blob_once_and_only_what_is_named(store: Store) -> None:
    one, two = await make_workspace(store, "one"), await make_workspace(store, "two")
    await write(store, one, {"a": b"1", "b": b"1", "empty": b""})
    await write(store, one, {"a": b"22"})
    await write(store, two, {"a": b"333"})
    await store.put_blobs([blob(b"nobody names it")])
    assert await store.verify(one) == VerifyReport(blobs=3, size_bytes=3, missing=[], corrupt=[])
    assert await store.verify() == VerifyReport(blobs=4, size_bytes=6, missing=[], corrupt=[])


async def test_closing_twice_is_fine(store: Store) -> None:
    await make_workspace(store)
    await store.aclose()
    await store.aclose()
