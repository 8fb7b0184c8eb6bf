"""What Daytona is asked for each operation: a round trip costs more than the work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.daytona import BOUNDS, Cost, measure
from tests.emulators.daytona.emulator import Emulator, start_emulator

FILES = 1_000
INSIDE = 24
"""The most that a restore asks of what runs in the sandbox; looks at whether it runs are as many as that takes."""


@pytest.fixture(scope="module")
def emulator(namespaces: None) -> Iterator[Emulator]:
    started = start_emulator()
    yield started
    started.stop()


def asked_inside(cost: Cost) -> int:
    return sum(cost.requests.get(route, 0) for route in ("execute", "upload_files", "download_files"))


async def test_no_operation_takes_more_requests_than_its_bound(emulator: Emulator, tmp_path: Path) -> None:
    costs = await measure(emulator, tmp_path, FILES)
    assert costs["execute a command"].requests == {"execute": 1}
    assert asked_inside(costs["restore in a new sandbox"]) <= INSIDE
    over = {name: dict(costs[name].requests) for name, bound in BOUNDS.items() if costs[name].total > bound}
    assert not over
    made = {name: costs[name].requests.get("create_sandbox", 0) for name in costs}
    assert {name for name, number in made.items() if number} == {"open a new workspace", "restore in a new sandbox"}
    assert max(made.values()) == 1, "none of the old epoch is made to be thrown away"


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_nor_do_ten_times_as_many_files_take_more(emulator: Emulator, tmp_path: Path) -> None:
    costs = await measure(emulator, tmp_path, 10 * FILES)
    assert asked_inside(costs["restore in a new sandbox"]) <= INSIDE
    over = {name: dict(costs[name].requests) for name, bound in BOUNDS.items() if costs[name].total > bound}
    assert not over
