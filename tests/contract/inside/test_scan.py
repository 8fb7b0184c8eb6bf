"""What a scan finds, and how it ends."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.inside.supervised import Client, Reply, Supervised, supervise, until
from vaporform_mcp.sandboxes.supervised.inside.wire import SCAN_ROWS


def scan(client: Client, **fields: str | int | list[str] | None) -> Reply:
    return client.ask("scan", **{"under": "", "prune": [], "depth": None, "limit": 1_000_000, **fields})


def paths(reply: Reply) -> list[str]:
    assert reply.code == "", reply.message
    found: list[str] = []
    for fields, _ in reply.events:
        rows = fields.items("rows")
        assert len(rows) <= SCAN_ROWS
        for row in rows:
            assert isinstance(row, list)
            found.append(str(row[0]))  # pyright: ignore[reportUnknownArgumentType]  # a row holds anything
    return found


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_entries_come_sorted_by_their_whole_paths(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/b", "a.txt", "a-b", "a/b.c/d", "ä", "z", "\U0001f600", "ﬀ"])
    assert paths(scan(client)) == ["a", "a-b", "a.txt", "a/b", "a/b.c", "a/b.c/d", "z", "ä", "ﬀ", "\U0001f600"]


NAMES = st.text(st.sampled_from("ab.-_ ä~\U0001f600"), min_size=1, max_size=3).filter(lambda name: name.strip("."))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=12))
def test_any_tree_is_found_whole_and_sorted(plain: Supervised, client: Client, names: list[list[str]]) -> None:
    for parts in names:
        (plain.folder.joinpath(*parts)).mkdir(parents=True, exist_ok=True)
    expected = sorted(str(path.relative_to(plain.folder)) for path in plain.folder.rglob("*"))
    assert paths(scan(client)) == expected


def test_many_entries_come_in_several_frames(plain: Supervised, client: Client) -> None:
    fill(plain.folder, [f"{number % 7}/{number}" for number in range(2 * SCAN_ROWS)])
    reply = scan(client)
    assert len(reply.events) >= 2
    assert paths(reply) == sorted({*map(str, range(7)), *(f"{n % 7}/{n}" for n in range(2 * SCAN_ROWS))})


def test_a_limit_cuts_what_is_sorted(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/b", "a-b", "c"])
    reply = scan(client, limit=3)
    assert paths(reply) == ["a", "a-b", "a/b"]
    assert reply.ok.flag("truncated")
    assert not scan(client, limit=4).ok.flag("truncated")


def test_drafts_are_never_listed(plain: Supervised, client: Client) -> None:
    client.ask("open", path="folder/file", mode=None)
    fill(plain.folder, ["folder/.vaporform-mine"])
    assert paths(scan(client)) == ["folder", "folder/.vaporform-mine"]


def test_a_folder_is_scanned_by_itself_also_by_way_of_a_link(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/b/c", "d"])
    (plain.folder / "link").symlink_to("a")
    assert paths(scan(client, under="a")) == ["a/b", "a/b/c"]
    assert paths(scan(client, under="link")) == ["link/b", "link/b/c"]
    assert paths(scan(client, under="a", depth=1)) == ["a/b"]
    assert scan(client, under="d").code == "not_a_directory"
    assert scan(client, under="none").code == "not_found"
    (plain.folder / "out").symlink_to("/etc")
    assert scan(client, under="out").code == "invalid_path"


def test_links_to_folders_are_not_entered(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/b"])
    (plain.folder / "a/up").symlink_to("..")
    assert paths(scan(client)) == ["a", "a/b", "a/up"]


def test_names_that_cannot_be_paths_are_named_escaped_and_counted(plain: Supervised, client: Client) -> None:
    fill(
        plain.folder, [os.fsdecode(b"\xff/inner"), "new\nline", "bell\a", *(f"tab\t{number}" for number in range(150))]
    )
    reply = scan(client)
    invalid = reply.ok.texts("invalid")
    assert paths(reply) == []
    assert len(invalid) == 101
    assert invalid[-1] == "… and 53 more"
    assert all(name.isprintable() for name in invalid)


def test_a_path_too_long_for_the_workspace_is_named(plain: Supervised, client: Client) -> None:
    deep = "/".join(["d" * 250] * 17)
    client.say(f"for part in $(echo {deep} | tr / ' '); do mkdir $part; cd $part || exit; done")
    reply = scan(client)
    assert len(paths(reply)) == 16
    assert len(reply.ok.items("invalid")) == 1


def test_a_scan_whose_worker_is_killed_can_be_repeated(place: Path, namespaces: None) -> None:
    with supervise(place, level="namespaces") as supervised:
        inner = supervised.attach()
        inner.say("mkdir many && cd many && seq 10000 | xargs touch")
        hunter = inner.run(
            "test -d /.vf/inside || exit 99; while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; "
            "test $p -gt $$ && grep -qs '^PPid:.1$' /proc/$p/status && kill -9 $p; done; done 2>/dev/null",
            wait_s=0,
        ).process_id
        codes: set[str] = set()
        until(lambda: codes.add(scan(inner).code) or codes >= {"sandbox_unavailable"})
        inner.ask("stop", process=hunter, grace_s=0)
        assert len(paths(scan(inner))) == 10_001


def test_a_scan_that_nobody_waits_for_ends(isolated: Supervised) -> None:
    first, second = isolated.attach(), isolated.attach()
    first.say("mkdir many && cd many && seq 10000 | xargs touch")
    for _ in range(5):
        first.send("scan", under="", prune=[], depth=None, limit=1_000_000)
    first.close()
    # The supervisor, one keeper for this command and perhaps the next one's; no worker.
    until(lambda: int(second.run("ps -u $(id -u) -o args | grep -c inside.superviso[r]").data) <= 3)


def test_a_slow_reader_of_a_scan_holds_up_nobody(plain: Supervised) -> None:
    slow, other = plain.attach(), plain.attach()
    # More than the supervisor would keep for it: the scan itself has to wait.
    other.say("mkdir many && cd many && seq -f $(printf %0240d 0)%06.0f 6000 | xargs touch")
    scans = [slow.send("scan", under="", prune=[], depth=None, limit=1_000_000) for _ in range(4)]
    assert other.say("echo meanwhile") == "meanwhile"
    for each in scans:
        assert len(paths(slow.answer(each))) == 6_001
