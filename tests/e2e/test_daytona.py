"""The main job with sandboxes of Daytona's, from the real server to an emulator of the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators.daytona.emulator import Emulator, start_emulator

LIMIT_S = 200.0


@pytest.fixture(scope="module")
def emulator(namespaces: None) -> Iterator[Emulator]:
    started = start_emulator()
    yield started
    started.stop()


@pytest.fixture
def environment(emulator: Emulator, tmp_path: Path) -> dict[str, str]:
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "VAPORFORM_DATA_DIR": str(tmp_path / "data"),
        "VAPORFORM_SANDBOX": "daytona",
        "VAPORFORM_DAYTONA__API_URL": emulator.api_url,
        "DAYTONA_API_KEY": emulator.key,
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vaporform_mcp", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def left_over(emulator: Emulator) -> list[str]:
    """The names of the sandboxes that the service still has."""
    headers = {"Authorization": f"Bearer {emulator.key}"}
    request = urllib.request.Request(f"{emulator.api_url}/sandbox", headers=headers)  # noqa: S310  # ours
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=20) as answer:
        return [each["name"] for each in json.load(answer)["items"] if each["state"] not in {"destroying", "destroyed"}]


def test_the_main_job_goes_as_it_should_and_leaves_no_sandbox_behind(
    emulator: Emulator, environment: dict[str, str]
) -> None:
    done = run(environment, "demo")
    assert done.returncode == 0, done.stdout
    assert "anyone with the URL" in " ".join(done.stdout.split())
    assert left_over(emulator) == []
    assert emulator.key not in done.stdout
