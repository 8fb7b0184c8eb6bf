"""What clients are told about the tools, which every user pays for on every turn."""

from __future__ import annotations

import json
from typing import Literal

import jsonschema
import pytest
from mcp_types import Tool

from vaporform_mcp.server.instructions import MAX_INSTRUCTIONS_CHARS, instructions
from vaporform_mcp.server.schemas import tool
from vaporform_mcp.tools.catalogue import offered

Profile = Literal["core", "standard", "all"]
PROFILES: tuple[Profile, ...] = ("core", "standard", "all")

CORE = {"write_to_file", "read_file", "execute_command", "attempt_completion"}
STANDARD = CORE | {
    "replace_in_file",
    "list_files",
    "search_files",
    "check_process",
    "stop_process",
    "get_preview_url",
    "open_workspace",
    "list_workspaces",
    "history",
    "restore",
}
ALL = STANDARD | {"delete_workspace", "diff", "checkpoint", "snapshots"}

READ_ONLY = {"read_file", "list_files", "search_files", "get_preview_url", "list_workspaces", "history", "diff"}
TEXT_ONLY = {
    "read_file",
    "execute_command",
    "check_process",
    "search_files",
    "list_files",
    "replace_in_file",
    "history",
    "diff",
}
PLAIN_WORDS = {"history", "diff", "checkpoint", "restore"}
MAX_LIST_BYTES = {"core": 10 * 1024, "standard": 10 * 1024, "all": 16 * 1024}


def listed(profile: Profile) -> list[Tool]:
    return [tool(spec) for spec in offered(profile).values()]


def as_json(described: Tool) -> str:
    return described.model_dump_json(by_alias=True, exclude_none=True)


def test_the_profiles_have_their_tools() -> None:
    assert offered("core").keys() == CORE
    assert offered("standard").keys() == STANDARD
    assert offered("all").keys() == ALL


@pytest.mark.parametrize("profile", PROFILES)
def test_the_list_of_tools_is_small(profile: Profile) -> None:
    wire = [each.model_dump(by_alias=True, exclude_none=True, mode="json") for each in listed(profile)]
    assert len(json.dumps({"tools": wire}, separators=(",", ":"))) <= MAX_LIST_BYTES[profile]


@pytest.mark.parametrize("described", listed("all"), ids=lambda each: each.name)
def test_every_schema_is_one(described: Tool) -> None:
    jsonschema.Draft202012Validator.check_schema(described.input_schema)
    if described.output_schema is not None:
        jsonschema.Draft202012Validator.check_schema(described.output_schema)


def test_tools_whose_answer_is_text_have_no_output_schema_and_all_others_have_one() -> None:
    assert {each.name for each in listed("all") if each.output_schema is None} == TEXT_ONLY


def test_only_tools_that_change_nothing_say_that_they_are_read_only() -> None:
    hints = {each.name: each.annotations for each in listed("all") if each.annotations}
    assert {name for name, hint in hints.items() if hint.read_only_hint} == READ_ONLY
    assert {name for name, hint in hints.items() if hint.destructive_hint} == {
        "write_to_file",
        "replace_in_file",
        "execute_command",
        "stop_process",
        "delete_workspace",
        "restore",
        "snapshots",
    }


def test_every_tool_but_those_about_workspaces_takes_the_workspace() -> None:
    taking = {each.name for each in listed("all") if "workspace" in each.input_schema["properties"]}
    assert offered("all").keys() - taking == {"open_workspace", "list_workspaces", "delete_workspace"}


def test_only_what_would_do_more_without_an_argument_refuses_unknown_ones_in_its_schema() -> None:
    closed = {each.name for each in listed("all") if each.input_schema.get("additionalProperties") is False}
    assert closed == {"delete_workspace", "restore", "snapshots"}


@pytest.mark.parametrize("profile", PROFILES)
def test_the_instructions_are_short_and_name_only_what_is_offered(profile: Profile) -> None:
    tools = offered(profile)
    said = instructions(tools, workspace="a" * 40, wait_limit_s=45)
    assert len(said) <= MAX_INSTRUCTIONS_CHARS
    assert [name for name in offered("all") if name in said and name not in tools] == []


def test_no_core_tools_description_names_a_tool_that_may_not_be_offered() -> None:
    for described in listed("core"):
        others = offered("all").keys() - CORE - PLAIN_WORDS
        assert [other for other in others if other in as_json(described)] == []
