"""The tools of time travel, as a client meets them."""

from __future__ import annotations

from collections.abc import Iterator

import jsonschema
import pytest

from tests.e2e.stdio_client import MODERN, Result, StdioServer, environment_in, stop_sandboxes


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
    assert looked.facts["revisions"][0]["made_by"].startswith(("execute_command: sed", "diff"))
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
