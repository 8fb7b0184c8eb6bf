"""Servers that sleep between any two of their commands, as on a laptop whose lid was closed, while others go on."""

from __future__ import annotations

import pytest

from tests import mongod
from tests.contract.stores import Clock, append, blob, digest_of, file, make_workspace, path, streamed, write
from tests.mongowire import Cut, Hold, Refuse, Rule, Wire, asleep
from vaporform_mcp.errors import Conflict, NotFound, StoreUnavailable, VaporformError
from vaporform_mcp.stores.base import Adopted, Store
from vaporform_mcp.stores.mongo import MongoStore
from vaporform_mcp.types import Change, Revision

pytestmark = pytest.mark.skipif(mongod.is_given, reason="the way to that server may have a login and TLS")

HOUR_S = 3600.0
GRACE_S = 60.0


@pytest.mark.parametrize("place", range(6))
async def test_a_writer_that_slept_while_another_pruned_acknowledges_nothing_whose_content_is_gone(
    wire: Wire, sleeper: MongoStore, other: Store, clock: Clock, place: int
) -> None:
    workspace = await make_workspace(sleeper)
    await write(sleeper, workspace, {"a.txt": b"first"})
    await sleeper.put_blobs([blob(b"second")])

    async def work() -> None:
        await append(sleeper, workspace, {"a.txt": file(b"second")}, parent=1, revision_id="second")

    async def meanwhile() -> None:
        clock.now += HOUR_S
        await other.prune(workspace, keep_after=0, grace_s=GRACE_S)

    failure = await asleep(wire, Rule(act=Hold(), skip=place, times=1), work, meanwhile)
    assert not (await other.verify()).missing
    if failure is None:
        assert await other.tree(workspace) == {"a.txt": file(b"second")}
    else:
        assert isinstance(failure, NotFound)
        assert "a.txt" in failure.message
        assert await other.tree(workspace) == {"a.txt": file(b"first")}
        await sleeper.put_blobs([blob(b"second")])
        await work()
    assert await other.get_blobs([digest_of(b"second")]) == {digest_of(b"second"): b"second"}


@pytest.mark.parametrize("place", [*(pytest.param(n, marks=pytest.mark.long) for n in range(20)), *range(20, 31)])
async def test_a_prune_that_slept_takes_nothing_that_a_writer_has_named_meanwhile(
    wire: Wire, sleeper: MongoStore, other: Store, clock: Clock, place: int
) -> None:
    workspace = await make_workspace(other)
    await write(other, workspace, {"a.txt": b"first"})
    await other.put_blobs([blob(b"old"), blob(b"older")])
    clock.now += HOUR_S * 2

    async def work() -> None:
        await sleeper.prune(workspace, keep_after=0, grace_s=GRACE_S)

    async def meanwhile() -> None:
        for content in (b"old", b"older"):
            if await other.missing([digest_of(content)]):
                await other.put_blobs([blob(content)])
        await append(other, workspace, {"old.txt": file(b"old"), "older.txt": file(b"older")})

    assert await asleep(wire, Rule(act=Hold(), skip=place, times=1), work, meanwhile) is None
    report = await other.verify()
    assert (report.missing, report.corrupt) == ([], [])
    assert len(await other.get_blobs([digest_of(b"old"), digest_of(b"older")])) == 2
    clock.now += HOUR_S * 2
    await other.prune(workspace, keep_after=0, grace_s=GRACE_S)
    assert len(await other.get_blobs([digest_of(b"old"), digest_of(b"older")])) == 2


@pytest.mark.parametrize(("place", "is_again"), [(0, False), (1, False), *((place, True) for place in range(5))])
async def test_a_put_that_slept_while_another_pruned_is_whole_when_it_returns(
    wire: Wire, sleeper: MongoStore, other: Store, clock: Clock, place: int, is_again: bool
) -> None:
    workspace = await make_workspace(sleeper)
    contents = [b"small", bytes(600_000)]
    if is_again:  # what a put that died has left is in the way of the next
        wire.add(Rule(act=Refuse(code=14031), command="insert", collection="blobs.files"))
        with pytest.raises(StoreUnavailable):
            await sleeper.put_blobs([blob(content) for content in contents])
        wire.rules.clear()

    async def work() -> None:
        await sleeper.put_blobs([blob(content) for content in contents])

    async def meanwhile() -> None:
        clock.now += HOUR_S * 2
        await other.prune(workspace, keep_after=0, grace_s=GRACE_S)

    assert await asleep(wire, Rule(act=Hold(), skip=place, times=1), work, meanwhile) is None
    held = [digest_of(content) for content in contents]
    assert await other.get_blobs(held) == dict(zip(held, contents, strict=True))


