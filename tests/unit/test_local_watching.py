"""What a watch tells of folders that are moved, or that become links, while it is being read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from vaporform_mcp.sandboxes.supervised.inside.root import Root
from vaporform_mcp.sandboxes.supervised.inside.scanning import REPLY, rescan
from vaporform_mcp.sandboxes.supervised.inside.watching import Blind, Watch
from vaporform_mcp.sandboxes.supervised.inside.wire import HEADER


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Of the working directory and the folder `d` in it, which has the file `f`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("one")
    made = Watch(frozenset())
    made.add("", "")
    made.add("d/", "d/")
    yield made
    made.close()


def test_a_folder_that_became_a_link_does_not_take_the_name_of_what_it_leads_to(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to("d")
    watch.add("l/", "l/")
    (tmp_path / "d" / "f").write_text("two")
    assert "d/f" in watch.drain().paths


def test_a_folder_that_was_moved_meanwhile_makes_the_watch_blind(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "d").rename(tmp_path / "e")
    with pytest.raises(Blind):
        watch.add("e/", "e/")


def test_what_went_from_a_folder_while_it_was_not_watched_is_looked_for(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "d").rename(tmp_path / "e")
    watch.drain()
    (tmp_path / "e").rename(tmp_path / "d")
    (tmp_path / "d" / "f").unlink()
    replies: list[bytes] = []

    def send(kind: bytes, frame: bytes) -> None:
        if kind == REPLY:
            replies.append(frame)

    root = Root(str(tmp_path))
    rescan(root, 1, watch, send)
    (reply,) = replies
    size = HEADER.unpack_from(reply)[0]
    assert "d" in json.loads(reply[HEADER.size : HEADER.size + size])["ok"]["lost"]
