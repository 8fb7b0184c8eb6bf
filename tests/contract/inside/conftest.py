"""Supervisors for the tests of their wire."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.inside.supervised import Client, Level, Supervised, supervise
from vaporform_mcp.sandboxes.supervised.fields import JsonValue
from vaporform_mcp.sandboxes.supervised.inside.confinement import LOWEST_ABI
from vaporform_mcp.sandboxes.supervised.inside.landlock import supported_abi

KERNELS: dict[str, dict[str, JsonValue]] = {
    "of this kernel": {},
    "without scopes": {"abi": 5},
    "of 6.2": {"abi": 3},
    "without copies of descriptors": {"addfd": True},
    "of an old kernel in a container": {"abi": 4, "addfd": True},
}


@pytest.fixture(scope="session")
def landlock() -> None:
    """Skips where this kernel cannot restrict."""
    try:
        abi = supported_abi()
    except OSError:
        abi = 0
    if abi < LOWEST_ABI:
        pytest.skip("this kernel has no Landlock, or too old a one")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture(params=["namespaces", "restricted"])
def level(request: pytest.FixtureRequest) -> Level:
    """What isolates."""
    chosen: Level = request.param
    request.getfixturevalue("namespaces" if chosen == "namespaces" else "landlock")
    return chosen


@pytest.fixture(params=["plain", "restricted"])
def plain(request: pytest.FixtureRequest, place: Path) -> Iterator[Supervised]:
    """One whose workspace the test itself may fill. Its commands are this machine's: none here may kill without aim."""
    if request.param == "restricted":
        if os.geteuid() == 0:
            pytest.skip("what the test makes there would be root's, the supervisor another user's")
        request.getfixturevalue("landlock")
    with supervise(place, level=request.param) as supervised:
        yield supervised


@pytest.fixture
def isolated(place: Path, level: Level) -> Iterator[Supervised]:
    """As in a real sandbox."""
    with supervise(place, level=level) as supervised:
        yield supervised


@pytest.fixture
def client(plain: Supervised) -> Client:
    return plain.attach()


@pytest.fixture
def inner(isolated: Supervised) -> Client:
    return isolated.attach()


@pytest.fixture(params=KERNELS)
def each(request: pytest.FixtureRequest, place: Path, landlock: None) -> Iterator[Supervised]:
    """A sandbox by each of the ways that kernels leave."""
    with supervise(place, level="restricted", restricted=KERNELS[request.param]) as supervised:
        yield supervised


@pytest.fixture
def one(place: Path, landlock: None) -> Iterator[Supervised]:
    with supervise(place, level="restricted") as supervised:
        yield supervised
