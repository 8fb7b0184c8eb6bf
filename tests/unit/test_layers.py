"""What importing costs and loads: the rules that a linter of the source cannot see."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import vaporform_mcp

ROOT = Path(__file__).parents[2]

PROTOCOL_AND_VALIDATION = {"mcp", "mcp_types", "pydantic", "pydantic_settings", "starlette", "uvicorn"}
SDKS = {"daytona", "pymongo", "bson", "gridfs"}


def loaded_by(module: str) -> set[str]:
    """Names of everything that a fresh interpreter has loaded after importing `module`."""
    probe = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_but_the_package() -> None:
    added = loaded_by("vaporform_mcp") - loaded_by("sys")
    assert added == {"vaporform_mcp"}


@pytest.mark.parametrize("module", ["tools", "manager", "workspace", "sandboxes.local", "stores.sqlite"])
def test_the_core_loads_neither_the_protocol_nor_validation_nor_an_sdk(module: str) -> None:
    assert not loaded_by(f"vaporform_mcp.{module}") & (PROTOCOL_AND_VALIDATION | SDKS)


def test_a_server_of_the_embedded_store_loads_no_sdk() -> None:
    assert not loaded_by("vaporform_mcp.cli, vaporform_mcp.app") & SDKS


@pytest.mark.parametrize(("sandbox", "ahead"), [("local", ".load()"), ("daytona", "")])
def test_a_server_loads_daytonas_sdk_only_where_it_is_used_and_never_to_start(
    sandbox: str, ahead: str, tmp_path: Path
) -> None:
    probe = (
        f"import sys; from vaporform_mcp import app, settings as s; app.serving(s.load()){ahead}; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "VAPORFORM_DATA_DIR": str(tmp_path / "data"),
            "VAPORFORM_SANDBOX": sandbox,
            "DAYTONA_API_KEY": "a-key",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "anyio" in loaded
    assert not loaded & {"daytona", "daytona_api_client_async", "daytona_toolbox_api_client_async", "aiohttp"}


def test_the_installed_version_is_the_one_the_package_states() -> None:
    assert version("vaporform-mcp") == vaporform_mcp.__version__


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="vaporform-mcp")
    assert command.value == "vaporform_mcp.cli:main"


def test_the_root_exports_only_its_version() -> None:
    assert vaporform_mcp.__all__ == ["__version__"]


def test_the_lock_carries_no_address_and_a_hash_for_every_package() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = [entry for entry in lock.replace("\\\n", " ").splitlines() if not entry.startswith("#")]
    assert "://" not in lock
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_lock_names_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {line.partition("==")[0] for line in lock.splitlines() if "==" in line and not line.startswith("#")}
    assert {requirement_name(line) for line in declared} <= locked


def requirement_name(requirement: str) -> str:
    """The distribution's name in a requirement, which ends where its extras, versions or markers begin."""
    return requirement.translate(str.maketrans("[><=!~; ", "        ")).split()[0]
