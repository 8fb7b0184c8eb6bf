"""Clients that others wrote, the MCP Inspector's command line and the TypeScript SDK, list and call every tool."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.durability.machine import Machine, a_machine
from tests.e2e.judging import assert_fit
from tests.e2e.npm_clients import inspect, installed, through_the_sdk
from tests.e2e.stdio_client import FACTS, Result

TOOLS = 14
SERVE = "exec python3 -m http.server 8125 --bind 127.0.0.1"

CALLS: list[tuple[str, Mapping[str, object], list[str]]] = [
    ("open_workspace", {"name": "other"}, ["other", "ready", "namespaces", "internet", "python3", "node"]),
    ("write_to_file", {"path": "app/main.py", "content": "print('hi')\n"}, ["app/main.py", "12", "1"]),
    ("read_file", {"path": "app/main.py"}, ["print('hi')"]),
    (
        "replace_in_file",
        {"path": "app/main.py", "diff": "------- SEARCH\nprint('hi')\n=======\nprint('ho')\n+++++++ REPLACE\n"},
        ["app/main.py", "1 replacement", "+print('ho')"],
    ),
    ("list_files", {"recursive": True}, ["app/main.py", "12"]),
    ("search_files", {"regex": "h[o]"}, ["app/main.py", "1", "print('ho')"]),
    ("execute_command", {"command": "python3 app/main.py; exit 7"}, ["ho", "7"]),
    ("execute_command", {"command": SERVE, "background": True}, ["http://127.0.0.1:", "8125", "2"]),
    ("check_process", {}, ["http.server 8125", "running", "2"]),
    ("check_process", {"process_id": "2", "offset": 0}, ["running", "2"]),
    ("get_preview_url", {"port": 8125}, ["http://127.0.0.1:", "8125", "only this computer|false"]),
    ("attempt_completion", {"result": "It prints."}, ["http://127.0.0.1:", "complete-", "ython", "1"]),
    ("stop_process", {"process_id": "2"}, ["2", "killed|stopped", "http.server 8125"]),
    ("list_workspaces", {}, ["default", "other"]),
    ("history", {"path": "app/main.py"}, ["write_to_file", "replace_in_file", "1 added", "1 changed"]),
    ("restore", {"to": 1, "path": "app/main.py"}, ["app/main.py", "revision 1", "1 file restored"]),
    ("read_file", {"path": "missing.txt"}, ["missing.txt", "does not exist", "list_files"]),
]
"""Every tool, and what a reader of its result has to learn from it; `|` parts two ways to say it."""


@pytest.fixture(scope="module")
def clients() -> Path:
    return installed()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with a_machine(tmp_path_factory.mktemp("clients")) as made:
        yield made


@pytest.fixture(scope="module")
def session(clients: Path, machine: Machine) -> dict[str, Any]:
    return through_the_sdk(clients, machine.environment, [(name, arguments) for name, arguments, _ in CALLS])


pytestmark = pytest.mark.timeout(420)  # the first test may have to install the clients


def test_the_inspector_lists_the_tools_and_finds_nothing_wrong_with_their_schemas(
    clients: Path, machine: Machine
) -> None:
    listed = inspect(clients, machine.environment, "--method", "tools/list", "--strict")
    assert len(listed["tools"]) == TOOLS


def test_the_inspector_calls_a_tool(clients: Path, machine: Machine) -> None:
    words = ["--method", "tools/call", "--tool-name", "execute_command", "--tool-arg", "command=echo from $((40 + 2))"]
    called = inspect(clients, machine.environment, *words, "workspace=inspected")
    assert "from 42" in called["content"][0]["text"]
    assert called["_meta"][FACTS]["exit_code"] == 0


def test_the_inspector_gets_the_prompt(clients: Path, machine: Machine) -> None:
    words = ["--method", "prompts/get", "--prompt-name", "build", "--prompt-args", "goal=a game"]
    assert "a game" in inspect(clients, machine.environment, *words)["messages"][0]["content"]["text"]


def test_the_typescript_sdk_is_told_who_serves_it_and_lists_the_tools(session: Mapping[str, Any]) -> None:
    assert session["server"]["name"] == "vaporform-mcp"
    assert "open_workspace" in session["instructions"]
    assert {tool["name"] for tool in session["tools"]} == {name for name, _, _ in CALLS}
    assert len(session["tools"]) == TOOLS


@pytest.mark.parametrize("number", range(len(CALLS)), ids=[f"{index}-{row[0]}" for index, row in enumerate(CALLS)])
def test_each_result_holds_the_facts_whichever_part_of_it_a_client_shows(
    session: Mapping[str, Any], machine: Machine, number: int
) -> None:
    """Some clients show a model nothing but the structured content, where there is any; others show the text alone."""
    _, _, facts = CALLS[number]
    raw: dict[str, Any] = session["results"][number]
    only_text = "\n".join(block["text"] for block in raw["content"] if block["type"] == "text")
    structured = raw.get("structuredContent")
    only_structured = json.dumps(structured) if structured is not None else only_text
    for shown in (only_text, only_structured):
        for fact in facts:
            assert any(way in shown for way in fact.split("|")), f"{fact} is not in {shown}"
    assert raw["_meta"][FACTS]["workspace"]
    assert raw.get("isError", False) == (number == len(CALLS) - 1)
    result = Result(text=only_text, facts={}, structured=structured, is_error=False, images=[], raw=raw)
    if structured is None or "toolchains" not in structured:
        assert_fit(result, machine.data_dir)
