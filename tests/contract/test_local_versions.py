"""The versions of toolchains that a sandbox tells: asked once, kept while the programs stay the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.contract.sandboxes import no_phase
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.sandboxes.local.provider import open_local
from vaporform_mcp.types import Spec

KEPT = "toolchains.json"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def node(tmp_path: Path) -> Path:
    program = tmp_path / "node-tree" / "bin" / "node"
    program.parent.mkdir(parents=True)
    tmp_path.chmod(0o755)
    return program


def says(program: Path, version: str) -> None:
    replacement = program.with_suffix(".new")
    replacement.write_text(f"#!/bin/sh\necho v{version}\n")
    replacement.chmod(0o755)
    replacement.replace(program)


async def told(data: Path, node: Path) -> Mapping[str, str]:
    """By a server that has just started."""
    config = LocalConfig(
        data_dir=data,
        network="none",
        linger_s=1.0,
        toolchains=("none", f"+{node.parent.parent}"),
        host_environment=dict(os.environ),
    )
    async with open_local(config) as provider:
        sandbox = await provider.acquire(Spec(provider="local"), "ws", 1, no_phase)
        try:
            return (await sandbox.info()).toolchains
        finally:
            await provider.destroy("ws", 1)


async def test_a_server_that_starts_again_need_not_ask(data: Path, node: Path) -> None:
    says(node, "1.2.3")
    assert (await told(data, node))["node"] == "1.2.3"
    kept = data / KEPT
    kept.write_text(kept.read_text().replace("1.2.3", "1.2.3-kept"))
    assert (await told(data, node))["node"] == "1.2.3-kept"


async def test_a_program_that_was_replaced_is_asked_again(data: Path, node: Path) -> None:
    says(node, "1.2.3")
    assert (await told(data, node))["node"] == "1.2.3"
    says(node, "1.2.4")
    assert (await told(data, node))["node"] == "1.2.4"


@pytest.mark.parametrize("content", ["", "[]", '{"programs": 1}', "\0" * 100, '{"asked_at": "x", "programs": null}'])
async def test_what_is_kept_is_asked_again_where_it_is_damaged(data: Path, node: Path, content: str) -> None:
    says(node, "1.2.3")
    (data / KEPT).write_text(content)
    assert (await told(data, node))["node"] == "1.2.3"
