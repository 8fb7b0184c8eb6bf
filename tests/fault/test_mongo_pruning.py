"""Servers that prune a MongoDB database while others read, commit and put: what is kept stays whole for all of them."""

from __future__ import annotations

import pytest

from tests import mongod
from tests.contract.stores import Clock, append, blob, digest_of, file, make_workspace, path, streamed, write
from tests.mongowire import Cut, Hold, Rule, Wire, asleep
from vaporform_mcp.errors import Conflict
from vaporform_mcp.stores.base import Adopted, Store
from vaporform_mcp.stores.mongo import MongoStore, open_mongo
from vaporform_mcp.types import Change, Entry, Revision, TreeCount

pytestmark = pytest.mark.skipif(mongod.is_given, reason="the way to that server may have a login and TLS")

HOUR_S = 3600.0
GRACE_S = 60.0


async def test_what_was_removed_stays_so_for_a_server_that_remembers_the_tree_from_before_a_prune(
    sleeper: MongoStore, other: Store
) -> None:
    workspace = await make_workspace(other)
    await write(other, workspace, {"gone.txt": b"1", "kept.txt": b"1"})
    assert len(await sleeper.tree(workspace)) == 2
    await write(other, workspace, {"gone.txt": None})
    await write(other, workspace, {"kept.txt": b"3"})
    await other.prune(workspace, keep_after=2, grace_s=GRACE_S)
    assert await sleeper.tree(workspace) == {"kept.txt": file(b"3")}
    assert (await append(sleeper, workspace, {"kept.txt": file(b"3", mode=0o755)})).number == 4
    assert await sleeper.count(workspace) == TreeCount(files=1, size_bytes=1)


async def test_what_was_removed_stays_so_when_a_tree_from_before_was_folded_and_its_history_pruned(
    sleeper: MongoStore, other: Store
) -> None:
    workspace = await make_workspace(other)
    await other.put_blobs([blob(b"1")])
    names = [f"{number}.txt" for number in range(300)]
    await append(other, workspace, dict.fromkeys(names, file(b"1")))
    await append(other, workspace, dict.fromkeys(names[1:]))  # so much that the tree is folded
    await append(other, workspace, {names[0]: None, "kept.txt": file(b"1")})
    await append(other, workspace, {"kept.txt": file(b"1", mode=0o755)})
    await other.prune(workspace, keep_after=3, grace_s=GRACE_S)
    assert await sleeper.tree(workspace) == {"kept.txt": file(b"1", mode=0o755)}
    assert await sleeper.entries(workspace, [path(names[0])], 4) == {}


async def large_history(store: Store) -> tuple[str, dict[str, Entry]]:
    """A workspace whose first revision does not fit into one document, and the tree of its newest."""
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"1"), blob(b"2"), blob(b"3")])
    entries = {f"src/{number}.py": file(b"1") for number in range(400)}
    await append(store, workspace, entries)
    await append(store, workspace, {"src/0.py": file(b"2")})
    await append(store, workspace, {"src/1.py": file(b"3")})
    return workspace, {**entries, "src/0.py": file(b"2"), "src/1.py": file(b"3")}


@pytest.mark.parametrize("place", range(6))
async def test_a_reader_that_slept_while_another_pruned_reads_the_whole_tree(
    wire: Wire, sleeper: MongoStore, other: Store, place: int
) -> None:
    workspace, tree = await large_history(other)
    read: list[object] = []

    async def work() -> None:
        read.append(await sleeper.tree(workspace))

    async def meanwhile() -> None:
        await other.prune(workspace, keep_after=2, grace_s=GRACE_S)

    assert await asleep(wire, Rule(act=Hold(), skip=place, times=1), work, meanwhile) is None
    assert read == [tree]
    read.clear()
    await work()
    assert read == [tree]


@pytest.mark.parametrize(
    ("command", "collection", "skip"), [("insert", "changes", 0), *(("update", "revisions", n) for n in (0, 1))]
)
async def test_a_prune_that_slept_while_another_removed_left_overs_keeps_what_it_takes_over(
    wire: Wire,
    sleeper: MongoStore,
    other: Store,
    clock: Clock,
    database: str,
    command: str,
    collection: str,
    skip: int,
) -> None:
    workspace, tree = await large_history(other)

    async def work() -> None:
        await sleeper.prune(workspace, keep_after=2, grace_s=HOUR_S * 9)

    async def meanwhile() -> None:
        clock.now += HOUR_S * 2
        await other.prune(workspace, keep_after=0, grace_s=GRACE_S)

    rule = Rule(act=Hold(), command=command, collection=collection, skip=skip, times=1)
    if await asleep(wire, rule, work, meanwhile) is not None:  # told that it is to be repeated
        assert await other.tree(workspace, 2) == {**tree, "src/1.py": file(b"1")}
        await work()
    async with open_mongo(mongod.shared.uri(), database) as fresh:
        assert await fresh.tree(workspace) == tree
    assert [revision.number for revision in await other.log(workspace)] == [3]


