"""MongoDB's wire: whatever breaks, refuses or dawdles on the way, the call says so and how to mend it, and nothing is
half there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest

from tests import mongod
from tests.contract.stores import append, blob, digest_of, file, make_workspace, record, streamed, write
from tests.mongowire import Cut, Lose, Refuse, Rule, Slow, Wire
from vaporform_mcp.errors import InvalidArgument, NotFound, StoreUnavailable
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.mongo import MongoStore, open_mongo
from vaporform_mcp.types import Digest

pytestmark = pytest.mark.skipif(mongod.is_given, reason="the way to that server may have a login and TLS")


@pytest.fixture
async def store(wire: Wire, database: str) -> AsyncIterator[MongoStore]:
    """A store whose every command goes over the wire; its database is ready."""
    async with open_mongo(wire.uri, database) as opened:
        await opened.list_workspaces("ada")
        yield opened


@pytest.fixture
async def witness(database: str) -> AsyncIterator[Store]:
    """Another server's store of the same database, with a way of its own."""
    async with open_mongo(mongod.shared.uri(), database) as opened:
        yield opened


REFUSALS = [
    (Refuse(code=10107, text="not primary"), "no primary", "rs.status"),
    (Refuse(code=189, text="primary stepped down"), "no primary", "rs.status"),
    (Refuse(code=18, text="Authentication failed."), "user or the password", "VAPORFORM_MONGO__URI"),
    (Refuse(code=8000, text="bad auth : authentication failed"), "user or the password", "VAPORFORM_MONGO__URI"),
    (Refuse(code=13, text="not authorized on x to execute command"), "may not do that", "readWrite"),
    (Refuse(code=8000, text="you are over your space quota, using 513 MB of 512 MB"), "no space left", "Free space"),
    (Refuse(code=14031, text="No space left on device"), "no space left", "Free space"),
    (Refuse(code=20, text="the database is in read-only mode"), "read-only", "maintenance"),
    (Refuse(code=50, text="operation exceeded time limit"), "in time", "load"),
    (Refuse(code=99999, text="something that is not known yet"), "99999", "log"),
]


@pytest.mark.parametrize(("refusal", "said", "mend"), REFUSALS, ids=lambda value: getattr(value, "text", None))
async def test_a_refusal_is_told_with_its_mend_and_changes_nothing(
    wire: Wire, store: MongoStore, refusal: Refuse, said: str, mend: str
) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a.txt": b"kept"})
    rule = wire.add(Rule(act=refusal))
    with pytest.raises(StoreUnavailable, match=said) as refused:
        await store.put_blobs([blob(b"refused")])
    assert mend in refused.value.hint
    assert "127.0.0.1" not in f"{refused.value.message} {refused.value.hint}"
    # The driver may have learnt from the first that there is no primary to ask.
    with pytest.raises(StoreUnavailable, match=f"{said}|cannot be reached"):
        await append(store, workspace, {"a.txt": None}, parent=1)
    with pytest.raises(StoreUnavailable, match=f"{said}|cannot be reached"):
        await store.tree(workspace)
    rule.times = 0
    await reached_again(store, workspace)
    assert await store.tree(workspace) == {"a.txt": file(b"kept")}
    assert (await write(store, workspace, {"b.txt": b"goes on"})).number == 2


@pytest.mark.parametrize("code", [14031, 13])
async def test_a_write_that_is_refused_in_a_batch_is_told_too(wire: Wire, store: MongoStore, code: int) -> None:
    wire.add(Rule(act=Refuse(code=code, is_write=True), command="insert", times=1))
    with pytest.raises(StoreUnavailable):
        await store.put_blobs([blob(b"1"), blob(b"2")])
    assert len(await store.missing([digest_of(b"1"), digest_of(b"2")])) == 2


EVERY = [pytest.param(place, marks=() if place in {1, 2, 4} else pytest.mark.long) for place in range(8)]


@pytest.mark.parametrize("act", [Cut(), Lose()], ids=["before", "after"])
@pytest.mark.parametrize("place", EVERY)
async def test_a_connection_that_breaks_at_any_command_of_a_write_leaves_it_whole_or_not_there(
    wire: Wire, store: MongoStore, witness: Store, place: int, act: Cut | Lose
) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a.txt": b"first"})
    # Twice, since the driver tries a command that it may repeat once more by itself.
    wire.add(Rule(act=act, skip=place, times=2))
    try:
        await store.put_blobs([blob(b"second")])
        await append(store, workspace, {"a.txt": file(b"second")}, parent=1, revision_id="r-second")
    except StoreUnavailable:
        committed = (await witness.head(workspace)).number == 2
        assert await witness.tree(workspace) == {"a.txt": file(b"second" if committed else b"first")}
    wire.rules.clear()
    await store.put_blobs([blob(b"second")])
    repeated = await append(store, workspace, {"a.txt": file(b"second")}, parent=1, revision_id="r-second")
    assert repeated.number == 2
    assert await witness.tree(workspace) == {"a.txt": file(b"second")}
    assert not (await witness.verify()).missing


