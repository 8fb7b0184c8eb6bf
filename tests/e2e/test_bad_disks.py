"""A disk that is full, under the sandbox or under the store: real ones, tmpfs of a few megabytes."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.durability.machine import in_time, run, stored
from tests.durability.small_disks import SMALL_DISK, SMALL_STORE, ServerOnDisk, needs_mounts
from tests.e2e.judging import assert_fit, assert_refused
from tests.e2e.stdio_client import environment_in

# An ordinary user who mounts is root of a namespace for that, and the provider runs nothing for such a root.
pytestmark = [needs_mounts, pytest.mark.root]
BIG = "x" * 5_000_000


def test_a_full_disk_under_the_sandbox_refuses_what_does_not_fit_and_keeps_the_rest(tmp_path: Path) -> None:
    environment = environment_in(tmp_path, VAPORFORM_LOCAL__LINGER_S="0")
    with ServerOnDisk(environment, mount=SMALL_DISK) as server:
        assert server.call("write_to_file", path="kept.txt", content="kept").facts["mirrored"]
        for path in ("one", "two"):
            assert server.call("write_to_file", path=path, content=BIG).facts["mirrored"]
        for path in ("three", "kept.txt"):
            refused = server.call("write_to_file", path=path, content=BIG)
            assert_refused(refused, "limit", environment["VAPORFORM_DATA_DIR"])
            assert "disk is full" in refused.text
            assert "Remove files" in refused.text
        assert server.call("read_file", path="kept.txt").text == "kept"
        files = server.data_dir / "sandboxes"
        assert sorted(path.name for path in files.glob("*/files/*")) == ["kept.txt", "one", "two"]
        filled = server.call("execute_command", command="cat /dev/zero > three")
        assert "No space left" in filled.text
        run(server, "rm one two three")
        assert server.call("write_to_file", path="kept.txt", content="changed").facts["mirrored"]
        completed = server.call("attempt_completion", result="done")
        assert completed.facts["mirrored"]
        assert_fit(completed, environment["VAPORFORM_DATA_DIR"])
        assert anyio.run(stored, server.copy_of_the_store(tmp_path / "copy"), "default") == {"kept.txt": b"changed"}


def test_a_full_disk_under_the_store_costs_the_mirror_until_there_is_space_again(tmp_path: Path) -> None:
    environment = environment_in(tmp_path, VAPORFORM_LOCAL__LINGER_S="0")
    with ServerOnDisk(environment, mount=SMALL_STORE) as server:
        assert server.call("write_to_file", path="kept.txt", content="kept").facts["mirrored"]
        written = server.call("write_to_file", path="large.txt", content="y" * 3_000_000)
        assert written.facts["mirrored"] is False
        assert "space" in written.facts["mirror_error"]
        assert "Free" in written.text  # the mend
        assert written.structured is not None
        assert written.structured["mirror_error"] == written.facts["mirror_error"]
        assert_fit(written, environment["VAPORFORM_DATA_DIR"])
        assert "3000000" in run(server, "wc -c large.txt").text
        completed = server.call("attempt_completion", result="done")
        assert completed.facts["mirrored"] is False
        assert "not all is mirrored" in completed.text
        copy = server.copy_of_the_store(tmp_path / "full")
        assert anyio.run(stored, copy, "default") == {"kept.txt": b"kept"}
        (server.data_dir / "other").unlink()
        (server.data_dir / "more").unlink()

        def complete() -> bool:
            return bool(server.call("attempt_completion", result="done").facts["mirrored"])

        in_time(complete)
        found = anyio.run(stored, server.copy_of_the_store(tmp_path / "copy"), "default")
        assert {path: len(content) for path, content in found.items()} == {"kept.txt": 4, "large.txt": 3_000_000}
