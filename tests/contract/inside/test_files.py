"""What the supervisor promises about files, beyond what every sandbox does."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.contract.inside.supervised import Client, Supervised, until
from vaporform_mcp.sandboxes.supervised.fields import Fields, JsonValue, parse_object

OUTSIDE = "/etc/passwd"


def code_of(item: Fields) -> str:
    return item.object("error").text("code") if "error" in item else ""


def read(client: Client, path: str, *, follow: bool = True) -> tuple[str, bytes]:
    reply = client.ask("read", paths=[path], max_bytes=1_000_000, follow=follow)
    return code_of(reply.ok.objects("files")[0]), reply.data


def everything_under(folder: Path) -> set[str]:
    # Not rglob: it fails where something goes while it looks.
    found = (Path(at) / name for at, folders, files in os.walk(folder) for name in (*folders, *files))
    return {str(path.relative_to(folder)) for path in found}


BAD_PATHS = {
    "/etc/passwd": "invalid_path",
    "../up": "invalid_path",
    "a/../../up": "invalid_path",
    "a\0b": "invalid_path",
    "\ud800": "invalid_path",
    "x" * 256: "invalid_path",
    "/".join(["y" * 200] * 30): "invalid_path",
    "": "is_directory",
    "folder": "is_directory",
    "folder/": "is_directory",
    "file/below": "not_a_directory",
    "circle": "invalid_path",
    "out": "invalid_path",
    "outfolder/passwd": "invalid_path",
}


@pytest.fixture
def furnished(plain: Supervised, client: Client) -> Client:
    folder = plain.folder
    (folder / "folder").mkdir()
    (folder / "file").write_text("file")
    (folder / "circle").symlink_to("circle")
    (folder / "out").symlink_to(OUTSIDE)
    (folder / "outfolder").symlink_to("/etc")
    return client


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: repr(path[:20]))
def test_a_bad_path_can_be_neither_read_nor_written(furnished: Client, plain: Supervised, path: str) -> None:
    before = everything_under(plain.folder)
    # Reading knows no parts that are missing: those of an over-long path are.
    assert read(furnished, path)[0] in {BAD_PATHS[path], "not_found"}
    assert code_of(furnished.write(path, b"content")) == BAD_PATHS[path]
    assert furnished.ask("open", path=path, mode=None).code == BAD_PATHS[path]
    assert everything_under(plain.folder) == before


@pytest.mark.parametrize("path", ["out", "outfolder/passwd"])
def test_what_lies_outside_is_neither_looked_at_nor_removed(furnished: Client, plain: Supervised, path: str) -> None:
    assert furnished.ask("range", path=path, offset=0, length=10, stat=None).code == "invalid_path"
    furnished.ask("remove", paths=["outfolder/no-such-file"])
    assert Path(OUTSIDE).exists()


def test_a_link_that_leads_out_can_itself_be_looked_at_read_replaced_and_removed(
    furnished: Client, plain: Supervised
) -> None:
    (found,) = furnished.ask("stat", paths=["out"]).ok.items("stats")
    assert isinstance(found, list)
    assert found[0] == "l"
    assert read(furnished, "out", follow=False) == ("", OUTSIDE.encode())
    assert "stat" in furnished.write("out", b"file", kind="l")
    assert read(furnished, "out") == ("", b"file")
    assert furnished.ask("remove", paths=["out"]).ok.items("faults") == []
    assert not (plain.folder / "out").is_symlink()


def test_special_files_are_refused_without_waiting_for_them(plain: Supervised, client: Client) -> None:
    os.mkfifo(plain.folder / "fifo")
    assert read(client, "fifo")[0] == "invalid_argument"
    assert client.ask("range", path="fifo", offset=0, length=1, stat=None).code == "invalid_argument"


def test_folders_on_the_way_are_made_for_others_to_enter(plain: Supervised, client: Client) -> None:
    os.umask(0o077)
    try:
        client.write("a/b/c.txt", b"deep")
    finally:
        os.umask(0o022)
    assert stat.S_IMODE((plain.folder / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE((plain.folder / "a/b/c.txt").stat().st_mode) == 0o644


def test_no_folder_is_made_outside_through_a_link(plain: Supervised, client: Client, place: Path) -> None:
    outside = place / "outside"
    outside.mkdir()
    (plain.folder / "link").symlink_to(outside)
    assert code_of(client.write("link/new/file", b"")) == "invalid_path"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("mode", [-1, 0o10000, 1 << 40])
def test_a_mode_that_is_none_is_refused(client: Client, mode: int) -> None:
    assert code_of(client.write("file", b"", mode=mode)) == "invalid_argument"


def test_a_mode_is_kept_or_given_whatever_the_umask(plain: Supervised, client: Client) -> None:
    client.write("script", b"one", mode=0o775)
    client.write("script", b"two")
    assert stat.S_IMODE((plain.folder / "script").stat().st_mode) == 0o775
    client.write("script", b"three", mode=0o600)
    assert stat.S_IMODE((plain.folder / "script").stat().st_mode) == 0o600


def test_a_write_replaces_a_file_rather_than_change_it(plain: Supervised, client: Client) -> None:
    client.write("file", b"old")
    with (plain.folder / "file").open("rb") as held:
        client.write("file", b"new")
        assert held.read() == b"old"


def test_a_link_on_the_way_is_followed_and_stays(plain: Supervised, client: Client) -> None:
    client.write("real/file", b"old")
    (plain.folder / "link").symlink_to("real")
    (plain.folder / "alias").symlink_to("link/file")
    client.write("alias", b"new")
    assert (plain.folder / "real/file").read_bytes() == b"new"
    assert (plain.folder / "alias").is_symlink()


def test_a_write_through_a_dangling_link_makes_what_it_names(plain: Supervised, client: Client) -> None:
    (plain.folder / "link").symlink_to("new/target")
    assert "stat" in client.write("link", b"made")
    assert (plain.folder / "new/target").read_bytes() == b"made"


def test_a_write_through_links_to_a_missing_file_follows_each(plain: Supervised, client: Client) -> None:
    (plain.folder / "one").mkdir()
    (plain.folder / "first").symlink_to("one/second")
    (plain.folder / "one/second").symlink_to("../third")
    (plain.folder / "third").symlink_to("one/file")
    assert "stat" in client.write("first", b"made")
    assert (plain.folder / "one/file").read_bytes() == b"made"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        *(("../outside", "invalid_path"), ("/nowhere/file", "invalid_path"), ("missing/../file", "not_found")),
        *(("missing/", "is_directory"), ("..", "invalid_path"), ("/", "invalid_path")),
    ],
)
def test_a_link_to_what_cannot_be_made_is_refused(plain: Supervised, client: Client, target: str, code: str) -> None:
    (plain.folder / "link").symlink_to(target)
    assert code_of(client.write("link", b"x")) == code
    assert not (plain.folder.parent / "outside").exists()


def test_links_without_end_cost_nothing(plain: Supervised, client: Client) -> None:
    links = 3000
    for number in range(links):
        name, following = f"link{number}", f"link{number + 1}"
        (plain.folder / name).symlink_to(f"{following}/../" * 200 + following)
    (plain.folder / f"link{links}").symlink_to("missing")
    (plain.folder / "circle").symlink_to("circle")
    codes = {code_of(client.write(name, b"x")) for name in ("link0", "link1000", f"link{links - 30}", "circle")}
    assert codes == {"invalid_path", "not_found"}
    assert client.say("echo alive") == "alive"


def test_a_write_that_fails_leaves_nothing(isolated: Supervised) -> None:
    client = isolated.attach()
    client.say("mkdir full && chmod 555 full")
    if os.geteuid() != 0:
        assert code_of(client.write("full/file", b"x")) == "permission_denied"
        assert code_of(client.write("full/new/file", b"x")) == "permission_denied"
    assert client.say("ls -A full") == ""


def test_only_what_does_not_exist_has_no_stat(furnished: Client) -> None:
    paths = ["file", "missing", "missing/too", "file/below", "circle/below", "outfolder/passwd", "../up", "x" * 256]
    found = furnished.ask("stat", paths=paths).ok.items("stats")
    codes = ["stat" if isinstance(one, list) else one and code_of(parse_object(one, "stats")) for one in found]
    assert codes == ["stat", None, None, None, *["invalid_path"] * 4]


@pytest.mark.parametrize("expected", [[], ["f", 3, 0o644, 1, 1, 1], "a text", 7])
def test_a_write_that_expects_another_file_leaves_nothing(
    plain: Supervised, client: Client, expected: JsonValue
) -> None:
    client.write("file", b"old")
    before = everything_under(plain.folder)
    for path in ("file", "new/file"):
        for kind in ("f", "l"):
            file: JsonValue = {"path": path, "mode": None, "kind": kind, "size": 3, "expected": expected}
            assert code_of(client.ask("write", b"new", files=[file]).ok.objects("files")[0]) == "conflict"
    assert everything_under(plain.folder) == before
    assert read(client, "file") == ("", b"old")


def test_of_two_servers_that_saw_the_same_file_one_replaces_it(plain: Supervised) -> None:
    first, second = plain.attach(), plain.attach()
    known = first.write("file", b"seen by both").items("stat")
    seen: JsonValue = ["f", *map(as_int, known[1:])]
    sent = [
        (client, client.send("write", b"mine", files=[{"path": "file", "mode": None, "size": 4, "expected": seen}]))
        for client in (first, second)
    ]
    codes = [code_of(client.answer(number).ok.objects("files")[0]) for client, number in sent]
    assert sorted(codes) == ["", "conflict"]


def test_an_upload_that_expected_another_file_leaves_the_one_that_is_there(plain: Supervised, client: Client) -> None:
    known = client.write("file", b"old").items("stat")
    upload = client.ask("open", path="file", mode=None, expected=["f", *map(as_int, known[1:])]).ok.number("upload")
    client.ask("append", b"mine", upload=upload)
    client.write("file", b"theirs")
    assert client.ask("commit", upload=upload, abort=False).code == "conflict"
    assert read(client, "file") == ("", b"theirs")
    assert everything_under(plain.folder) == {"file"}


def test_sizes_that_do_not_add_up_write_nothing(plain: Supervised, client: Client) -> None:
    files = [{"path": "a", "mode": None, "kind": "f", "size": 2}, {"path": "b", "mode": None, "kind": "f", "size": 9}]
    assert client.ask("write", b"12345", files=files).code == "invalid_argument"
    assert client.ask("write", b"12345", files=files[:1]).code == "invalid_argument"
    assert everything_under(plain.folder) == set()


def test_a_range_is_read_only_of_the_file_that_was_meant(client: Client) -> None:
    client.write("file", b"0123456789")
    first = client.ask("range", path="file", offset=2, length=5, stat=None)
    assert (first.data, first.ok.flag("eof")) == (b"23456", False)
    known = first.ok.items("stat")
    last = client.send("range", path="file", offset=7, length=50, stat=[*map(str, known[:1]), *map(as_int, known[1:])])
    assert client.answer(last).data == b"789"
    client.write("file", b"9876543210")
    changed = client.send("range", path="file", offset=7, length=5, stat=["f", *map(as_int, known[1:])])
    assert client.answer(changed).code == "conflict"


def as_int(value: object) -> int:
    assert isinstance(value, int)
    return value


def test_an_upload_is_seen_once_it_is_committed(plain: Supervised, client: Client) -> None:
    upload = client.ask("open", path="new/big", mode=0o640).ok.number("upload")
    for _ in range(5):
        assert client.ask("append", b"x" * 1_000_000, upload=upload).code == ""
    assert not (plain.folder / "new/big").exists()
    assert client.ask("commit", upload=upload, abort=False).ok.items("stat")[1] == 5_000_000
    assert stat.S_IMODE((plain.folder / "new/big").stat().st_mode) == 0o640
    assert client.ask("append", b"x", upload=upload).code == "not_found"


def test_an_upload_that_is_aborted_leaves_nothing(plain: Supervised, client: Client) -> None:
    upload = client.ask("open", path="new/big", mode=None).ok.number("upload")
    client.ask("append", b"x", upload=upload)
    assert client.ask("commit", upload=upload, abort=True).ok.is_null("stat")
    assert everything_under(plain.folder) == set()


def test_an_upload_belongs_to_its_connection_and_ends_with_it(plain: Supervised) -> None:
    first, second = plain.attach(), plain.attach()
    upload = first.ask("open", path="new/big", mode=None).ok.number("upload")
    first.ask("append", b"x", upload=upload)
    assert second.ask("append", b"x", upload=upload).code == "not_found"
    assert second.ask("commit", upload=upload, abort=False).code == "not_found"
    first.close()
    until(lambda: everything_under(plain.folder) == set())


def test_a_connection_has_a_bounded_number_of_uploads(client: Client) -> None:
    codes = [client.ask("open", path=f"f{number}", mode=None).code for number in range(20)]
    assert codes == [""] * 16 + ["limit"] * 4


def test_removing_stops_at_folders_that_hold_something_and_at_the_workspace(plain: Supervised, client: Client) -> None:
    client.write("a/b/c/file", b"")
    client.write("a/other", b"")
    assert client.ask("remove", paths=["a/b/c/file", "a/b/none", "none/at/all"]).ok.items("faults") == []
    assert everything_under(plain.folder) == {"a", "a/other"}
    client.ask("remove", paths=["a/other"])
    assert plain.folder.is_dir()
    assert everything_under(plain.folder) == set()


def test_removing_by_way_of_a_link_takes_folders_where_they_are(plain: Supervised, client: Client) -> None:
    client.write("real/inner/file", b"")
    (plain.folder / "link").symlink_to("real/inner")
    client.ask("remove", paths=["link/file"])
    assert everything_under(plain.folder) == {"link"}


def test_a_batch_of_many_paths_does_not_hold_up_others(plain: Supervised) -> None:
    first, second = plain.attach(), plain.attach()
    first.write("file", b"")
    batch = first.send("stat", paths=["file"] * 100_000)
    assert second.say("echo meanwhile") == "meanwhile"
    assert len(first.answer(batch).ok.items("stats")) == 100_000


def test_whoever_reads_while_another_writes_sees_one_or_the_other(plain: Supervised) -> None:
    client = plain.attach()
    writing = client.begin("while ! test -e stop; do printf aaaaaaaaaa > f; printf bbbbbbbbbbbbbbbbbbbb > f; done")
    until(lambda: (plain.folder / "f").exists())
    for _ in range(300):
        code, data = read(client, "f")
        assert code in {"", "conflict"}
        assert data in {b"", b"a" * 10, b"b" * 20}
    client.write("stop", b"")
    client.answer(writing)


def test_when_the_workspace_itself_is_gone_it_says_that_the_sandbox_is_lost(plain: Supervised, client: Client) -> None:
    client.write("file", b"")
    upload = client.ask("open", path="other", mode=None).ok.number("upload")
    assert client.ask("info").ok.flag("root_gone") is False
    shutil.rmtree(plain.folder)
    assert client.ask("info").ok.flag("root_gone") is True
    assert client.run("true").code == "sandbox_lost"
    assert client.ask("read", paths=["file"], max_bytes=10, follow=True).code == "sandbox_lost"
    assert client.ask("write", files=[]).code == "sandbox_lost"
    assert client.ask("stat", paths=[]).code == "sandbox_lost"
    assert client.ask("remove", paths=["file"]).code == "sandbox_lost"
    assert client.ask("scan", under="", prune=[], depth=None, limit=10).code == "sandbox_lost"
    assert client.ask("commit", upload=upload, abort=False).code == "sandbox_lost"
