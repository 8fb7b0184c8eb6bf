"""What README says of the emulator is what it serves."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import pytest

from tests.emulators.daytona import emulator as handle
from tests.emulators.daytona.emulator import Emulator

ROOT = Path(__file__).parents[2]
README = (Path(handle.__file__).parent / "README.md").read_text("utf-8")


def test_readme_says_of_each_route_what_it_was_checked_against(emulator: Emulator) -> None:
    table = README.partition("## What each route was checked against")[2]
    first = re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
    named = [name for row in first for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == emulator.routes()


def test_faults_that_readme_names_can_be_set(emulator: Emulator) -> None:
    table = README.partition("Faults of the service")[2].partition("\n## ")[0]
    calls = re.findall(r"`((?:fault|outcome|settings|advance)\([^`…]*\))`", table)
    assert len(calls) > 10
    for call in calls:
        eval(f"emulator.{call}", {"emulator": emulator})  # noqa: S307  # our own document


def test_an_emulator_ends_with_whoever_started_it() -> None:
    program = """if True:
        import os
        from tests.emulators.daytona.emulator import start_emulator
        print(start_emulator().url, flush=True)
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=False)
    port = int(done.stdout.rpartition(b":")[2])
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) != 0:
                return
    pytest.fail("it still listens")


def test_a_fault_of_no_route_is_refused(emulator: Emulator) -> None:
    with pytest.raises(urllib.error.HTTPError):
        emulator.fault("exec", status=500)
