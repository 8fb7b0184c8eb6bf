"""Every store: revisions, trees and history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from tests.contract.stores import Clock, append, blob, entry_of, file, link, make_workspace, path, write
from vaporform_mcp.errors import Conflict, NotFound
from vaporform_mcp.stores.base import Adopted, Store
from vaporform_mcp.types import ROOT, Change, Head, Revision, TreeCount


async def test_a_new_workspace_is_empty(store: Store) -> None:
    workspace = await make_workspace(store)
    assert await store.head(workspace) == Head(number=0, epoch=0)
    assert await store.tree(workspace) == {}
    assert await store.tree(workspace, 0) == {}
    assert await store.count(workspace) == TreeCount(files=0, size_bytes=0)
    assert list(await store.log(workspace)) == []
    assert list(await store.changes(workspace, after=0)) == []


async def test_an_appended_file_is_at_the_head(store: Store, clock: Clock) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"hi"), blob(b"a.txt")])
    entries = {"a.txt": file(b"hi", mode=0o755), "deep/er/link": link(b"a.txt")}
    made = await append(store, workspace, entries, revision_id="r-first", epoch=1, label="start")
    assert made == Revision(
        number=1, id="r-first", epoch=1, time=clock.now, made_by="test", label="start", added=2, changed=0, removed=0
    )
    assert await store.head(workspace) == Head(number=1, epoch=1)
    assert await store.tree(workspace) == entries
    assert await entry_of(store, workspace, path("a.txt")) == entries["a.txt"]
    assert await entry_of(store, workspace, path("deep")) is None
    assert await store.count(workspace) == TreeCount(files=2, size_bytes=7)
    assert list(await store.log(workspace)) == [made]


async def test_counts_tell_what_a_revision_did(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"same": b"1", "grows": b"22", "goes": b"333"})
    made = await write(store, workspace, {"same": b"1", "grows": b"4444", "goes": None, "new": b"5", "never": None})
    assert (made.added, made.changed, made.removed) == (1, 1, 1)
    assert await store.count(workspace) == TreeCount(files=3, size_bytes=6)


async def test_a_change_that_changes_nothing_is_no_part_of_the_paths_history(store: Store) -> None:
    workspace = await make_workspace(store)
    first = await write(store, workspace, {"a": b"1"})
    await write(store, workspace, {"a": b"1", "b": b"2"})
    assert list(await store.log(workspace, path=path("a"))) == [first]


async def test_a_mode_alone_is_a_change(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"run.sh": b"#!"})
    made = await append(store, workspace, {"run.sh": file(b"#!", mode=0o755)})
    assert (made.added, made.changed, made.removed) == (0, 1, 0)
    assert await entry_of(store, workspace, path("run.sh")) == file(b"#!", mode=0o755)


async def test_a_revision_may_change_nothing(store: Store) -> None:
    workspace = await make_workspace(store)
    await append(store, workspace, {}, epoch=3, label="taken over")
    assert await store.head(workspace) == Head(number=1, epoch=3)
    assert await store.tree(workspace, 1) == {}


async def test_a_path_named_twice_becomes_what_was_said_last(store: Store) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"1"), blob(b"2")])
    twice = [Change(path=path("a"), entry=file(b"1")), Change(path=path("a"), entry=file(b"2"))]
    await store.append(workspace, parent=0, revision_id="r", epoch=0, changes=twice, made_by="test")
    assert await store.tree(workspace) == {"a": file(b"2")}


async def test_an_append_on_an_older_revision_is_refused(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1"})
    for parent in (0, 2):
        with pytest.raises(Conflict):
            await append(store, workspace, {"a": None}, parent=parent)
    assert await store.head(workspace) == Head(number=1, epoch=0)


async def test_a_sandbox_of_an_older_epoch_is_refused(store: Store) -> None:
    workspace = await make_workspace(store)
    await append(store, workspace, {}, epoch=2)
    with pytest.raises(Conflict):
        await append(store, workspace, {}, epoch=1)
    await append(store, workspace, {}, epoch=2)


async def test_repeating_an_append_answers_with_the_same_revision(store: Store) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"1")])
    first = await append(store, workspace, {"a": file(b"1")}, parent=0, revision_id="r-1")
    assert await append(store, workspace, {"a": file(b"1")}, parent=0, revision_id="r-1") == first
    await append(store, workspace, {"a": None}, epoch=7)
    assert await append(store, workspace, {"a": file(b"1")}, parent=0, revision_id="r-1") == first
    assert (await store.head(workspace)).number == 2


async def test_an_append_that_names_a_blob_not_kept_changes_nothing(store: Store) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"kept")])
    with pytest.raises(NotFound, match=r"lost\.txt"):
        await append(store, workspace, {"a.txt": file(b"kept"), "lost.txt": file(b"lost")})
    assert await store.head(workspace) == Head(number=0, epoch=0)
    assert await store.tree(workspace) == {}


async def test_every_revision_keeps_its_tree(store: Store) -> None:
    workspace = await make_workspace(store)
    steps: list[dict[str, bytes | None]] = [
        {"a": b"1", "b": b"1"},
        {"a": b"2"},
        {"b": None, "c": b"1"},
        {"a": b"1"},
        {"b": b"3", "c": None},
    ]
    now: dict[str, bytes] = {}
    trees = [dict(now)]
    for step in steps:
        await write(store, workspace, step)
        now = {name: content for name, content in {**now, **step}.items() if content is not None}
        trees.append(dict(now))
    for number, tree in enumerate(trees):
        assert await store.tree(workspace, number) == {name: file(content) for name, content in tree.items()}
    assert await store.tree(workspace) == await store.tree(workspace, len(steps))


async def test_a_revision_that_does_not_exist_is_not_found(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1"})
    for number in (2, -1):
        with pytest.raises(NotFound):
            await store.tree(workspace, number)
    with pytest.raises(NotFound):
        await store.changes(workspace, after=2)
    with pytest.raises(NotFound):
        await store.changes(workspace, after=0, upto=2)


UNKNOWN: list[Callable[[Store], Awaitable[object]]] = [
    lambda store: store.head("w-none"),
    lambda store: store.tree("w-none"),
    lambda store: entry_of(store, "w-none", path("a")),
    lambda store: store.count("w-none"),
    lambda store: store.changes("w-none", after=0),
    lambda store: store.last_entry("w-none", path("a")),
    lambda store: store.log("w-none"),
    lambda store: store.labelled("w-none", "x"),
    lambda store: store.prune("w-none", keep_after=1, grace_s=1),
    lambda store: store.verify("w-none"),
    lambda store: append(store, "w-none", {}, parent=0),
]


@pytest.mark.parametrize("ask", UNKNOWN)
async def test_an_unknown_workspace_is_not_found(store: Store, ask: Callable[[Store], Awaitable[object]]) -> None:
    with pytest.raises(NotFound):
        await ask(store)


async def test_changes_are_folded_to_one_per_path(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1", "b": b"1", "c": b"1"})
    await write(store, workspace, {"a": b"2", "b": None})
    await write(store, workspace, {"a": b"3", "d": b"1"})
    await write(store, workspace, {"d": None})

    async def told(after: int, upto: int | None = None) -> dict[str, object]:
        found = await store.changes(workspace, after=after, upto=upto)
        assert len({change.path for change in found}) == len(found)
        return {change.path: change.entry for change in found}

    assert await told(1) == {"a": file(b"3"), "b": None, "d": None}
    assert await told(1, 2) == {"a": file(b"2"), "b": None}
    assert await told(2, 3) == {"a": file(b"3"), "d": file(b"1")}
    assert await told(4) == {}
    assert await told(0) == {"a": file(b"3"), "b": None, "c": file(b"1"), "d": None}


async def test_the_last_entry_of_a_path_outlives_it(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1"})
    await write(store, workspace, {"a": b"2"})
    assert await store.last_entry(workspace, path("a")) == (2, file(b"2"))
    await write(store, workspace, {"a": None})
    assert await entry_of(store, workspace, path("a")) is None
    assert await store.last_entry(workspace, path("a")) == (2, file(b"2"))
    assert await store.last_entry(workspace, path("b")) is None


async def test_the_log_is_newest_first_and_comes_in_pages(store: Store) -> None:
    workspace = await make_workspace(store)
    made = [await write(store, workspace, {"a": b"%d" % number}) for number in range(5)]
    assert list(await store.log(workspace)) == made[::-1]
    assert list(await store.log(workspace, limit=2)) == [made[4], made[3]]
    assert list(await store.log(workspace, before=made[3].number, limit=2)) == [made[2], made[1]]
    assert list(await store.log(workspace, before=1)) == []


async def test_the_log_of_a_path_tells_of_it_and_of_what_lies_under_it(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"src": b"a file at first"})
    await write(store, workspace, {"src": None, "src/app.py": b"1"})
    await write(store, workspace, {"src-old/app.py": b"1", "src0": b"1", "other": b"1"})
    await write(store, workspace, {"src/deep/er.py": b"1"})
    await write(store, workspace, {"src/app.py": None})

    async def numbers(name: str) -> list[int]:
        return [revision.number for revision in await store.log(workspace, path=path(name))]

    assert await numbers("src") == [5, 4, 2, 1]
    assert await numbers("src/app.py") == [5, 2]
    assert await numbers("src/deep") == [4]
    assert await numbers("nothing") == []
    assert len(await store.log(workspace, path=ROOT)) == 5


async def test_a_label_means_the_newest_revision_that_bears_it(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1"}, label="works")
    await write(store, workspace, {"a": b"2"})
    newest = await write(store, workspace, {"a": b"3"}, label="works")
    await write(store, workspace, {"a": b"4"}, label="Works")
    assert await store.labelled(workspace, "works") == newest
    assert await store.labelled(workspace, "never") is None


@pytest.mark.parametrize(
    "name",
    [
        "ünï/cödé.txt",
        "日本語/ファイル",
        "with space",
        "100%",
        "under_score",
        "it's",
        'say "hi"',
        "-rf",
        "😀",
        "a\\b",
        "*?[x]",
    ],
)
async def test_any_name_is_kept_as_it_is(store: Store, name: str) -> None:
    workspace = await make_workspace(store)
    made = await write(store, workspace, {name: b"1", "decoy": b"2"})
    assert await entry_of(store, workspace, path(name)) == file(b"1")
    assert await store.tree(workspace) == {name: file(b"1"), "decoy": file(b"2")}
    await write(store, workspace, {"decoy": b"3"})
    assert list(await store.log(workspace, path=path(name))) == [made]


async def test_workspaces_do_not_see_each_other(store: Store) -> None:
    one, two = await make_workspace(store, "one"), await make_workspace(store, "two")
    await write(store, one, {"a": b"1"}, label="mine")
    await write(store, two, {"b": b"2"})
    await write(store, two, {"a": b"3"})
    assert await store.tree(one) == {"a": file(b"1")}
    assert await store.tree(two, 1) == {"b": file(b"2")}
    assert await store.labelled(two, "mine") is None
    assert len(await store.log(one)) == 1


async def test_of_many_that_append_on_one_revision_exactly_one_wins(store: Store) -> None:
    workspace = await make_workspace(store)
    won: list[Revision] = []
    lost: list[Conflict] = []

    async def try_to(name: str) -> None:
        try:
            won.append(await append(store, workspace, {name: None}, parent=0, revision_id=name))
        except Conflict as conflict:
            lost.append(conflict)

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(try_to, f"r-{number}")
    assert (len(won), len(lost)) == (1, 11)
    assert list(await store.log(workspace)) == won


@pytest.mark.parametrize("after_s", [0.0, 0.0002, 0.001, 0.003])
async def test_an_append_that_is_cancelled_is_whole_or_not_there(store: Store, after_s: float) -> None:
    workspace = await make_workspace(store)
    contents = [b"%d" % number for number in range(300)]
    await store.put_blobs([blob(content) for content in contents])
    entries = {f"d/{number}": file(content) for number, content in enumerate(contents)}
    with anyio.move_on_after(after_s):
        await append(store, workspace, entries, parent=0, revision_id="r-1")
    committed = (await store.head(workspace)).number
    assert await store.tree(workspace) == (entries if committed else {})
    assert (await append(store, workspace, entries, parent=0, revision_id="r-1")).number == 1
    assert await store.tree(workspace) == entries


@pytest.mark.many
async def test_a_large_revision_is_one_revision(store: Store) -> None:
    workspace = await make_workspace(store)
    made = await write(store, workspace, {f"src/{number % 40}/{number}.py": b"%d" % number for number in range(3000)})
    assert (made.number, made.added) == (1, 3000)
    assert (await store.count(workspace)).files == 3000
    gone = await write(store, workspace, {f"src/{number % 40}/{number}.py": None for number in range(3000)})
    assert gone.removed == 3000
    assert await store.tree(workspace) == {}
    assert len(await store.tree(workspace, 1)) == 3000


async def test_entries_are_told_as_they_were_at_any_revision(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1", "b": b"1"})
    await write(store, workspace, {"a": b"2"})
    await write(store, workspace, {"a": None})
    asked = [path("a"), path("b"), path("none")]
    found = [await store.entries(workspace, asked, at) for at in (0, 1, 2, 3, None)]
    rest = {path("b"): file(b"1")}
    assert found == [{}, {**rest, path("a"): file(b"1")}, {**rest, path("a"): file(b"2")}, rest, rest]
    with pytest.raises(NotFound):
        await store.entries(workspace, asked, 4)


async def test_a_history_is_adopted_as_it_is_with_its_gaps_and_goes_on(store: Store) -> None:
    workspace = await make_workspace(store)
    await store.put_blobs([blob(b"1"), blob(b"2")])
    first = Revision(number=5, id="five", epoch=2, time=77.5, made_by="git", label="old", added=9, changed=8, removed=7)
    second = replace(first, number=8, id="eight", label=None)
    whole = [Change(path=path("a"), entry=file(b"1")), Change(path=path("b"), entry=file(b"1"))]
    history = [
        Adopted(revision=first, changes=whole),
        Adopted(revision=second, changes=[Change(path=path("b"), entry=None)]),
    ]
    for some in (history[:1], history, history[1:], history):
        await store.adopt(workspace, some)
    assert await store.log(workspace) == [second, first]
    assert await store.tree(workspace, 5) == {path("a"): file(b"1"), path("b"): file(b"1")}
    assert await store.tree(workspace) == {path("a"): file(b"1")}
    assert await store.count(workspace) == TreeCount(files=1, size_bytes=1)
    assert await store.labelled(workspace, "old") == first
    with pytest.raises(NotFound):
        await store.tree(workspace, 7)
    revision = await store.append(
        workspace,
        parent=8,
        revision_id="mine",
        epoch=2,
        changes=[Change(path=path("c"), entry=file(b"2"))],
        made_by="x",
    )
    assert (revision.number, revision.added) == (9, 1)


async def test_a_history_is_not_adopted_over_another(store: Store) -> None:
    workspace = await make_workspace(store)
    await write(store, workspace, {"a": b"1"})
    await append(store, workspace, {"b": file(b"1")}, epoch=3)
    (newest, oldest) = await store.log(workspace)
    for revision in (
        replace(newest, id="other"),
        replace(oldest, number=9),
        replace(newest, number=9, id="x", epoch=2),
    ):
        with pytest.raises(Conflict):
            await store.adopt(workspace, [Adopted(revision=revision, changes=[])])
    unkept = [Change(path=path("z"), entry=file(b"none"))]
    with pytest.raises(NotFound):
        await store.adopt(workspace, [Adopted(revision=replace(newest, number=9, id="x"), changes=unkept)])
    assert await store.log(workspace) == [newest, oldest]
