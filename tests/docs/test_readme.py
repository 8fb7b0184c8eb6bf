"""What README says is what the code does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from vaporform_mcp.cli import build_parser
from vaporform_mcp.settings import known_settings, load
from vaporform_mcp.tools.catalogue import offered

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"^```console\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
JSON_BLOCKS = re.findall(r"^```json\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def _table(name: str) -> list[list[str]]:
    block = README.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    rows = [line for line in block.strip().splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    assert COMMANDS == ["make demo", "make test"]
    if shutil.which("make") is None:
        pytest.fail("README needs make, and so does this test")
    for command in COMMANDS:
        done = subprocess.run(
            [*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_table_of_tools_is_the_list_that_clients_are_given() -> None:
    assert {row[0].strip("`") for row in _table("tools")} == set(offered("standard"))
    sentence = README.partition("`VAPORFORM_TOOLS=core` shows four")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", sentence)) - {"all"}
    assert set(offered("all")) - set(offered("standard")) == named


def test_the_facts_of_a_completion_are_those_of_its_schema() -> None:
    sentence = README.partition("`attempt_completion` has them as structured")[2].partition("\n\n")[0]
    output = offered("all")["attempt_completion"].output
    assert output is not None
    assert set(re.findall(r"`(\w+)`", sentence)) == set(output)


def test_the_table_of_settings_is_what_can_be_set() -> None:
    rows = [(name.strip("`"), default.strip("`"), meaning) for name, default, meaning in _table("settings")]
    known = [(setting.name, setting.default, setting.meaning) for setting in known_settings()]
    assert rows == [(name, default or "", meaning) for name, default, meaning in known]


def test_the_commands_for_people_are_named_and_exist() -> None:
    sentence = README.partition("commands for people:")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", sentence))
    text = build_parser().format_help()
    assert named
    assert all(f"\n  {name} " in text for name in named)


@pytest.mark.parametrize("block", JSON_BLOCKS)
def test_a_clients_configuration_starts_the_server_and_nothing_else(block: str) -> None:
    [(_, servers)] = json.loads(block).items()
    assert servers["vaporform"]["command"] == "vaporform-mcp"
    assert servers["vaporform"].get("args", []) == []
    assert set(servers["vaporform"].get("env", {})) <= {setting.name for setting in known_settings()} | {
        "DAYTONA_API_KEY"
    }


def test_the_configuration_for_daytona_is_one_that_the_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    [environment] = [env for block in JSON_BLOCKS if (env := _server_in(block).get("env"))]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert settings.sandbox == "daytona"
    assert settings.daytona.api_key.get_secret_value() == environment["DAYTONA_API_KEY"]
    assert (settings.daytona.auto_stop_min, settings.daytona.max_running) == (10, 3)


def _server_in(block: str) -> dict[str, dict[str, str]]:
    [servers] = json.loads(block).values()
    return servers["vaporform"]


def test_the_configuration_of_codex_is_valid_toml() -> None:
    [block] = re.findall(r"^```toml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert tomllib.loads(block)["mcp_servers"]["vaporform"]["command"] == "vaporform-mcp"


@pytest.mark.parametrize(
    "document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda path: path.name
)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target