async def test_an_append_that_slept_is_not_confirmed_by_another_that_slept_as_long(
    wire: Wire, sleeper: MongoStore, other: Store, database: str
) -> None:
    workspace = await make_workspace(other)
    await write(other, workspace, {"a.txt": b"1"}, label="kept")
    await other.put_blobs([blob(b"stale"), blob(b"late")])
    async with open_mongo(mongod.shared.uri(), database) as third:
        assert len(await third.tree(workspace)) == len(await sleeper.tree(workspace)) == 1

        async def work() -> None:
            await append(sleeper, workspace, {"stale.txt": file(b"stale")}, parent=1)

        for number in range(2, 6):
            await write(other, workspace, {"a.txt": b"%d" % number})
        await other.prune(workspace, keep_after=4, grace_s=GRACE_S)

        async def meanwhile() -> None:
            with pytest.raises(Conflict):
                await append(third, workspace, {"late.txt": file(b"late")}, parent=1)

        rule = Rule(act=Hold(), command="find", collection="workspaces", times=1)
        assert isinstance(await asleep(wire, rule, work, meanwhile), Conflict)
        assert await third.tree(workspace) == await other.tree(workspace) == {"a.txt": file(b"5")}


async def test_a_history_that_is_adopted_follows_the_head_also_where_a_prune_took_what_was_in_the_way(
    sleeper: MongoStore, other: Store
) -> None:
    workspace = await make_workspace(other)
    await write(other, workspace, {"a.txt": b"1"}, label="kept")
    assert len(await sleeper.tree(workspace)) == 1
    await write(other, workspace, {"b.txt": b"2"})
    await write(other, workspace, {"c.txt": b"3"})
    await other.prune(workspace, keep_after=2, grace_s=GRACE_S)
    eight = Revision(number=8, id="eight", epoch=0, time=1.0, made_by="git", label=None, added=1, changed=0, removed=0)
    change = Change(path=path("adopted.txt"), entry=file(b"1"))
    await sleeper.adopt(workspace, [Adopted(revision=eight, changes=[change])])
    assert await sleeper.tree(workspace) == await other.tree(workspace)
    assert await sleeper.count(workspace) == TreeCount(files=4, size_bytes=4)


@pytest.mark.parametrize(
    ("command", "collection"),
    [("insert", "blobs.files"), ("insert", "blobs.chunks"), ("aggregate", "blobs.chunks"), ("update", "blobs.files")],
)
async def test_a_stream_that_slept_while_another_pruned_is_whole_or_not_there(
    wire: Wire, sleeper: MongoStore, other: Store, clock: Clock, command: str, collection: str
) -> None:
    workspace = await make_workspace(sleeper)
    content = bytes(range(256)) * 3000
    digest = digest_of(content)

    async def work() -> None:
        await sleeper.put_large_blob(digest, len(content), streamed(content, 100_000), "text/plain")

    async def meanwhile() -> None:
        clock.now += HOUR_S * 2
        await other.prune(workspace, keep_after=0, grace_s=GRACE_S)

    await asleep(wire, Rule(act=Hold(), command=command, collection=collection, times=1), work, meanwhile)
    if not await other.missing([digest]):
        assert await other.get_blobs([digest]) == {digest: content}
    await work()
    assert await other.get_blobs([digest]) == {digest: content}


async def test_a_small_file_whose_writer_slept_and_was_killed_counts_as_missing_from_the_next_prune_on(
    wire: Wire, sleeper: MongoStore, other: Store, clock: Clock
) -> None:
    workspace = await make_workspace(sleeper)
    await write(other, workspace, {"kept.txt": b"kept", "empty.txt": b""})
    content = b"put by who never woke for long"

    async def meanwhile() -> None:
        clock.now += HOUR_S * 2
        await other.prune(workspace, keep_after=0, grace_s=GRACE_S)
        wire.add(Rule(act=Cut()))  # what follows never comes

    async def work() -> None:
        await sleeper.put_blobs([blob(content)])

    rule = Rule(act=Hold(), command="insert", collection="blobs.files", times=1)
    assert await asleep(wire, rule, work, meanwhile) is not None
    await other.prune(workspace, keep_after=0, grace_s=HOUR_S * 24)
    assert await other.missing([digest_of(content), digest_of(b"kept"), digest_of(b"")]) == {digest_of(content)}
    await other.put_blobs([blob(content)])
    assert await other.get_blobs([digest_of(content)]) == {digest_of(content): content}
    assert not (await other.verify()).corrupt
