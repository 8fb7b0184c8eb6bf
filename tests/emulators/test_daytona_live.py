"""The tests for an account are pointed at the emulator here, since nobody has an account everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from daytona import AsyncDaytona

from tests.emulators.daytona.emulator import Emulator

ROOT = Path(__file__).parents[2]
SOME = "a_session_from or answers_with_its_exit_code or epochs_are_apart"
RUN = """import sys, pytest
status = pytest.main(["tests/live", "-q", "-p", "no:cacheprovider", *sys.argv[1:]])
print("loaded" if "daytona" in sys.modules else "not loaded")
sys.exit(status)
"""


def run_live(*words: str, **variables: str) -> str:
    """What it prints; no test of it may fail."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "TEST_"))}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        cwd=ROOT,
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_those_for_an_account_go_through_and_leave_nothing_there(
    emulator: Emulator, daytona: AsyncDaytona
) -> None:
    said = run_live("-k", SOME, TEST_DAYTONA_API_KEY=emulator.key, TEST_DAYTONA_API_URL=emulator.api_url)
    assert re.search(r"^3 passed, \d+ deselected", said, re.MULTILINE), said
    assert emulator.counters()["requests"]["create_sandbox"] >= 3
    states = [each.state async for each in daytona.list()]
    assert {state.value for state in states if state is not None} <= {"destroying", "destroyed"}


def test_without_a_key_all_are_skipped_with_the_reason_and_the_sdk_is_not_loaded() -> None:
    said = run_live()
    assert re.search(r"^\d+ skipped in", said, re.MULTILINE), said
    assert "set TEST_DAYTONA_API_KEY" in said
    assert said.endswith("not loaded\n")
