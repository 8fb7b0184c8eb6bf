"""What every client meets before it calls a tool, in every version of the protocol, and how the server ends."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.e2e.stdio_client import FACTS, LEGACY, LIMIT_S, MODERN, PROGRAM, StdioServer, environment_in, result_of
from vaporform_mcp import __version__

END_LIMIT_S = 10.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path)


@pytest.mark.parametrize("version", LEGACY)
def test_a_client_of_each_older_version_gets_its_version_and_the_lists(
    environment: dict[str, str], version: str
) -> None:
    with StdioServer(environment, protocol=version) as server:
        assert json.loads(server.lines[0])["result"]["protocolVersion"] == version
        assert server.request("ping")["result"] == {}
        tools = server.request("tools/list")["result"]["tools"]
        assert len(tools) == 14
        assert [prompt["name"] for prompt in server.request("prompts/list")["result"]["prompts"]] == ["build"]
        assert len(json.dumps(tools, separators=(",", ":"))) <= 10 * 1024


def test_a_client_of_the_newest_version_needs_no_handshake(environment: dict[str, str]) -> None:
    with StdioServer(environment, protocol=MODERN) as server:
        discovered = server.request("server/discover")["result"]
        assert MODERN in discovered["supportedVersions"]
        assert "open_workspace" in discovered["instructions"]
        listed = server.request("tools/list")["result"]
        assert len(listed["tools"]) == 14
        assert len(json.dumps(listed["tools"], separators=(",", ":"))) <= 10 * 1024
        assert listed["ttlMs"] > 0


def test_the_server_introduces_itself_with_short_instructions(environment: dict[str, str]) -> None:
    with StdioServer(environment) as server:
        about = json.loads(server.lines[0])["result"]
    assert about["serverInfo"] == {"name": "vaporform-mcp", "title": "Vaporform", "version": __version__}
    assert len(about["instructions"]) <= 1_500
    assert set(about["capabilities"]) == {"tools", "prompts", "resources", "completions"}


@pytest.mark.parametrize("profile", [("core", 4), ("standard", 14), ("all", 18)])
def test_the_settings_choose_which_tools_there_are(environment: dict[str, str], profile: tuple[str, int]) -> None:
    name, tools = profile
    with StdioServer({**environment, "VAPORFORM_TOOLS": name}) as server:
        assert len(server.request("tools/list")["result"]["tools"]) == tools


def test_nothing_is_made_on_disk_before_a_call_needs_it(environment: dict[str, str]) -> None:
    with StdioServer(environment) as server:
        server.request("tools/list")
        server.request("prompts/get", {"name": "build", "arguments": {"goal": "a game"}})
        server.call("write_to_file", content="no path")
        assert not Path(environment["VAPORFORM_DATA_DIR"]).exists()


@pytest.mark.parametrize("protocol", ["2025-11-25", MODERN])
def test_the_prompt_holds_the_goal_and_the_workspace(environment: dict[str, str], protocol: str) -> None:
    with StdioServer(environment, protocol=protocol) as server:
        got = server.request("prompts/get", {"name": "build", "arguments": {"goal": "a game", "workspace": "fun"}})
        (message,) = got["result"]["messages"]
        assert message["role"] == "user"
        assert "a game" in message["content"]["text"]
        assert "workspace fun" in message["content"]["text"]


@pytest.mark.parametrize("protocol", ["2025-11-25", MODERN])
def test_a_prompt_that_cannot_be_given_says_why(environment: dict[str, str], protocol: str) -> None:
    with StdioServer(environment, protocol=protocol) as server:
        for params in ({"name": "build"}, {"name": "build", "arguments": {"goal": " "}}, {"name": "other"}):
            error = server.request("prompts/get", params)["error"]
            assert error["code"] == -32602
            assert "goal" in error["message"] or "there is 'build'" in error["message"]


@pytest.mark.parametrize("protocol", ["2025-11-25", MODERN])
def test_wrong_calls_are_results_that_say_what_is_right(environment: dict[str, str], protocol: str) -> None:
    with StdioServer(environment, protocol=protocol) as server:
        unknown = server.call("write_file", path="a", content="b")
        assert unknown.is_error
        assert "The tools are open_workspace, write_to_file" in unknown.text.splitlines()[0]
        assert unknown.facts["code"] == "not_found"
        wrong = server.call("write_to_file", encoding="latin1", workspace="Not A Name")
        assert "path is missing; content is missing; encoding must be utf-8 or base64" in wrong.text
        assert wrong.structured is None
        assert wrong.facts == {
            "code": "invalid_argument",
            "message": wrong.facts["message"],
            "hint": "Call it again with what it takes: path, content, encoding?, workspace?.",
            "retryable": False,
            "workspace": "default",
        }
        outside = server.call("read_file", path="../etc/passwd")
        assert outside.facts["code"] == "invalid_path"
        name = server.call("read_file", path="a", workspace="Not A Name")
        assert "is not a workspace name" in name.text


def test_text_that_is_not_unicode_is_refused_and_the_connection_goes_on(environment: dict[str, str]) -> None:
    with StdioServer(environment) as server:
        refused = server.call("write_to_file", path="a", content="\ud800", **{"odd\ud800": 1})
        assert "content is not valid Unicode text" in refused.text
        assert server.request("ping")["result"] == {}


def test_lines_that_are_no_messages_do_not_disturb(environment: dict[str, str]) -> None:
    with StdioServer(environment) as server:
        server.send_bytes(b"hello\n[]\n\xff\xfe\n{}\n\n")
        assert server.request("ping")["result"] == {}


def test_a_message_beyond_every_limit_is_refused_and_the_connection_goes_on(environment: dict[str, str]) -> None:
    with StdioServer(environment) as server:
        request_id = server.begin_call("write_to_file", {"path": "a", "content": "x" * 65 * 1024 * 1024})
        assert "larger than" in server.answer(request_id)["error"]["message"]
        assert server.request("ping")["result"] == {}


def test_only_messages_are_on_standard_output_however_much_is_logged(environment: dict[str, str]) -> None:
    with StdioServer({**environment, "VAPORFORM_LOG_LEVEL": "debug"}) as server:
        server.call("nothing_such")
        server.request("tools/list")
        server.end_input()
        server.wait()
        assert server.rest_of_output() == b""
        assert "nothing_such" in server.logged()
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in server.lines)


def test_requests_piped_in_at_once_are_answered_before_the_end(environment: dict[str, str]) -> None:
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "pipe", "version": "1"}}
    messages: list[dict[str, object]] = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "nope", "arguments": {}}},
    ]
    sent = "".join(json.dumps(message) + "\n" for message in messages)
    done = subprocess.run(
        PROGRAM, env=environment, input=sent, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    answers = {message["id"]: message for message in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0
    assert len(answers[2]["result"]["tools"]) == 14
    assert answers[3]["result"]["_meta"][FACTS]["code"] == "not_found"


def test_a_server_that_is_started_without_input_ends_at_once(environment: dict[str, str]) -> None:
    done = subprocess.run(
        PROGRAM, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_server_whose_input_is_closed_says_so(environment: dict[str, str]) -> None:
    line = f"{' '.join(PROGRAM)} <&-"
    done = subprocess.run(
        ["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 1
    assert "standard input or output is closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_end_of_the_input_ends_the_server(environment: dict[str, str]) -> None:
    with StdioServer(environment) as server:
        server.end_input()
        assert server.wait(limit_s=END_LIMIT_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_server_cleanly_though_its_input_stays_open(
    environment: dict[str, str], number: signal.Signals
) -> None:
    with StdioServer(environment) as server:
        server.process.send_signal(number)
        assert server.wait(limit_s=END_LIMIT_S) == 0
        assert "Traceback" not in server.logged()


def test_a_hangup_that_was_to_be_ignored_is_ignored(environment: dict[str, str]) -> None:
    wrapped = f"trap '' HUP; exec {' '.join(PROGRAM)}"
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "nohup", "version": "1"}}
    first = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}) + "\n"
    second = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping"}) + "\n"
    with subprocess.Popen(
        ["sh", "-c", wrapped], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(first)
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.stdin.write(second)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 2
        process.stdin.close()
        assert process.wait(timeout=END_LIMIT_S) == 0


def test_a_client_that_dies_ends_the_server(environment: dict[str, str]) -> None:
    with StdioServer(environment) as server:
        for stream in (server.process.stdin, server.process.stdout):
            assert stream is not None
            stream.close()
        assert server.process.wait(timeout=END_LIMIT_S) == 0


def test_results_are_the_same_in_both_eras(environment: dict[str, str]) -> None:
    texts: list[str] = []
    for protocol in ("2025-11-25", MODERN):
        with StdioServer(environment, protocol=protocol) as server:
            texts.append(result_of(server.request("tools/call", {"name": "nope", "arguments": {}})).text)
    assert texts[0] == texts[1]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_clients_library_lists_and_calls(environment: dict[str, str], mode: str) -> None:
    parameters = StdioServerParameters(command=PROGRAM[0], args=list(PROGRAM[1:]), env=environment)
    async with Client(stdio_client(parameters), mode=mode) as client:
        assert client.protocol_version == (MODERN if mode == "auto" else "2025-11-25")
        assert len((await client.list_tools()).tools) == 14
        refused = await client.call_tool("read_file", {})
        assert refused.is_error
        assert refused.structured_content is None


def test_the_servers_own_descriptors_are_not_inherited(environment: dict[str, str]) -> None:
    with StdioServer(environment) as server:
        server.request("ping")
        folder = Path(f"/proc/{server.process.pid}/fd")
        held = {int(entry.name): str(entry.readlink()) for entry in folder.iterdir()}
        assert held[0] == "/dev/null"
        assert held[1] == held[2]
