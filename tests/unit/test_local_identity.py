"""Which user commands run as on the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from vaporform_mcp.errors import SandboxUnavailable
from vaporform_mcp.sandboxes.local import identity
from vaporform_mcp.sandboxes.local.identity import command_uid
from vaporform_mcp.sandboxes.local.layout import folder_of

HOST = [(0, 0, 4294967295)]
DOCKER_USERNS = [(0, 100000, 65536)]
ROOTLESS = [(0, 1000, 1), (1, 100000, 65536)]
FAKE_ROOT = [(0, 1000, 1)]


def choose(euid: int, ranges: list[tuple[int, int, int]], owner: int = 0, workspace: str = "ws") -> int | None:
    return command_uid(workspace, euid, owner, [ranges, ranges])


def test_an_ordinary_users_commands_run_as_that_user() -> None:
    assert choose(1000, HOST) is None


def test_roots_commands_run_as_a_user_that_nobody_else_has() -> None:
    uid = choose(0, HOST)
    assert uid is not None
    assert 2_000_000_000 <= uid < 2_001_000_000


def test_workspaces_have_users_apart_and_keep_them() -> None:
    assert choose(0, HOST, workspace="one") == choose(0, HOST, workspace="one") != choose(0, HOST, workspace="two")


@pytest.mark.root
def test_a_workspace_that_two_data_folders_have_has_two_users(tmp_path: Path) -> None:
    one, again, other = (identity.choose(folder_of(tmp_path / name, "ws", 1)) for name in ("a", "a", "b"))
    assert one == again != other
    assert other is not None


@pytest.mark.parametrize("ranges", [DOCKER_USERNS, ROOTLESS])
def test_in_a_container_with_few_users_one_of_those_is_taken(ranges: list[tuple[int, int, int]]) -> None:
    uid = choose(0, ranges)
    assert uid is not None
    assert 30_000 <= uid < 60_000


def test_files_that_are_there_keep_their_owner() -> None:
    assert choose(0, HOST, owner=1234) == 1234


def test_where_root_is_an_ordinary_user_outside_commands_run_as_that_one() -> None:
    assert choose(0, FAKE_ROOT) is None


def test_an_ordinary_user_that_is_the_hosts_root_outside_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="root"):
        choose(1000, [(1000, 0, 1)])


def test_root_without_any_other_user_is_refused() -> None:
    with pytest.raises(SandboxUnavailable, match="root"):
        choose(0, [(0, 0, 1)])
