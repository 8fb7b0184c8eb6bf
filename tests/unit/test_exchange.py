"""What goes from one side to the other where both may have changed: nothing newer is lost unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.transfer.exchange import Memory, Version, plan
from vaporform_mcp.types import Digest, EntryKind, WorkspacePath

PATH = WorkspacePath("a")
OLD, NEW, OTHER = (
    Version(kind=EntryKind.FILE, executable=False, digest=Digest(letter * 64)) for letter in ("0", "1", "2")
)
Side = Version | None


def only(version: Side) -> dict[WorkspacePath, Version]:
    return {} if version is None else {PATH: version}


def decided(source: Side, target: Side, base: Side, *, overwrite: bool = False, hidden: bool = False) -> str:
    made = plan(
        only(source), only(target), only(base), overwrite=overwrite, hidden={PATH} if hidden else (),
    )  # fmt: skip
    found = [("write", made.write), ("remove", made.remove), ("kept", [each.path for each in made.kept])]
    return " ".join(what for what, paths in found if paths) or "nothing"


@pytest.mark.parametrize(
    ("source", "target", "base", "what", "asked"),
    [
        (NEW, None, None, "write", "write"),  # new
        (NEW, OLD, OLD, "write", "write"),  # changed here alone
        (OLD, NEW, OLD, "kept", "write"),  # changed there alone
        (NEW, OTHER, OLD, "kept", "write"),  # changed on both sides
        (NEW, OTHER, None, "kept", "write"),  # they never met
        (NEW, NEW, OLD, "nothing", "nothing"),  # changed alike
        (NEW, NEW, None, "nothing", "nothing"),
        (None, OLD, OLD, "remove", "remove"),  # removed here alone
        (None, NEW, OLD, "kept", "remove"),  # removed here, changed there
        (None, NEW, None, "nothing", "nothing"),  # only there, ever
        (OLD, None, OLD, "kept", "write"),  # removed there alone
        (NEW, None, OLD, "kept", "write"),  # removed there, changed here
        (None, None, OLD, "nothing", "nothing"),
    ],
)
def test_what_is_done_with_a_path(source: Side, target: Side, base: Side, what: str, asked: str) -> None:
    assert decided(source, target, base) == what
    assert decided(source, target, base, overwrite=True) == asked
    assert decided(source, target, base, overwrite=True, hidden=True) == "nothing"


SIDES = st.dictionaries(st.sampled_from([WorkspacePath(name) for name in "abc"]), st.sampled_from([OLD, NEW, OTHER]))


@given(source=SIDES, target=SIDES, base=SIDES)
def test_what_the_target_alone_has_changed_is_never_touched(
    source: dict[WorkspacePath, Version],
    target: dict[WorkspacePath, Version],
    base: dict[WorkspacePath, Version],
) -> None:
    made = plan(source, target, base)
    for path in (*made.write, *made.remove):
        assert target.get(path) == base.get(path)
    assert not set(made.write) & set(made.remove)
    assert {each.path for each in made.kept}.isdisjoint([*made.write, *made.remove])


def test_what_was_exchanged_is_remembered_for_that_folder_and_workspace(tmp_path: Path) -> None:
    memory = Memory(tmp_path, "w1", Path("/a"))
    assert memory.recall() == {}
    versions = {PATH: NEW, WorkspacePath("naïve"): Version(kind=EntryKind.SYMLINK, executable=True, digest=OLD.digest)}
    memory.keep(versions)
    assert Memory(tmp_path, "w1", Path("/a")).recall() == versions
    assert Memory(tmp_path, "w2", Path("/a")).recall() == {}
    assert Memory(tmp_path, "w1", Path("/b")).recall() == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": ["device", true, "x"]}', b"\xff"])
def test_a_memory_that_cannot_be_read_takes_nothing_for_older_than_it_is(tmp_path: Path, content: bytes) -> None:
    memory = Memory(tmp_path, "w1", Path("/a"))
    memory.keep({PATH: NEW})
    (file,) = (tmp_path / "folders").iterdir()
    file.write_bytes(content)
    assert memory.recall() == {}


def test_a_memory_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "folders").write_bytes(b"in the way")
    with pytest.raises(StoreUnavailable, match="data folder"):
        Memory(tmp_path, "w1", Path("/a")).keep({PATH: NEW})