async def test_what_puts_that_died_have_left_goes_with_a_later_prune(
    wire: Wire, sleeper: MongoStore, other: Store, clock: Clock, database: str
) -> None:
    workspace = await make_workspace(sleeper)
    content = bytes(range(256)) * 4000
    wire.add(Rule(act=Refuse(code=14031), command="insert", collection="blobs.files"))
    with pytest.raises(StoreUnavailable):
        await sleeper.put_blobs([blob(content)])
    wire.rules.clear()
    wire.add(Rule(act=Cut(), command="update", collection="blobs.chunks"))
    wire.add(Rule(act=Cut(), command="delete", collection="blobs.chunks"))
    with pytest.raises(StoreUnavailable):
        await sleeper.put_large_blob(digest_of(b"x" * 9), 9, streamed(b"x" * 9, 3), "text/plain")
    chunks = mongod.client()[database]["blobs.chunks"]
    assert chunks.count_documents({}) == 4 + 1
    await other.prune(workspace, keep_after=0, grace_s=GRACE_S)
    assert chunks.count_documents({}) == 4 + 1  # they may still be growing
    clock.now += HOUR_S + 1
    await other.prune(workspace, keep_after=0, grace_s=GRACE_S)
    assert chunks.count_documents({}) == 0
    assert mongod.client()[database]["blobs.files"].count_documents({}) == 0


async def test_an_append_that_slept_while_others_went_on_and_pruned_is_refused(
    wire: Wire, sleeper: MongoStore, other: Store, clock: Clock
) -> None:
    workspace = await make_workspace(sleeper)
    await write(sleeper, workspace, {"a.txt": b"1"})
    await sleeper.put_blobs([blob(b"stale")])

    async def meanwhile() -> None:
        for number in range(2, 6):
            await write(other, workspace, {"a.txt": b"%d" % number})
        await other.prune(workspace, keep_after=4, grace_s=GRACE_S)

    async def work() -> None:
        await append(sleeper, workspace, {"stale.txt": file(b"stale")}, parent=1)

    rule = Rule(act=Hold(), command="insert", collection="revisions", times=1)
    assert isinstance(await asleep(wire, rule, work, meanwhile), Conflict)
    assert [revision.number for revision in await other.log(workspace)] == [5]
    assert await other.tree(workspace) == {"a.txt": file(b"5")}
    assert await sleeper.tree(workspace) == {"a.txt": file(b"5")}


@pytest.mark.parametrize("command", ["insert", "find", "update"])
async def test_a_history_that_is_adopted_with_a_gap_and_an_append_exclude_each_other(
    wire: Wire, sleeper: MongoStore, other: Store, command: str
) -> None:
    workspace = await make_workspace(sleeper)
    await write(sleeper, workspace, {"a.txt": b"1"})
    await sleeper.put_blobs([blob(b"2"), blob(b"3")])
    gap = Revision(number=8, id="eight", epoch=0, time=1.0, made_by="git", label=None, added=1, changed=0, removed=0)
    adopted = Adopted(revision=gap, changes=[Change(path=path("adopted.txt"), entry=file(b"3"))])

    async def adopt() -> None:
        await other.adopt(workspace, [adopted])

    async def work() -> None:
        await append(sleeper, workspace, {"appended.txt": file(b"2")}, parent=1)

    failed: list[VaporformError] = []

    async def meanwhile() -> None:
        try:
            await adopt()
        except Conflict as error:
            failed.append(error)

    failure = await asleep(wire, Rule(act=Hold(), command=command, times=1), work, meanwhile)
    if failure is not None:
        assert isinstance(failure, Conflict)
        assert await other.tree(workspace) == {"a.txt": file(b"1"), "adopted.txt": file(b"3")}
        assert (await append(sleeper, workspace, {"appended.txt": file(b"2")})).number == 9
    tree = await other.tree(workspace)
    assert tree == await sleeper.tree(workspace)
    assert "appended.txt" in tree
    assert failed or "adopted.txt" in tree


async def test_a_large_revision_whose_writer_slept_before_its_commit_is_whole(
    wire: Wire, sleeper: MongoStore, other: Store, clock: Clock
) -> None:
    workspace = await make_workspace(sleeper)
    await sleeper.put_blobs([blob(b"same")])
    entries = {f"src/{number}.py": file(b"same") for number in range(400)}

    async def work() -> None:
        await sleeper.put_blobs([blob(b"same")])
        await append(sleeper, workspace, entries, parent=0)

    async def meanwhile() -> None:
        clock.now += HOUR_S * 2
        await other.missing([digest_of(b"same")])
        await other.prune(workspace, keep_after=0, grace_s=GRACE_S)

    rule = Rule(act=Hold(), command="insert", collection="revisions", times=1)
    assert await asleep(wire, rule, work, meanwhile) is None
    assert await other.tree(workspace) == entries


async def test_a_pending_revision_whose_content_was_pruned_is_taken_away_by_the_next_writer(
    wire: Wire, sleeper: MongoStore, other: Store, database: str
) -> None:
    workspace = await make_workspace(sleeper)
    await sleeper.put_blobs([blob(b"lost")])
    await other.put_blobs([blob(b"kept")])
    wire.add(Rule(act=Cut(), command="update", collection="revisions"))
    with pytest.raises(StoreUnavailable):
        await append(sleeper, workspace, {"lost.txt": file(b"lost")}, parent=0)
    mongod.client()[database]["blobs.files"].delete_one({"_id": digest_of(b"lost")})
    assert (await append(other, workspace, {"kept.txt": file(b"kept")}, parent=0)).number == 1
    assert await other.tree(workspace) == {"kept.txt": file(b"kept")}
