"""The tools of time travel, as a client meets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.e2e.stdio_client import MODERN, Result, StdioServer, environment_in, result_of, stop_sandboxes


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    made = environment_in(tmp_path_factory.mktemp("travel"), VAPORFORM_TOOLS="all")
    yield made
    stop_sandboxes(made)


@pytest.fixture(scope="module")
def server(environment: dict[str, str]) -> Iterator[StdioServer]:
    with StdioServer(environment, protocol=MODERN) as started:
        yield started


def good(result: Result) -> Result:
    assert not result.is_error, result.text
    return result


def test_work_is_looked_back_upon(server: StdioServer) -> None:
    good(server.call("write_to_file", path="src/a.py", content="print('one')\n", workspace="look"))
    made = good(server.call("checkpoint", label="one works", workspace="look"))
    assert made.text == "Checkpoint one works is revision 2."
    tools = server.request("tools/list")["result"]["tools"]
    (schema,) = [tool["outputSchema"] for tool in tools if tool["name"] == "checkpoint"]
    jsonschema.validate(made.structured, schema)
    good(server.call("execute_command", command="sed -i s/one/two/ src/a.py; touch b", workspace="look"))
    since = good(server.call("diff", **{"from": "one works"}, workspace="look"))
    assert since.text.startswith("From revision 2 (one works) to the sandbox now, revision ")
    assert ": 1 added, 1 changed.\nA b\nM src/a.py\ndiff --git a/b b/b\nnew file mode 100644\n" in since.text
    assert "-print('one')\n+print('two')" in since.text
    assert since.facts["files"] == [{"path": "b", "status": "added"}, {"path": "src/a.py", "status": "changed"}]
    assert since.structured is None
    looked = good(server.call("history", path="/workspace/src/", workspace="look"))
    assert [each["number"] for each in looked.facts["revisions"]] == [3, 1]
    assert looked.facts["revisions"][0]["made_by"].startswith("execute_command: sed")
    assert looked.text.splitlines()[1].endswith("  1 added; write_to_file")
    newest = good(server.call("history", limit="1", workspace="look"))
    assert newest.text.splitlines()[1] == "[there are older ones: before=3]"
    older = good(server.call("history", before=3, workspace="look"))
    assert [each.get("label") for each in older.facts["revisions"]] == ["one works", None]


def test_faults_are_told_with_what_to_do(server: StdioServer) -> None:
    good(server.call("write_to_file", path="a", content="x", workspace="faults"))
    unknown = server.call("diff", to="7", workspace="faults")
    assert (unknown.is_error, unknown.facts["code"]) == (True, "not_found")
    assert unknown.text == "There is no revision 7 yet. The newest is revision 1."
    assert server.call("checkpoint", label="12", workspace="faults").facts["code"] == "invalid_argument"
    assert server.call("history", path="../etc", workspace="faults").facts["code"] == "invalid_path"
    assert good(server.call("history", path="nowhere", workspace="faults")).text == (
        "There is no revision that touched nowhere."
    )
    assert good(server.call("diff", **{"from": 1}, workspace="faults")).text == (
        "Nothing differs between revision 1 and the sandbox now, revision 1."
    )


def test_a_large_diff_stays_within_a_results_bound_and_says_what_it_leaves_out(server: StdioServer) -> None:
    command = "for n in $(seq 300); do seq 200 > file-$n.txt; done"
    good(server.call("execute_command", command=command, workspace="large"))
    shown = good(server.call("diff", workspace="large"))
    assert len(shown.text) < 40_000
    assert shown.facts["added"] == 300
    assert shown.facts["truncated"]
    assert "[and 200 more]" in shown.text
    assert "more files are left out: give a path]" in shown.text


@pytest.mark.parametrize("protocol", ["2025-11-25", MODERN])
def test_a_file_is_restored_at_once_and_undone(environment: dict[str, str], protocol: str) -> None:
    name = f"undo-{protocol[:4]}"
    with StdioServer(environment, protocol=protocol, capabilities={"elicitation": {}}) as server:
        for content in ("one", "two"):
            good(server.call("write_to_file", path="a", content=content, workspace=name))
        restored = good(server.call("restore", revision=1, file_path="/workspace/a", workspace=name))
        assert restored.text == (
            "Restored a to revision 1: 1 file restored, mirrored as revision 3. Undo: restore(to=2, path=a)."
        )
        assert restored.structured is not None
        assert restored.structured["message"] == restored.text
        assert good(server.call("read_file", path="a", workspace=name)).text == "one"
        good(server.call("restore", to="2", path="a", workspace=name))
        assert good(server.call("read_file", path="a", workspace=name)).text == "two"
        again = good(server.call("restore", to="2", path="a", workspace=name))
        assert again.text == "Nothing to restore: a as at revision 2 already."


@pytest.mark.parametrize("protocol", ["2025-11-25", MODERN])
def test_where_the_client_cannot_ask_the_whole_tree_wants_a_confirmation(
    environment: dict[str, str], protocol: str
) -> None:
    name = f"tree-{protocol[:4]}"
    with StdioServer(environment, protocol=protocol) as server:
        good(server.call("write_to_file", path="a", content="one", workspace=name))
        good(server.call("checkpoint", label="first", workspace=name))
        good(server.call("write_to_file", path="b", content="two", workspace=name))
        first = good(server.call("restore", to="first", workspace=name))
        assert first.text.startswith("Not restored yet")
        assert 'restore(to="2", confirm=true)' in first.text
        assert good(server.call("read_file", path="b", workspace=name)).text == "two"
        second = good(server.call("restore", to="first", confirm=True, workspace=name))
        assert (second.facts["files_restored"], second.facts["files_removed"]) == (0, 1)
        assert good(server.call("read_file", path="b", workspace=name)).facts["source"] == "mirror"


@pytest.mark.parametrize("protocol", ["2025-11-25", MODERN])
def test_where_the_client_can_ask_the_user_decides_about_the_whole_tree(
    environment: dict[str, str], protocol: str
) -> None:
    name = f"ask-{protocol[:4]}"
    asked: list[str] = []
    says: dict[str, Any] = {}

    def answers(method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert method == "elicitation/create"
        asked.append(params["message"])
        return says

    def restore(server: StdioServer) -> Result:
        arguments = {"to": "1", "confirm": True, "workspace": name}
        reply = server.answer(server.begin_call("restore", arguments))
        if protocol == MODERN:
            ((key, question),) = reply["result"]["inputRequests"].items()
            asked.append(question["params"]["message"])
            more = {"inputResponses": {key: says}, "requestState": reply["result"]["requestState"]}
            reply = server.answer(server.begin_call("restore", arguments, more))
        return good(result_of(reply))

    with StdioServer(environment, protocol=protocol, capabilities={"elicitation": {}}, answers=answers) as server:
        for content in ("one", "two"):
            good(server.call("write_to_file", path="a", content=content, workspace=name))
        for answer in (
            {"action": "decline"},
            {"action": "cancel"},
            {"action": "accept", "content": {"confirm": False}},
        ):
            says.clear()
            says.update(answer)
            refused = restore(server)
            assert refused.text == "Not restored: the user declined. Nothing was changed."
            assert asked.pop() == (
                f"Make all files of the workspace {name} as they were at revision 1? "
                "What is there now stays in its history, so that this can be undone."
            )
            assert good(server.call("read_file", path="a", workspace=name)).text == "two"
        says.update({"action": "accept", "content": {"confirm": True}})
        assert restore(server).facts["restored"] is True
        assert good(server.call("read_file", path="a", workspace=name)).text == "one"


def test_a_client_that_cannot_ask_though_it_says_so_is_as_one_that_says_not(environment: dict[str, str]) -> None:
    unsupported = {"error": {"code": -32601, "message": "no such method"}}
    says: dict[str, Any] = dict(unsupported)
    declared: dict[str, Any] = {"elicitation": {}}

    def answers(method: str, params: dict[str, Any]) -> dict[str, Any]:
        return says

    with StdioServer(environment, protocol="2025-11-25", capabilities=declared, answers=answers) as server:
        for content in ("one", "two"):
            good(server.call("write_to_file", path="a", content=content, workspace="unasked"))
        assert good(server.call("restore", to="1", workspace="unasked")).text.startswith("Not restored yet")
        for answer in ({"error": {"code": -32603, "message": "the dialog broke"}}, {"action": "whatever"}):
            says.clear()
            says.update(answer)
            unanswered = good(server.call("restore", to="1", confirm=True, workspace="unasked"))
            assert unanswered.text == "Not restored: no answer came from the user. Nothing was changed."
        assert good(server.call("read_file", path="a", workspace="unasked")).text == "two"
        says.clear()
        says.update(unsupported)
        assert good(server.call("restore", to="1", confirm=True, workspace="unasked")).facts["restored"] is True


def test_a_restore_refuses_what_it_does_not_know_and_what_is_not_there(server: StdioServer) -> None:
    good(server.call("write_to_file", path="a", content="x", workspace="refuses"))
    for arguments, code in (
        ({"to": 1, "paht": "a"}, "invalid_argument"),
        ({"to": 1, "path": "../a"}, "invalid_path"),
        ({"to": 1, "path": ".git"}, "invalid_argument"),
        ({"to": "nope", "confirm": True}, "not_found"),
        ({"to": 9, "confirm": True}, "not_found"),
        ({"to": 1, "path": "b"}, "not_found"),
        ({}, "invalid_argument"),
    ):
        refused = server.call("restore", **arguments, workspace="refuses")
        assert (refused.is_error, refused.facts["code"]) == (True, code), refused.text
    assert good(server.call("history", workspace="refuses")).facts["revisions"][0]["number"] == 1
