"""What clients send as arguments, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.tools.arguments import (
    choice,
    flag,
    mapping,
    optional_seconds,
    optional_text,
    optional_whole,
    parse,
    schema,
    text,
    whole,
)

PATH = text("path", "Where", aliases=("file_path", "filename"))
CONTENT = text("content")
ENCODING = choice("encoding", ("utf-8", "base64"), default="utf-8")
START = optional_whole("start_line", minimum=1)
PORT = whole("port", minimum=1, maximum=65_535)
WAIT = optional_seconds("wait", minimum=0)
RECURSIVE = flag("recursive")
ENV = mapping("env")
NOTE = optional_text("note")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def fault(argument: object, sent: Mapping[str, object]) -> str:
    with pytest.raises(InvalidArgument) as raised:
        parse("tool", (argument,), sent)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return raised.value.message


@pytest.mark.parametrize("name", ["path", "file_path", "filePath", "filename", "FilePath", "file-path"])
def test_an_argument_is_understood_under_its_usual_other_names(name: str) -> None:
    arguments = parse("tool", (PATH,), {name: "a.py"})
    assert arguments[PATH] == "a.py"
    assert arguments.ignored == ()


def test_the_declared_name_beats_an_alias_which_is_then_named_as_ignored() -> None:
    arguments = parse("tool", (PATH,), {"file_path": "other.py", "path": "a.py"})
    assert arguments[PATH] == "a.py"
    assert arguments.ignored == ("file_path",)


@pytest.mark.parametrize("name", ["start_line", "startLine", "start-line"])
def test_names_in_other_spellings_are_understood(name: str) -> None:
    assert parse("tool", (START,), {name: 3})[START] == 3


@pytest.mark.parametrize("sent", [3, 3.0, "3", " 3 ", "3.0", "+3"])
def test_whole_numbers_may_be_sent_as_text(sent: object) -> None:
    assert parse("tool", (START,), {"start_line": sent})[START] == 3


@pytest.mark.parametrize("sent", [True, 3.5, "three", "", "3x", "9" * 5000, [3], {"n": 3}])
def test_what_is_no_whole_number_is_refused(sent: object) -> None:
    assert "start_line must be a whole number" in fault(START, {"start_line": sent})


@pytest.mark.parametrize(("sent", "said"), [(0, "at least 1"), (-4, "at least 1")])
def test_a_number_out_of_range_is_refused_with_the_range(sent: int, said: str) -> None:
    assert said in fault(START, {"start_line": sent})
    assert "port must be between 1 and 65535, not 70000" in fault(PORT, {"port": 70_000})


@pytest.mark.parametrize("sent", ["1.5", 1.5])
def test_seconds_may_be_fractions_and_text(sent: object) -> None:
    assert parse("tool", (WAIT,), {"wait": sent})[WAIT] == 1.5


@pytest.mark.parametrize("sent", [float("nan"), float("inf"), "inf", "nan", 10**400, -1, "soon", True])
def test_what_is_no_length_of_time_is_refused(sent: object) -> None:
    assert fault(WAIT, {"wait": sent}).startswith("tool was not run: wait must be")


@pytest.mark.parametrize("sent", [True, "true", "True", "yes", "1", 1, " on "])
def test_true_may_be_sent_as_text(sent: object) -> None:
    assert parse("tool", (RECURSIVE,), {"recursive": sent})[RECURSIVE] is True


@pytest.mark.parametrize("sent", [False, "false", "No", "0", 0, None])
def test_false_may_be_sent_as_text_or_left_out(sent: object) -> None:
    assert parse("tool", (RECURSIVE,), {"recursive": sent})[RECURSIVE] is False


@pytest.mark.parametrize("sent", ["maybe", 2, [], {}])
def test_what_is_neither_true_nor_false_is_refused(sent: object) -> None:
    assert "recursive must be true or false" in fault(RECURSIVE, {"recursive": sent})


def test_a_number_where_text_is_meant_becomes_text() -> None:
    assert parse("tool", (CONTENT,), {"content": 42})[CONTENT] == "42"


@pytest.mark.parametrize(("sent", "said"), [(["a"], "a list"), ({"a": 1}, "an object"), (True, "true or false")])
def test_a_structure_where_text_is_meant_is_refused(sent: object, said: str) -> None:
    assert fault(CONTENT, {"content": sent}) == f"tool was not run: content must be a string, not {said}"


@pytest.mark.parametrize("sent", [{"A": "1", "B": 2, "C": True}, '{"A": "1", "B": 2, "C": true}'])
def test_an_object_of_strings_may_be_sent_as_json_text(sent: object) -> None:
    assert parse("tool", (ENV,), {"env": sent})[ENV] == {"A": "1", "B": "2", "C": "true"}


@pytest.mark.parametrize("sent", ["A=1", ["A"], {"A": {"B": "C"}}, '["A"]', 3])
def test_what_is_no_object_of_strings_is_refused(sent: object) -> None:
    assert "env must be" in fault(ENV, {"env": sent})


def test_null_is_the_same_as_leaving_an_optional_argument_out() -> None:
    arguments = parse("tool", (NOTE, START, ENCODING, ENV), {"note": None, "start_line": None, "encoding": None})
    assert (arguments[NOTE], arguments[START], arguments[ENCODING], arguments[ENV]) == (None, None, "utf-8", {})
    assert arguments.ignored == ()


def test_all_faults_are_told_at_once_with_what_the_tool_takes() -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse("write", (PATH, CONTENT, ENCODING), {"content": [], "encoding": "latin1"})
    assert raised.value.message == (
        "write was not run: path is missing; content must be a string, not a list; "
        "encoding must be utf-8 or base64, not 'latin1'"
    )
    assert raised.value.hint == "Call it again with what it takes: path, content, encoding?."


def test_unknown_names_are_ignored_and_reported() -> None:
    assert parse("tool", (PATH,), {"path": "a", "overwrite": True, "mode": 1}).ignored == ("overwrite", "mode")


def test_the_checklist_that_some_agents_send_along_is_ignored_silently() -> None:
    arguments = parse("tool", (PATH,), {"path": "a", "task_progress": "- [x] write", "taskProgress": "- [ ] test"})
    assert arguments.ignored == ()


def test_a_closed_tool_refuses_unknown_names() -> None:
    with pytest.raises(InvalidArgument, match="it has no argument 'force'"):
        parse("delete", (PATH,), {"path": "a", "force": True}, closed=True)


def test_text_that_is_not_unicode_is_refused() -> None:
    assert fault(CONTENT, {"content": "\ud800"}) == "tool was not run: content is not valid Unicode text"
    assert "not valid Unicode" in fault(ENV, {"env": {"A": "\ud800"}})


def test_unknown_names_that_are_not_unicode_can_still_be_named() -> None:
    assert parse("tool", (), {"\ud800": 1}).ignored == (r"\ud800",)


def test_a_schema_lists_what_is_required_and_is_open_unless_it_is_closed() -> None:
    described = schema((PATH, ENCODING, START), closed=False)
    assert described == {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Where"},
            "encoding": {"type": "string", "enum": ["utf-8", "base64"]},
            "start_line": {"type": "integer"},
        },
        "required": ["path"],
    }
    assert schema((START,), closed=True)["additionalProperties"] is False


@given(st.dictionaries(st.sampled_from(["path", "port", "wait", "recursive", "env", "encoding", "x"]), JSON))
def test_whatever_is_sent_is_either_understood_or_refused_with_a_reason(sent: dict[str, object]) -> None:
    declared = (PATH, PORT, WAIT, RECURSIVE, ENV, ENCODING)
    try:
        arguments = parse("tool", declared, sent)
    except InvalidArgument as error:
        refusal = error.message
    else:
        refusal = ""
        assert isinstance(arguments[PATH], str)
        assert 1 <= arguments[PORT] <= 65_535
        assert all(isinstance(value, str) for value in arguments[ENV].values())
    assert not refusal or refusal.encode().startswith(b"tool was not run: ")