async def test_a_connection_that_breaks_between_blobs_and_revision_leaves_blobs_that_nobody_names(
    wire: Wire, store: MongoStore, witness: Store
) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"1")])
    wire.add(Rule(act=Cut(), command="insert", collection="revisions"))
    with pytest.raises(StoreUnavailable):
        await append(store, workspace, {"a.txt": file(b"1")}, parent=0)
    assert await witness.tree(workspace) == {}
    assert await witness.missing([digest_of(b"1")]) == frozenset()


async def test_what_a_writer_that_died_left_half_committed_blocks_nobody(
    wire: Wire, store: MongoStore, witness: Store
) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"1"), blob(b"2")])
    wire.add(Rule(act=Cut(), command="update", collection="revisions"))
    with pytest.raises(StoreUnavailable):
        await append(store, workspace, {"a.txt": file(b"1")}, parent=0, revision_id="half")
    assert (await witness.head(workspace)).number == 0
    assert list(await witness.log(workspace)) == []
    with pytest.raises(Exception, match="is at revision 1, not 0"):
        await append(witness, workspace, {"b.txt": file(b"2")}, parent=0)
    made = await append(witness, workspace, {"b.txt": file(b"2")})
    assert made.number == 2
    assert await witness.tree(workspace) == {"a.txt": file(b"1"), "b.txt": file(b"2")}


@pytest.mark.parametrize("place", EVERY)
async def test_a_put_that_breaks_anywhere_is_repeated_to_its_end(
    wire: Wire, store: MongoStore, witness: Store, place: int
) -> None:
    contents = [b"small", b"", bytes(600_000)]
    wire.add(Rule(act=Lose(), skip=place, times=2))
    try:
        await store.put_blobs([blob(content) for content in contents])
    except StoreUnavailable:
        held = {digest_of(content) for content in contents} - await witness.missing(digests_of(contents))
        assert set(await witness.get_blobs(held)) == held
    wire.rules.clear()
    await store.put_blobs([blob(content) for content in contents])
    assert await witness.get_blobs(digests_of(contents)) == {digest_of(content): content for content in contents}


@pytest.mark.parametrize("place", EVERY)
async def test_a_stream_that_breaks_anywhere_is_not_kept_and_is_repeated_to_its_end(
    wire: Wire, store: MongoStore, witness: Store, place: int
) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(300_000))
    digest = digest_of(content)
    wire.add(Rule(act=Cut(), skip=place, times=2))
    try:
        await store.put_large_blob(digest, len(content), streamed(content, 100_000), "text/plain")
    except StoreUnavailable:
        if not await witness.missing([digest]):
            assert await witness.get_blobs([digest]) == {digest: content}
    wire.rules.clear()
    await store.put_large_blob(digest, len(content), streamed(content, 100_000), "text/plain")
    assert await witness.get_blobs([digest]) == {digest: content}


async def test_a_store_that_takes_a_while_for_each_command_is_waited_for(wire: Wire, store: MongoStore) -> None:
    workspace = await make_workspace(store)
    wire.add(Rule(act=Slow(seconds=0.3)))
    assert (await write(store, workspace, {"a.txt": b"1"})).number == 1


@pytest.mark.long
async def test_a_store_that_takes_two_seconds_for_each_command_is_waited_for(wire: Wire, store: MongoStore) -> None:
    workspace = await make_workspace(store)
    wire.add(Rule(act=Slow(seconds=2.0)))
    assert (await write(store, workspace, {"a.txt": b"1"})).number == 1


async def test_a_server_that_says_nothing_any_more_costs_a_bounded_wait(wire: Wire, store: MongoStore) -> None:
    wire.add(Rule(act=Slow(seconds=60.0)))
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="in time"):
        await store.head(await make_workspace(store))
    assert time.monotonic() - began < 50


async def test_a_server_that_is_down_costs_little_and_is_found_again(wire: Wire, store: MongoStore) -> None:
    workspace = await make_workspace(store)
    await wire.stop()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"cannot be reached|broke"):
        await store.head(workspace)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await store.head(workspace)
    assert time.monotonic() - began < 6
    await wire.start()
    await reached_again(store, workspace)


