"""The tools through the real server, from the write of a file to the deletion of its workspace."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from PIL import Image

from tests.contract.network import free_port
from tests.e2e.stdio_client import (
    MODERN,
    PROGRAM,
    Result,
    StdioServer,
    environment_in,
    result_of,
    stop_sandboxes,
)

END_LIMIT_S = 10.0
MAX_RESULT_CHARS = 40_000
LEVELS = ["namespaces", "restricted"]
ERAS = ["2025-11-25", MODERN]


@pytest.fixture(scope="module", params=LEVELS)
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if request.param == "namespaces":
        request.getfixturevalue("namespaces")
    made = environment_in(
        tmp_path_factory.mktemp("tools"), VAPORFORM_TOOLS="all", VAPORFORM_LOCAL__ISOLATION=request.param
    )
    yield made
    stop_sandboxes(made)


@pytest.fixture(scope="module")
def server(environment: dict[str, str]) -> Iterator[StdioServer]:
    with StdioServer(environment) as started:
        yield started


@pytest.fixture(scope="module")
def schemas(server: StdioServer) -> dict[str, dict[str, Any] | None]:
    tools = server.request("tools/list")["result"]["tools"]
    return {tool["name"]: tool.get("outputSchema") for tool in tools}


def words(text: str) -> set[str]:
    """Names, paths, addresses and numbers: what a model could not guess."""
    found = re.findall(r"https?://[^\s)]+|[\w./-]*[\d/_][\w./-]*", text.replace(",", ""))
    return {word.rstrip(".") for word in found}


def check_both_views(result: Result, schema: dict[str, Any] | None) -> None:
    """What a client shows that shows only text, and what one shows that shows only structured content."""
    assert not result.is_error, result.text
    assert result.facts["workspace"]
    assert len(result.text) <= MAX_RESULT_CHARS
    if schema is None:
        assert result.structured is None
        return
    assert result.structured is not None
    jsonschema.validate(result.structured, schema)
    shown = json.dumps(result.structured, ensure_ascii=False).replace(",", "")
    durations = r"after [\d.]+ \w+( \d+ s)?|running for [\d.]+ \w+( \d+ s)?|\d[\d.]* (B|KB|MB)\b"
    assert {word for word in words(re.sub(durations, "", result.text)) if word not in shown} == set()


def test_every_result_tells_the_same_to_each_kind_of_client(
    server: StdioServer, schemas: dict[str, dict[str, Any] | None]
) -> None:
    calls: list[tuple[str, dict[str, object]]] = [
        ("open_workspace", {"name": "views"}),
        ("write_to_file", {"path": "src/a.py", "content": "print('hi')\n"}),
        ("read_file", {"path": "src/a.py"}),
        ("replace_in_file", {"path": "src/a.py", "diff": edit("print('hi')", "print('ho')")}),
        ("list_files", {"recursive": True}),
        ("search_files", {"regex": "print"}),
        ("execute_command", {"command": "python3 src/a.py"}),
        ("execute_command", {"command": "sleep 600", "wait": 0}),
        ("check_process", {}),
        ("get_preview_url", {"port": free_port()}),
        ("list_workspaces", {}),
        ("attempt_completion", {"result": "done"}),
        ("history", {}),
        ("diff", {"from": 1}),
        ("checkpoint", {"label": "labelled"}),
        ("restore", {"to": 1, "path": "src/a.py"}),
    ]
    for tool, arguments in calls:
        named = {} if tool in {"open_workspace", "list_workspaces"} else {"workspace": "views"}
        check_both_views(server.call(tool, **arguments, **named), schemas[tool])
    running = server.call("check_process", workspace="views").facts["processes"]
    process_id = next(each["process_id"] for each in running if each["state"] == "running")
    check_both_views(server.call("check_process", process_id=process_id, workspace="views"), schemas["check_process"])
    stopped = server.call("stop_process", process_id=process_id, workspace="views")
    check_both_views(stopped, schemas["stop_process"])
    assert stopped.facts["state"] == "killed"
    check_both_views(server.call("delete_workspace", name="views", confirm=True), schemas["delete_workspace"])


def edit(old: str, new: str) -> str:
    return f"------- SEARCH\n{old}\n=======\n{new}\n+++++++ REPLACE"


def test_a_file_is_written_read_edited_and_run(server: StdioServer) -> None:
    written = server.call("write_to_file", filePath="loop/main.py", content="print(1 + 1)\n", task_progress="- [ ]")
    assert written.text == f"Wrote loop/main.py (13 bytes), mirrored as revision {written.facts['revision']}."
    assert set(written.facts) == {"workspace", "path", "size", "digest", "mirrored", "revision"}
    read = server.call("read_file", absolutePath="/workspace/loop/main.py")
    assert read.text == "print(1 + 1)\n"
    assert read.facts["source"] == "sandbox"
    edited = server.call("replace_in_file", path="loop/main.py", diff=edit("print(1 + 1)", "print(2 + 2)"))
    assert "+print(2 + 2)" in edited.text
    ran = server.call("execute_command", command="python3 main.py", cwd="loop", requires_approval="false")
    assert ran.text.splitlines()[1:] == ["4"]
    assert ran.facts["state"] == "exited"
    assert ran.facts["exit_code"] == 0


def test_unknown_arguments_are_named_wherever_a_client_looks(server: StdioServer) -> None:
    written = server.call("write_to_file", path="n.txt", content="x", overwrite=True)
    notice = "Ignored unknown arguments: overwrite"
    assert written.text.startswith(f"[{notice}]\n")
    assert written.structured is not None
    assert written.structured["notices"] == [notice]


def test_a_command_that_fails_is_a_result(server: StdioServer) -> None:
    failed = server.call("execute_command", command="echo out; echo err >&2; exit 3")
    assert not failed.is_error
    assert failed.facts["exit_code"] == 3
    assert {"out", "err"} <= set(failed.text.splitlines())


def test_environment_stdin_and_timeout_reach_the_command(server: StdioServer) -> None:
    ran = server.call("execute_command", command='echo "$A"; cat', env={"A": 1}, stdin="from stdin")
    assert ran.text.splitlines()[1:] == ["1", "from stdin"]
    slow = server.call("execute_command", command="echo begun; sleep 600", timeout="0.5")
    assert slow.facts["state"] == "timed_out"
    assert "begun" in slow.text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"command": ""}, "invalid_argument"),
        ({"command": "  "}, "invalid_argument"),
        ({"command": "echo a\0b"}, "invalid_argument"),
        ({"command": "x" * 200_000}, "invalid_argument"),
        ({"command": "true", "timeout": -1}, "invalid_argument"),
        ({"command": "true", "timeout": 1e12}, "invalid_argument"),
        ({"command": "true", "env": {"A B": "c"}}, "invalid_argument"),
        ({"command": "true", "cwd": "no/such/folder"}, "not_found"),
    ],
)
def test_a_command_that_cannot_be_run_is_an_error_that_says_why(
    server: StdioServer, arguments: dict[str, object], code: str
) -> None:
    refused = server.call("execute_command", **arguments)
    assert refused.is_error
    assert refused.facts["code"] == code
    assert refused.facts["hint"]
    assert refused.facts["hint"] in refused.text.splitlines()[0]


def test_output_without_end_is_answered_within_the_limit_with_its_begin_and_end(server: StdioServer) -> None:
    flood = server.call("execute_command", command="echo first; seq 1 2000000; echo last")
    assert len(flood.text) <= MAX_RESULT_CHARS
    lines = flood.text.splitlines()
    assert lines[1] == "first"
    assert lines[-1] == "last"
    assert flood.facts["omitted_bytes"] > 10_000_000
    assert "bytes left out here" in flood.text


def test_output_is_read_as_a_terminal_would_show_it(server: StdioServer) -> None:
    shown = server.call("execute_command", command=r"printf '\033[31mred\033[0m\n10%%\r100%%\n\377\n'")
    assert shown.text.splitlines()[1:] == ["red", "100%", "\ufffd"]


def test_a_command_that_outlives_its_call_is_followed_and_stopped(server: StdioServer) -> None:
    line = "echo one; read line; echo got $line; sleep 600"
    begun = server.call("execute_command", command=line, background=True, wait=0)
    assert begun.facts["state"] == "running"
    process_id = begun.facts["process_id"]
    assert f'check_process(process_id="{process_id}"' in begun.text.splitlines()[0]
    checked = server.call("check_process", process_id=process_id, input="two\n", offset=4, wait=20)
    assert "got two" in checked.text
    stopped = server.call("stop_process", process_id=process_id)
    assert stopped.facts["state"] == "killed"
    assert server.call("check_process", process_id=process_id).facts["state"] == "killed"
    unknown = server.call("check_process", process_id="no-such")
    assert unknown.facts["code"] == "not_found"


def test_a_server_started_in_the_background_is_reached_by_its_preview(server: StdioServer) -> None:
    server.call("write_to_file", path="site/index.html", content="<h1>from the sandbox</h1>")
    port = free_port()
    serving = server.call(
        "execute_command", command=f"python3 -m http.server {port}", cwd="site", background=True, wait=20
    )
    assert serving.facts["state"] == "running"
    (preview,) = [each for each in serving.facts["previews"] if each["port"] == port]
    assert f"Preview of port {port}: {preview['url']} (only this computer)" in serving.text
    again = server.call("get_preview_url", port=str(port))
    assert again.structured == {"port": port, "url": preview["url"], "public": False, "workspace": "default"}
    with urllib.request.urlopen(preview["url"], timeout=20) as page:  # noqa: S310 an address of this computer
        assert b"from the sandbox" in page.read()
    server.call("stop_process", process_id=serving.facts["process_id"])


def test_an_image_is_seen_as_an_image_and_scaled_to_what_models_see(server: StdioServer) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3000, 1500), "purple").save(buffer, "PNG")
    content = base64.b64encode(buffer.getvalue()).decode()
    server.call("write_to_file", path="a.png", content=content, encoding="base64")
    shown = server.call("read_file", path="a.png")
    (image,) = shown.images
    assert image["mimeType"] == "image/png"
    assert Image.open(io.BytesIO(base64.b64decode(image["data"]))).size == (1568, 784)
    assert "3000 x 1500" in shown.text
    assert shown.facts["encoding"] == "base64"


def test_base64_that_is_none_writes_nothing(server: StdioServer) -> None:
    refused = server.call("write_to_file", path="bad.bin", content="not base64!", encoding="base64")
    assert refused.facts["code"] == "invalid_argument"
    assert server.call("read_file", path="bad.bin").facts["code"] == "not_found"


def test_a_file_that_is_missing_is_an_error_that_suggests_one_that_is_there(server: StdioServer) -> None:
    server.call("write_to_file", path="src/settings.py", content="x = 1\n")
    missing = server.call("read_file", path="src/setings.py")
    assert missing.facts["code"] == "not_found"
    assert "src/settings.py" in missing.text.splitlines()[0]


def test_a_long_file_is_read_in_parts(server: StdioServer) -> None:
    content = "".join(f"line {number}\n" for number in range(1, 12_001))
    server.call("write_to_file", path="long.txt", content=content)
    pieces: list[str] = []
    start: int | None = 1
    while start is not None:
        part = server.call("read_file", path="long.txt", start_line=start)
        assert len(part.text) <= MAX_RESULT_CHARS
        pieces.append(part.text.partition("[lines ")[0])
        start = part.facts.get("next_line")
    assert "".join(pieces) == content
    assert len(pieces) > 1


@pytest.mark.parametrize("protocol", ERAS)
def test_a_call_over_a_second_reports_progress_that_only_grows(environment: dict[str, str], protocol: str) -> None:
    with StdioServer(environment, protocol=protocol) as server:
        command = {"command": "for n in 1 2 3 4; do echo step $n; sleep 0.8; done"}
        request_id = server.begin_call("execute_command", command, {"_meta": {"progressToken": "token"}})
        assert result_of(server.answer(request_id)).facts["exit_code"] == 0
        reports = [each["params"] for each in server.notifications if each["method"] == "notifications/progress"]
        assert len(reports) >= 2
        assert all(report["progressToken"] == "token" for report in reports)
        amounts = [report["progress"] for report in reports]
        assert amounts == sorted(set(amounts))
        assert any(report["message"].startswith("step ") for report in reports)
        server.notifications.clear()
        server.call("execute_command", command="echo no token; sleep 1.5")
        assert server.notifications == []


@pytest.mark.parametrize("protocol", ERAS)
def test_a_cancelled_call_kills_its_command(environment: dict[str, str], protocol: str) -> None:
    with StdioServer(environment, protocol=protocol) as server:
        server.call("execute_command", command="rm -f began")
        line = {"command": "touch began; exec sleep 987"}
        request_id = server.begin_call("execute_command", line)
        until(lambda: not server.call("read_file", path="began").is_error)
        cancelled = {"requestId": request_id, "reason": "enough"}
        server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
        count = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 987' || true"
        until(lambda: server.call("execute_command", command=count).text.splitlines()[1:] == ["1"])


def until(condition: Callable[[], bool], *, limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def test_a_slow_call_holds_up_no_other(server: StdioServer) -> None:
    slow = server.begin_call("execute_command", {"command": "sleep 600"})
    assert not server.call("list_files").is_error
    server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": slow}})


def test_past_the_wait_limit_a_command_goes_on_and_its_call_is_answered(environment: dict[str, str]) -> None:
    with StdioServer({**environment, "VAPORFORM_WAIT_LIMIT_S": "1"}) as server:
        server.call("execute_command", command="true")
        waiting = server.call("execute_command", command="sleep 600", wait=500)
        assert waiting.facts["state"] == "running"
        process_id = waiting.facts["process_id"]
        assert server.call("check_process", process_id=process_id, wait=500).facts["state"] == "running"
        server.call("stop_process", process_id=process_id)


def make_doomed(server: StdioServer, name: str) -> None:
    server.call("write_to_file", path="a.txt", content="keep me", workspace=name)


def names(server: StdioServer) -> dict[str, str]:
    return {each["name"]: each["state"] for each in server.call("list_workspaces").facts["workspaces"]}


@pytest.mark.parametrize("protocol", ERAS)
def test_where_the_client_cannot_ask_deletion_wants_a_confirmation(environment: dict[str, str], protocol: str) -> None:
    name = f"unasked-{protocol[:4]}"
    with StdioServer(environment, protocol=protocol) as server:
        make_doomed(server, name)
        first = server.call("delete_workspace", name=name)
        assert first.facts["deleted"] is False
        assert f'delete_workspace(name="{name}", confirm=true)' in first.text
        assert names(server)[name] == "open"
        second = server.call("delete_workspace", name=name, confirm="true")
        assert second.facts["deleted"] is True
        assert f"vaporform-mcp undelete {name}" in second.text
        assert names(server)[name] == "deleted"
        assert server.call("delete_workspace", name=name, confirm=True).facts["code"] == "not_found"


ANSWERS: dict[str, tuple[dict[str, Any], bool]] = {
    "unticked": ({"action": "accept", "content": {"confirm": False}}, False),
    "declined": ({"action": "decline"}, False),
    "dismissed": ({"action": "cancel"}, False),
    "agreed": ({"action": "accept", "content": {"confirm": True}}, True),
}


@pytest.mark.parametrize("protocol", ["2025-06-18", "2025-11-25", MODERN])
def test_where_the_client_can_ask_the_user_decides_whatever_the_agent_confirms(
    environment: dict[str, str], protocol: str
) -> None:
    name = f"asked-{protocol}"
    asked: list[str] = []
    says: dict[str, Any] = {}

    def answers(method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert method == "elicitation/create"
        asked.append(params["message"])
        return says

    def delete(server: StdioServer) -> Result:
        arguments = {"name": name, "confirm": True}
        reply = server.request("tools/call", {"name": "delete_workspace", "arguments": arguments})
        if protocol == MODERN:
            assert reply["result"]["resultType"] == "input_required"
            ((key, question),) = reply["result"]["inputRequests"].items()
            asked.append(question["params"]["message"])
            assert names(server)[name] == "open"
            more = {"inputResponses": {key: says}, "requestState": reply["result"]["requestState"]}
            reply = server.answer(server.begin_call("delete_workspace", arguments, more))
        return result_of(reply)

    with StdioServer(environment, protocol=protocol, capabilities={"elicitation": {}}, answers=answers) as server:
        make_doomed(server, name)
        for answer, deleted in ANSWERS.values():
            says.clear()
            says.update(answer)
            result = delete(server)
            assert asked.pop() == f"Delete workspace {name} (1 file, 7 B)? It stays in the trash for 7 days."
            assert asked == []
            assert result.facts["deleted"] is deleted
            assert names(server)[name] == ("deleted" if deleted else "open")
            assert deleted or "Nothing of workspace" in result.text


def test_an_answer_to_another_question_deletes_nothing(environment: dict[str, str]) -> None:
    with StdioServer(environment, protocol=MODERN, capabilities={"elicitation": {}}) as server:
        make_doomed(server, "one")
        make_doomed(server, "two")
        reply = server.request("tools/call", {"name": "delete_workspace", "arguments": {"name": "one"}})
        state = reply["result"]["requestState"]
        ((key, _),) = reply["result"]["inputRequests"].items()
        yes = {key: {"action": "accept", "content": {"confirm": True}}}
        for stolen in ({"inputResponses": yes, "requestState": state}, {"inputResponses": yes}):
            server.answer(server.begin_call("delete_workspace", {"name": "two"}, stolen))
        made_up = {"inputResponses": yes, "requestState": "v1.made-up"}
        server.answer(server.begin_call("delete_workspace", {"name": "one"}, made_up))
        assert (names(server)["one"], names(server)["two"]) == ("open", "open")


def test_deletion_refuses_arguments_that_it_does_not_know(server: StdioServer) -> None:
    refused = server.call("delete_workspace", name="default", confirm=True, force=True)
    assert refused.facts["code"] == "invalid_argument"
    assert "'force'" in refused.text


@pytest.mark.parametrize("end", ["eof", "sigterm", "sigint", "impatient"])
def test_whatever_ends_the_server_what_it_acknowledged_is_there_for_the_next(tmp_path: Path, end: str) -> None:
    environment = environment_in(tmp_path)
    with StdioServer(environment) as first:
        written = first.call("write_to_file", path="kept.txt", content="kept")
        assert written.facts["mirrored"] is True
        first.call("execute_command", command="echo also > by-command.txt")
        first.begin_call("execute_command", {"command": "sleep 600"})
        if end == "eof":
            first.end_input()
        else:
            first.process.send_signal(signal.SIGINT if end == "sigint" else signal.SIGTERM)
        if end == "impatient":
            first.process.send_signal(signal.SIGTERM)
        assert first.wait(limit_s=END_LIMIT_S) in ({0, 128 + signal.SIGTERM} if end == "impatient" else {0})
        assert "Traceback" not in first.logged()
    with StdioServer(environment) as second:
        assert second.call("read_file", path="kept.txt").text == "kept"
        assert second.call("read_file", path="by-command.txt").text == "also\n"
    stop_sandboxes(environment)


def test_a_workspace_that_cannot_be_opened_is_an_error_and_the_server_goes_on(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the data folder should be")
    with StdioServer({**environment_in(tmp_path), "VAPORFORM_DATA_DIR": str(blocked / "data")}) as server:
        for _ in range(2):
            failed = server.call("read_file", path="a.txt")
            assert failed.facts["code"] == "store_unavailable"
            assert str(tmp_path) not in failed.text
            assert "Traceback" not in failed.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_clients_library_accepts_every_structured_result(
    environment: dict[str, str], mode: str
) -> None:
    parameters = StdioServerParameters(command=PROGRAM[0], args=list(PROGRAM[1:]), env=environment)
    async with Client(stdio_client(parameters), mode=mode) as client:
        opened = await client.call_tool("open_workspace", {"name": "library"})
        assert opened.structured_content is not None
        written = await client.call_tool("write_to_file", {"path": "a", "content": "b", "workspace": "library"})
        assert written.structured_content == {
            "path": "a",
            "size": 1,
            "mirrored": True,
            "revision": written.structured_content["revision"],
            "workspace": "library",
        }
        assert (await client.get_prompt("build", {"goal": "a game"})).messages
