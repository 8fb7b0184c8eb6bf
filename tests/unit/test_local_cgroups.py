"""Which cgroup a sandbox gets, decided on folders that look like the kernel's."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from vaporform_mcp.sandboxes.local import cgroups
from vaporform_mcp.sandboxes.local.cgroups import Cgroup
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.limits import gaps_of

SLICE = "user.slice/user-1000.slice/user@1000.service/app.slice"
SCOPE = f"/{SLICE}/vte-spawn.scope"
LONG_AGO = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A /proc and a /sys/fs/cgroup."""

    proc: Path
    mount: Path

    @property
    def slice(self) -> Path:
        return self.mount / SLICE

    def place(self, process: str, cgroup: str) -> None:
        (self.proc / process).mkdir(exist_ok=True)
        (self.proc / process / "cgroup").write_text(f"0::{cgroup}\n")

    def shows(self, mount: str, root: str = "/", kind: str = "cgroup2") -> None:
        line = f"24 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n38 31 0:31 {root} {mount} rw shared:9 - {kind} x rw\n"
        (self.proc / "self/mountinfo").write_text(line)

    def enables(self, controllers: str, folder: Path | None = None) -> None:
        ((folder or self.slice) / "cgroup.subtree_control").write_text(f"{controllers}\n")

    def make(self) -> Cgroup | None:
        return cgroups.make("ws-1", LocalConfig(data_dir=self.proc, memory_mb=512, processes=100), proc=self.proc)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """One that has delegated memory and pids to a user's session, as systemd does."""
    found = Kernel(proc=tmp_path / "proc", mount=tmp_path / "cgroup")
    (found.mount / SCOPE[1:]).mkdir(parents=True)
    found.proc.mkdir()
    found.place("self", SCOPE)
    found.shows(str(found.mount))
    found.enables("cpu memory pids")
    return found


def test_where_it_is_delegated_a_sandbox_gets_a_cgroup_beside_the_servers(kernel: Kernel) -> None:
    made = kernel.make()
    assert made is not None
    assert made.path.parent == kernel.slice
    assert made.path.name.startswith("vaporform-sandbox-ws-1-")
    assert (made.path / "memory.max").read_text() == str(512 << 20)
    assert int((made.path / "pids.max").read_text()) > 100


def test_each_start_gets_a_cgroup_of_its_own(kernel: Kernel) -> None:
    made = [kernel.make(), kernel.make()]
    assert None not in made
    assert made[0] != made[1]


def test_in_a_container_that_sees_its_own_cgroup_as_the_root_it_is_made_in_that(kernel: Kernel) -> None:
    kernel.place("self", "/")
    kernel.enables("memory pids", kernel.mount)
    made = kernel.make()
    assert made is not None
    assert made.path.parent == kernel.mount


def test_a_mount_that_shows_only_a_part_is_understood(kernel: Kernel) -> None:
    kernel.shows(str(kernel.mount / SLICE), root=f"/{SLICE}")
    made = kernel.make()
    assert made is not None
    assert made.path.parent == kernel.slice


def test_a_mount_whose_name_has_a_space_is_understood(kernel: Kernel, tmp_path: Path) -> None:
    kernel.mount.rename(tmp_path / "c group")
    kernel.shows(f"{tmp_path}/c\\040group")
    made = kernel.make()
    assert made is not None
    assert made.path.is_relative_to(tmp_path / "c group")


@pytest.mark.parametrize("controllers", ["", "cpu", "memory", "pids cpu", "hugetlb"])
def test_without_both_controllers_there_is_none(kernel: Kernel, controllers: str) -> None:
    kernel.enables(controllers)
    assert kernel.make() is None
    assert [path.name for path in kernel.slice.iterdir() if path.is_dir()] == ["vte-spawn.scope"]


def test_in_the_first_version_of_cgroups_there_is_none(kernel: Kernel) -> None:
    kernel.shows(str(kernel.mount), kind="cgroup")
    assert kernel.make() is None
    kernel.shows(str(kernel.mount))
    (kernel.proc / "self/cgroup").write_text(f"4:memory:{SCOPE}\n8:pids:/\n")
    assert kernel.make() is None


