"""The out seam: how failures reach a model, and what is said beside a result."""

from __future__ import annotations

import logging

import pytest

from vaporform_mcp.errors import Conflict, Internal, NotFound, VaporformError
from vaporform_mcp.server.results import FACTS_KEY, failure, internal, success, the_error_in
from vaporform_mcp.tools.spec import MAX_RESULT_CHARS, ImageContent, ToolResult

NOT_FOUND = NotFound("no file src/app.py in the workspace", hint="Did you mean src/main.py?")


def text_of(result: object) -> str:
    content = getattr(result, "content", [])
    return content[0].text


def test_an_errors_first_line_says_what_happened_and_what_to_do() -> None:
    result = failure(NOT_FOUND, workspace="demo")
    assert result.is_error
    assert text_of(result) == "No file src/app.py in the workspace. Did you mean src/main.py?"
    assert result.structured_content is None
    assert result.meta == {
        FACTS_KEY: {
            "code": "not_found",
            "message": "no file src/app.py in the workspace",
            "hint": "Did you mean src/main.py?",
            "retryable": False,
            "workspace": "demo",
        }
    }


@pytest.mark.parametrize(
    ("message", "said"),
    [("write_to_file was not run", "write_to_file was not run."), ("src/a.py is a folder", "src/a.py is a folder.")],
)
def test_names_at_the_beginning_of_an_error_are_left_as_they_are(message: str, said: str) -> None:
    assert text_of(failure(VaporformError(message), workspace="demo")) == said


def test_an_error_that_goes_on_for_ever_is_cut() -> None:
    assert len(text_of(failure(NotFound("x" * 100_000), workspace="demo"))) <= 8_000


def test_a_bug_is_told_without_its_details_which_are_logged_under_the_same_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        told = internal(RuntimeError("/home/user/secret"), tool="read_file")
    assert told.code == "internal"
    assert "secret" not in told.message + told.hint
    incident = told.hint.rpartition("incident ")[2].strip(".")
    assert incident in caplog.text
    assert "/home/user/secret" in caplog.text


def test_an_intended_failure_is_found_in_the_groups_that_task_groups_wrap_it_in() -> None:
    group = BaseExceptionGroup("outer", [ExceptionGroup("inner", [NOT_FOUND]), Conflict("lost a race")])
    assert the_error_in(NOT_FOUND) is NOT_FOUND
    assert the_error_in(group) is NOT_FOUND


def test_a_bug_beside_an_intended_failure_is_a_bug() -> None:
    assert the_error_in(ExceptionGroup("both", [NOT_FOUND, RuntimeError("bug")])) is None
    assert the_error_in(RuntimeError("bug")) is None


def test_notices_come_before_the_text_and_in_structured_content() -> None:
    result = success(
        ToolResult(text="Wrote a.", facts={"path": "a", "digest": "ab"}),
        output={"path": {"type": "string"}},
        workspace="demo",
        notices=["The sandbox was rebuilt", "Ignored unknown arguments: mode"],
    )
    assert text_of(result) == "[The sandbox was rebuilt]\n[Ignored unknown arguments: mode]\nWrote a."
    assert result.structured_content == {
        "path": "a",
        "workspace": "demo",
        "notices": ["The sandbox was rebuilt", "Ignored unknown arguments: mode"],
    }
    assert result.meta == {FACTS_KEY: {"workspace": "demo", "path": "a", "digest": "ab"}}


def test_no_text_is_over_the_limit() -> None:
    result = success(ToolResult(text="x" * 200_000, facts={}), output=None, workspace="demo", notices=["y" * 5_000])
    assert len(text_of(result)) <= MAX_RESULT_CHARS


def test_text_that_json_cannot_carry_is_replaced() -> None:
    result = success(ToolResult(text="a\ud800b", facts={}), output=None, workspace="demo", notices=[])
    assert text_of(result) == "a?b"


def test_images_follow_the_text() -> None:
    image = ImageContent(data=b"\x89PNG", mime_type="image/png")
    result = success(ToolResult(text="a.png", facts={}, images=(image,)), output=None, workspace="demo", notices=[])
    assert [block.type for block in result.content] == ["text", "image"]


def test_an_internal_error_is_not_offered_for_retrying() -> None:
    assert Internal.retryable is False
