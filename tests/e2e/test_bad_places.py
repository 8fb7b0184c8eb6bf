"""Surroundings that a server may be started in and that must not keep it from working."""

from __future__ import annotations

from pathlib import Path

from tests.durability.machine import a_machine, run
from tests.e2e.judging import assert_fit


def test_a_folder_of_the_path_that_cannot_be_looked_into_does_not_keep_workspaces_from_opening(tmp_path: Path) -> None:
    """One whose name is too long, since to root no folder is closed; one that is closed; and what is none."""
    closed = tmp_path / "closed"
    closed.mkdir()
    with a_machine(tmp_path) as machine:
        strange = [f"/{'x' * 300}/bin", f"{closed}/inner/bin", f"{closed}/shims", "relative/bin", "", "/nowhere/bin"]
        path = ":".join([*strange, machine.environment["PATH"]])
        closed.chmod(0)
        try:
            with machine.server(PATH=path) as server:
                opened = server.call("open_workspace", name="default")
                assert not opened.is_error, opened.text
                assert "works" in run(server, "python3 -c 'print(\"works\")'").text
                assert_fit(server.call("list_files"), machine.data_dir)
        finally:
            closed.chmod(0o700)