@pytest.mark.parametrize("is_silent", [False, True])
async def test_a_server_that_was_never_reached_costs_one_call_a_short_wait_and_is_found_when_it_answers(
    wire: Wire, database: str, is_silent: bool
) -> None:
    if is_silent:
        wire.freeze()
    else:
        await wire.stop()
    async with open_mongo(wire.uri, database) as store:
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await store.list_workspaces("ada")
        assert time.monotonic() - began < 20  # what looking for it each time would cost
        if is_silent:
            wire.thaw()
        else:
            await wire.start()
        with anyio.fail_after(60):
            while True:
                try:
                    assert await store.list_workspaces("ada") == []
                    break
                except StoreUnavailable:
                    await anyio.sleep(0.05)


async def test_a_server_that_falls_silent_costs_one_write_a_short_wait(wire: Wire, store: MongoStore) -> None:
    workspace = await make_workspace(store)
    wire.freeze()
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(StoreUnavailable, match="in time"):
            await store.put_blobs([blob(b"1")])
    with pytest.raises(StoreUnavailable, match="in time"):
        await store.head(workspace)
    assert time.monotonic() - began < 9  # one command is waited for ten seconds
    wire.thaw()
    await reached_again(store, workspace)


async def test_options_that_the_driver_would_pass_over_are_named_without_their_values(
    wire: Wire, database: str
) -> None:
    for uri, named in (
        ("retryWrite=true&w=majority", "retryWrite"),
        ("maxPoolSize=many&appName=me&tls=maybe", "maxPoolSize, tls"),
        ("authMechanismProperties=SECRET:hidden", "authMechanismProperties"),
    ):
        with pytest.raises(InvalidArgument, match=f": {named}$") as told:
            async with open_mongo(f"{wire.uri}&{uri}", database):
                pass
        assert "hidden" not in f"{told.value.message} {told.value.hint}"
    async with open_mongo(f"{wire.uri}&retryWrites=true&w=majority&readPreference=nearest", database) as store:
        assert await store.list_workspaces("ada") == []


async def test_a_server_that_was_never_there_is_told(database: str) -> None:
    async with open_mongo("mongodb://ada:secret@127.0.0.1:1/", database) as nowhere:
        with pytest.raises(StoreUnavailable, match="cannot be reached") as told:
            await nowhere.list_workspaces("ada")
    assert "VAPORFORM_MONGO__URI" in told.value.hint
    assert "secret" not in f"{told.value.message} {told.value.hint}"


@pytest.mark.parametrize(
    "uri", ["mongodb://a:b@c@d/", "mongodb://host:notaport/", "mongodb://a:b@host/?tls=true&tlsCAFile=/not/there"]
)
async def test_a_uri_that_cannot_be_used_is_told_without_it(uri: str) -> None:
    with pytest.raises(StoreUnavailable, match="URI cannot be used") as told:
        async with open_mongo(uri, "x") as store:
            await store.list_workspaces("ada")
    assert uri not in f"{told.value.message} {told.value.hint}"


