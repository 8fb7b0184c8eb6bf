"""The example configuration starts the server as a desktop client would."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from pydantic import BaseModel, ConfigDict

from vaporform_mcp.settings import known_settings

EXAMPLE = Path(__file__).parents[2] / "claude_desktop_config.example.json"
COMMANDS = Path(sys.executable).parent


class Server(BaseModel):
    """One server as Claude Desktop's configuration has it."""

    model_config = ConfigDict(extra="forbid")

    command: str
    args: list[str] = []
    env: dict[str, str] = {}


def example() -> Server:
    text = EXAMPLE.read_text(encoding="utf-8")
    (server,) = json.loads(text)["mcpServers"].values()
    return Server.model_validate(server)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_is_configured_with_it_lists_the_tools(mode: str, tmp_path: Path) -> None:
    configured = example()
    path = f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"
    assert Path(shutil.which(configured.command, path=path) or "/").parent == COMMANDS
    parameters = StdioServerParameters(
        command=configured.command,
        args=configured.args,
        env={**configured.env, "PATH": path, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")},
    )
    async with Client(stdio_client(parameters), mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert {"open_workspace", "write_to_file", "execute_command", "attempt_completion"} <= names
    assert [each async for each in anyio.Path(tmp_path).iterdir()] == []  # nothing was made on the disk


def test_it_sets_only_what_there_is() -> None:
    assert set(example().env) <= {setting.name for setting in known_settings()}