@pytest.mark.parametrize("path", ["/../../other.slice/x.scope", "/elsewhere/x.scope (deleted)"])
def test_a_cgroup_that_our_mount_does_not_show_gives_none(kernel: Kernel, path: str) -> None:
    kernel.place("self", path)
    assert kernel.make() is None


def test_a_system_without_cgroups_gives_none(tmp_path: Path) -> None:
    assert cgroups.make("ws-1", LocalConfig(data_dir=tmp_path), proc=tmp_path / "missing") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_parent_that_belongs_to_somebody_else_gives_none(kernel: Kernel) -> None:
    kernel.slice.chmod(0o500)
    try:
        assert kernel.make() is None
    finally:
        kernel.slice.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "limit"), [("memory.max", "1073741824"), ("memory.high", "1073741824"), ("cpu.max", "50000 100000")]
)
def test_a_limit_that_the_server_was_given_is_not_left(kernel: Kernel, name: str, limit: str) -> None:
    own = kernel.slice / "vte-spawn.scope" / name
    own.write_text(f"{limit}\n")
    assert kernel.make() is None
    own.write_text("max 100000\n" if name == "cpu.max" else "max\n")
    assert kernel.make() is not None


def test_leftovers_go_and_what_may_still_be_entered_or_is_in_use_stays(kernel: Kernel) -> None:
    leftover, fresh, used, foreign = (
        kernel.slice / name
        for name in ("vaporform-sandbox-a-1-0", "vaporform-sandbox-b-1-0", "vaporform-sandbox-c-1-0", "other.scope")
    )
    for path in (leftover, fresh, used, foreign):
        path.mkdir()
    (used / "cgroup.procs").write_text("42\n")  # here a file keeps a folder, as a process does with the kernel's
    for path in (leftover, used, foreign):
        os.utime(path, (LONG_AGO, LONG_AGO))
    assert kernel.make() is not None
    assert [path.exists() for path in (leftover, fresh, used, foreign)] == [False, True, True, True]


def test_what_cannot_be_removed_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/cgroup.procs").write_text("42\n")
    Cgroup(tmp_path / "used").remove()
    Cgroup(tmp_path / "missing").remove()
    assert (tmp_path / "used").exists()


def test_the_command_enters_before_it_becomes_the_program(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    script = f'cat {tmp_path}/cgroup.procs; echo $$ "$1"'
    with subprocess.Popen(
        Cgroup(tmp_path).entered_by(["/bin/sh", "-c", script, "sh", "a 'word'"]), stdout=subprocess.PIPE, env={}
    ) as process:
        said, _ = process.communicate(timeout=30)
    assert said.decode() == f"0\n{process.pid} a 'word'\n"


def test_a_cgroup_that_cannot_be_entered_does_not_stand_in_the_way(tmp_path: Path) -> None:
    done = subprocess.run(
        Cgroup(tmp_path / "missing").entered_by(["/bin/echo", "went on"]), capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"went on\n", b"")


def test_only_a_process_in_a_sandboxes_cgroup_with_both_limits_is_held(kernel: Kernel) -> None:
    made = kernel.make()
    assert made is not None
    kernel.place("42", f"/{SLICE}/{made.path.name}")
    kernel.place("43", SCOPE)
    assert cgroups.holds(42, proc=kernel.proc)
    assert not cgroups.holds(43, proc=kernel.proc)
    assert not cgroups.holds(44, proc=kernel.proc)
    assert not cgroups.holds(0, proc=kernel.proc)
    (made.path / "memory.max").write_text("max\n")
    assert not cgroups.holds(42, proc=kernel.proc)


def test_what_is_open_is_told_by_whether_a_cgroup_holds(tmp_path: Path) -> None:
    config = LocalConfig(data_dir=tmp_path, memory_mb=512)
    without = gaps_of(config, "none", own_user=True, in_cgroup=False)
    held = gaps_of(config, "none", own_user=True, in_cgroup=True)
    assert [gap for gap in without if gap not in held] == [
        "memory is limited for each process (512 MB), not for all of them together"
    ]
    assert set(held) < set(without)
