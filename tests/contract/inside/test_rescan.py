"""What a watch tells since the last look, and when it says that it cannot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.inside.supervised import Client, Reply, Supervised
from tests.contract.inside.test_scan import fill, paths
from vaporform_mcp.sandboxes.supervised.inside.watching import MAX_TOUCHED


def watched(client: Client, *prune: str) -> int:
    """A cursor after a whole scan."""
    reply = client.ask("scan", under="", prune=list(prune), depth=None, limit=1_000_000, watch=True)
    assert reply.code == "", reply.message
    return reply.ok.number("cursor")


def rescan(client: Client, cursor: int) -> Reply:
    reply = client.ask("rescan", cursor=cursor)
    assert reply.code == "", reply.message
    return reply


def blind(reply: Reply) -> bool:
    return reply.ok.is_null("cursor")


def test_nothing_is_told_where_nothing_changed(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/b", "c"])
    reply = rescan(client, watched(client))
    assert (paths(reply), reply.ok.texts("gone"), reply.ok.texts("lost")) == ([], [], [])


def test_what_is_made_changed_and_removed_is_told(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/changed", "a/mode", "a/removed", "a/same", "old"])
    cursor = watched(client)
    (plain.folder / "a/changed").write_text("x")
    (plain.folder / "a/mode").chmod(0o700)
    (plain.folder / "a/removed").unlink()
    (plain.folder / "old").rename(plain.folder / "a/new")
    (plain.folder / "link").symlink_to("a/same")
    reply = rescan(client, cursor)
    assert sorted(paths(reply)) == ["a/changed", "a/mode", "a/new", "link"]
    assert reply.ok.texts("gone") == ["a/removed", "old"]


def test_a_folder_made_and_filled_before_anybody_looked_is_told_whole_and_watched_from_then_on(
    plain: Supervised, client: Client
) -> None:
    cursor = watched(client)
    fill(plain.folder, ["new/deep/er/file"])
    first = rescan(client, cursor)
    assert set(paths(first)) == {"new", "new/deep", "new/deep/er", "new/deep/er/file"}
    (plain.folder / "new/deep/er/file").write_text("x")
    assert paths(rescan(client, first.ok.number("cursor"))) == ["new/deep/er/file"]


def test_a_moved_folder_is_lost_where_it_was_and_watched_where_it_is(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/b/file"])
    cursor = watched(client)
    (plain.folder / "a").rename(plain.folder / "z")
    first = rescan(client, cursor)
    assert set(first.ok.texts("lost")) == {"a", "z"}
    assert set(paths(first)) == {"z", "z/b", "z/b/file"}
    (plain.folder / "z/b/file").write_text("x")
    assert paths(rescan(client, first.ok.number("cursor"))) == ["z/b/file"]


def test_a_symlink_in_place_of_a_folder_lends_no_file_its_name(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/other", "b/file"])
    cursor = watched(client)
    (plain.folder / "a/other").rename(plain.folder / "a/file")
    (plain.folder / "a").rename(plain.folder / "c")
    (plain.folder / "a").symlink_to("b")
    reply = rescan(client, cursor)
    assert set(paths(reply)) == {"a", "c", "c/file"}
    assert reply.ok.texts("gone") == ["a/file", "a/other"]


def test_what_lies_in_a_pruned_folder_is_not_told(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["node_modules/x/a"])
    cursor = watched(client, "node_modules")
    fill(plain.folder, ["node_modules/x/b", "src/node_modules/c"])
    assert set(paths(rescan(client, cursor))) == {"src", "src/node_modules"}


def test_a_file_of_several_names_is_named_each_time(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/one", "b"])
    os.link(plain.folder / "a/one", plain.folder / "two")
    cursor = watched(client)
    (plain.folder / "b").write_text("x")
    assert rescan(client, cursor).ok.texts("linked") == ["a/one", "two"]


def _links(folder: Path) -> None:
    os.link(folder / "a", folder / "b")


def _writes_by_a_name_that_goes_again(folder: Path) -> None:
    os.link(folder / "a", folder / "b")
    (folder / "b").write_text("x")
    (folder / "b").unlink()


def _makes_an_invalid_name(folder: Path) -> None:
    (folder / "new\nline").touch()


def _floods(folder: Path) -> None:
    for number in range(MAX_TOUCHED + 1):
        (folder / str(number)).touch()


def _overflows(folder: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    # Alternating, since the kernel joins events that are equal.
    for _ in range(limit // 2 + 1):
        os.utime(folder / "a")
        os.utime(folder / "c")


@pytest.mark.parametrize(
    "change", [_links, _writes_by_a_name_that_goes_again, _makes_an_invalid_name, _floods, _overflows]
)
def test_what_the_watch_cannot_vouch_for_makes_a_scan_due(
    plain: Supervised, client: Client, change: Callable[[Path], None]
) -> None:
    fill(plain.folder, ["a", "c"])
    cursor = watched(client)
    change(plain.folder)
    assert blind(rescan(client, cursor))
    # It stays so until somebody has scanned.
    assert blind(rescan(client, cursor))
    assert not blind(rescan(client, watched(client)))


def test_only_the_newest_cursor_of_the_same_server_is_good(plain: Supervised, client: Client) -> None:
    first = watched(client)
    other = plain.attach()
    assert blind(rescan(other, first))
    second = watched(client)
    assert second != first
    assert blind(rescan(client, first))
    third = rescan(client, second).ok.number("cursor")
    assert blind(rescan(client, second))
    assert not blind(rescan(client, third))


def test_each_server_is_told_of_every_change(plain: Supervised, client: Client) -> None:
    other = plain.attach()
    ours, theirs = watched(client), watched(other)
    fill(plain.folder, ["new"])
    assert paths(rescan(client, ours)) == paths(rescan(other, theirs)) == ["new"]


def test_a_scan_of_a_part_is_no_ground_to_stand_on(plain: Supervised, client: Client) -> None:
    fill(plain.folder, ["a/b"])
    reply = client.ask("scan", under="a", prune=[], depth=None, limit=10, watch=True)
    assert reply.ok.is_null("cursor")