async def test_what_is_kept_is_not_logged_however_much_is(store: MongoStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    workspace = await make_workspace(store)
    await write(store, workspace, {"secret-name.txt": b"1"})
    assert await store.tree(workspace) == {"secret-name.txt": file(b"1")}
    assert "secret-name" not in caplog.text


async def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(database: str) -> None:
    collection = mongod.client()[database]["vaporform"]
    collection.insert_one({"_id": "store", "schema": 9999})
    async with open_mongo(mongod.shared.uri(), database) as store:
        with pytest.raises(StoreUnavailable, match="newer vaporform-mcp") as told:
            await store.create_workspace(record("site"))
    assert "Upgrade" in told.value.hint
    assert mongod.client()[database].list_collection_names() == ["vaporform"]


@pytest.mark.parametrize("schema", [None, "1", 0])
async def test_a_database_that_does_not_tell_its_version_is_refused(database: str, schema: object) -> None:
    mongod.client()[database]["vaporform"].insert_one({"_id": "store", "schema": schema})
    async with open_mongo(mongod.shared.uri(), database) as store:
        with pytest.raises(StoreUnavailable, match="does not say which version"):
            await store.list_workspaces("ada")


async def test_a_database_of_another_program_is_refused_and_left_as_it_is(database: str) -> None:
    mongod.client()[database]["workspaces"].insert_one({"theirs": True})
    async with open_mongo(mongod.shared.uri(), database) as store:
        with pytest.raises(StoreUnavailable, match="another program") as told:
            await store.create_workspace(record("site"))
    assert "VAPORFORM_MONGO__DATABASE" in told.value.hint
    assert mongod.client()[database]["workspaces"].count_documents({}) == 1


async def test_many_servers_make_a_new_database_at_once(database: str) -> None:
    made: list[str] = []

    async def begin(number: int) -> None:
        async with open_mongo(mongod.shared.uri(), database) as store:
            made.append((await store.create_workspace(record(f"site-{number}"))).name)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(begin, number)
    assert len(made) == 3


async def test_two_servers_that_put_the_same_blobs_at_once_keep_each_once(database: str) -> None:
    contents = [b"%d" % number for number in range(60)]
    async with open_mongo(mongod.shared.uri(), database) as one, open_mongo(mongod.shared.uri(), database) as two:
        for opened in (one, two):
            await opened.list_workspaces("ada")
        async with anyio.create_task_group() as group:
            for opened in (one, two, one, two):
                group.start_soon(opened.put_blobs, [blob(content) for content in contents])
        assert await two.get_blobs(digests_of(contents)) == {digest_of(content): content for content in contents}
    files = mongod.client()[database]
    assert (files["blobs.files"].count_documents({}), files["blobs.chunks"].count_documents({})) == (60, 60)


async def test_half_a_blob_is_none_and_putting_it_again_completes_it(wire: Wire, store: MongoStore) -> None:
    wire.add(Rule(act=Refuse(code=14031), command="insert", collection="blobs.files"))
    content = bytes(600_000)
    with pytest.raises(StoreUnavailable):
        await store.put_blobs([blob(content)])
    wire.rules.clear()
    assert await store.missing([digest_of(content)]) == {digest_of(content)}
    assert await store.get_blobs([digest_of(content)]) == {}
    with pytest.raises(NotFound):
        _ = [chunk async for chunk in store.stream_blob(digest_of(content))]
    await store.put_blobs([blob(content)])
    assert await store.get_blobs([digest_of(content)]) == {digest_of(content): content}


async def test_a_blob_that_somebody_changed_is_told_never_given_and_mended_by_putting_it_again(
    store: MongoStore, database: str
) -> None:
    workspace = await make_workspace(store)
    contents = [b"good", b"evil", bytes(600_000)]
    await write(store, workspace, {f"{number}.txt": content for number, content in enumerate(contents)})
    chunks = mongod.client()[database]["blobs.chunks"]
    chunks.update_one({"files_id": digest_of(b"evil")}, {"$set": {"data": b"live"}})
    chunks.delete_one({"files_id": digest_of(contents[2]), "n": 1})
    chunks.insert_one({"files_id": digest_of(b"good"), "n": 1, "data": b"!", "put_at": 0.0})
    assert await store.get_blobs(digests_of(contents)) == {}
    report = await store.verify(workspace)
    assert sorted(report.corrupt) == sorted(digests_of(contents))
    assert await store.missing(digests_of(contents)) == set(digests_of(contents))
    await store.put_blobs([blob(content) for content in contents])
    assert await store.get_blobs(digests_of(contents)) == {digest_of(content): content for content in contents}
    assert not (await store.verify(workspace)).corrupt


async def test_commands_of_a_write_and_of_a_sync_of_ten_changes_are_few(wire: Wire, store: MongoStore) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {f"{number}.txt": b"%d" % number for number in range(200)})
    tree = await store.tree(workspace)
    wire.commands.clear()
    assert (await store.head(workspace)).number == 1
    contents = [b"new %d" % number for number in range(10)]
    assert await store.missing(digests_of(contents)) == set(digests_of(contents))
    await store.put_blobs([blob(content) for content in contents])
    entries = {f"{number}.txt": file(content) for number, content in enumerate(contents)}
    await append(store, workspace, entries, parent=1)
    assert wire.count <= 10
    assert len(await store.tree(workspace)) == len(tree)
    wire.commands.clear()
    await store.put_blobs([blob(b"one file")])
    await append(store, workspace, {"0.txt": replace(file(b"one file"), mode=0o755)}, parent=2)
    assert wire.count <= 7


async def reached_again(store: Store, workspace: str) -> None:
    """The driver looks for the server by itself; the bound is for a hang."""
    with anyio.fail_after(30):
        while True:
            try:
                await store.head(workspace)
            except StoreUnavailable:
                continue
            return


def digests_of(contents: list[bytes]) -> list[Digest]:
    return [digest_of(content) for content in contents]
