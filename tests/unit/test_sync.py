"""Planning a sync: what a scan nominates, and what changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vaporform_mcp.exclusions import Exclusions
from vaporform_mcp.sync import CLOCK_GRAIN_NS, Index, changes_between, nominate
from vaporform_mcp.types import Change, Digest, Entry, EntryKind, Stat, WorkspacePath

LONG_AGO = 1_000_000_000_000
NOW = LONG_AGO + 3_600 * 10**9

DEFAULT = Exclusions()


def path(text: str) -> WorkspacePath:
    return WorkspacePath(text)


def stat(*, size: int = 3, ctime_ns: int = LONG_AGO, kind: EntryKind = EntryKind.FILE, inode: int = 7) -> Stat:
    return Stat(kind=kind, size=size, mode=0o644, mtime_ns=LONG_AGO, ctime_ns=ctime_ns, inode=inode)


def entry(content: str = "abc", *, mode: int = 0o644) -> Entry:
    digest = Digest(content.encode().hex().ljust(64, "0")[:64])
    return Entry(kind=EntryKind.FILE, mode=mode, size=len(content), digest=digest, mime_type="text/plain")


def index(*paths: str, clock_ns: int = NOW) -> Index:
    return Index(clock_ns=clock_ns, stats={path(name): stat() for name in paths})


def test_a_file_whose_stat_is_as_it_was_is_not_read() -> None:
    planned = nominate([(path("a"), stat())], index("a"), {path("a"): entry()}, complete=True, exclusions=DEFAULT)
    assert planned.read == []
    assert list(planned.same) == ["a"]


def test_a_file_of_another_inode_size_or_change_time_is_read() -> None:
    for other in (stat(inode=8), stat(size=4), stat(ctime_ns=LONG_AGO + 1)):
        planned = nominate([(path("a"), other)], index("a"), {path("a"): entry()}, complete=True, exclusions=DEFAULT)
        assert planned.read == [("a", other)]


def test_a_file_that_changed_within_the_clocks_grain_of_the_last_scan_is_read_again() -> None:
    racy = stat(ctime_ns=NOW - CLOCK_GRAIN_NS)
    known = Index(clock_ns=NOW, stats={path("a"): racy})
    assert nominate([(path("a"), racy)], known, {path("a"): entry()}, complete=True, exclusions=DEFAULT).read == [
        ("a", racy)
    ]


def test_a_new_file_is_read_unless_it_is_of_a_kind_that_is_made_again() -> None:
    scanned = [(path(name), stat()) for name in ("src/a.py", "src/a.pyc", "node_modules/x/i.js", "web/dist/app.js")]
    assert nominate(scanned, Index(), {}, complete=True, exclusions=DEFAULT).read == [("src/a.py", stat())]


def test_a_path_once_in_the_tree_is_tracked_wherever_it_lies() -> None:
    tree = {path("dist/app.js"): entry()}
    assert nominate([(path("dist/app.js"), stat())], Index(), tree, complete=True, exclusions=DEFAULT).read == [
        ("dist/app.js", stat())
    ]


def test_folders_and_devices_are_never_read() -> None:
    scanned = [(path("d"), stat(kind=EntryKind.DIRECTORY)), (path("fifo"), stat(kind=EntryKind.OTHER))]
    assert nominate(scanned, Index(), {}, complete=True, exclusions=DEFAULT).read == []


def test_a_tracked_path_that_the_scan_does_not_show_is_only_a_candidate_for_removal() -> None:
    planned = nominate([], index("a"), {path("a"): entry()}, complete=True, exclusions=DEFAULT)
    assert planned.unlisted == ["a"]


def test_an_incomplete_scan_proves_no_deletion() -> None:
    assert nominate([], index("a"), {path("a"): entry()}, complete=False, exclusions=DEFAULT).unlisted == []


def test_only_what_differs_becomes_a_change() -> None:
    tree = {path("same"): entry(), path("mode"): entry(), path("gone"): entry(), path("text"): entry("old")}
    found = {path("same"): entry(), path("mode"): entry(mode=0o755), path("text"): entry("new"), path("new"): entry()}
    changes = changes_between(tree, found, [path("gone"), path("never-was")])
    assert [(change.path, change.entry is None) for change in changes] == [
        ("gone", True),
        ("mode", False),
        ("new", False),
        ("text", False),
    ]


names = st.sampled_from(["a", "b", "src/c", "src/d", "e"]).map(path)
trees = st.dictionaries(names, st.sampled_from(["x", "y", "z"]).map(entry))


@given(tree=trees, after=trees)
def test_applying_the_changes_gives_what_was_found(
    tree: dict[WorkspacePath, Entry], after: dict[WorkspacePath, Entry]
) -> None:
    changes = changes_between(tree, after, [name for name in tree if name not in after])
    assert _applied(tree, changes) == after


def _applied(tree: dict[WorkspacePath, Entry], changes: list[Change]) -> dict[WorkspacePath, Entry]:
    result = dict(tree)
    for change in changes:
        if change.entry is None:
            del result[change.path]
        else:
            result[change.path] = change.entry
    return result
