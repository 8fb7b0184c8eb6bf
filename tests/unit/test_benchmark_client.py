"""The client that every server is measured with, the arithmetic of its results, and the page that shows them."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.client import Client, ServerFailed
from benchmarks.samples import BARE, OURS, Row, Target, p95, turns

PAGE = Path(__file__).parents[2] / "docs/benchmarks.md"

SERVER = """
import json, sys
def send(message):
    sys.stdout.write(json.dumps(message) + "\\n")
    sys.stdout.flush()
for line in sys.stdin:
    asked = json.loads(line)
    if "method" not in asked:
        declined = asked["error"]["code"]
        continue
    match asked["method"]:
        case "initialize":
            send({"jsonrpc": "2.0", "id": asked["id"], "result": asked["params"]})
        case "ask first":
            send({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            send({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})
            reply = json.loads(sys.stdin.readline())
            send({"jsonrpc": "2.0", "id": asked["id"], "result": {"declined": reply["error"]["code"]}})
        case "tools/call":
            wrong = asked["params"]["name"] == "wrong"
            text = "no such file" if wrong else "x" * asked["params"]["arguments"]["length"]
            result = {"content": [{"type": "text", "text": text}], "isError": wrong}
            send({"jsonrpc": "2.0", "id": asked["id"], "result": result})
        case "refuse":
            send({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": "never heard of it"}})
        case "end":
            sys.exit("out of ideas")
"""


@contextmanager
def served(folder: Path) -> Generator[Client]:
    argv = [sys.executable, "-I", "-S", "-c", SERVER]
    with Client(argv, environment={}, folder=folder, log=folder / "log") as client:
        yield client


def test_a_session_begins_with_the_handshake_that_all_servers_know(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        assert client.initialize().result["protocolVersion"] == "2025-06-18"


def test_an_answer_is_found_among_notifications_and_requests_of_the_server(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        assert client.request("ask first").result == {"declined": -32601}


def test_a_reply_larger_than_a_pipe_arrives_whole(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        reply = client.call("right", {"length": 300_000})
    assert len(reply.text) == 300_000
    assert reply.size > 300_000
    assert 0 < reply.seconds < 60


@pytest.mark.parametrize(
    ("method", "said"), [("refuse", "never heard of it"), ("end", "out of ideas"), ("keep silent", "too long")]
)
def test_a_server_that_does_not_answer_is_a_failure_that_says_why(tmp_path: Path, method: str, said: str) -> None:
    with served(tmp_path) as client, pytest.raises(ServerFailed, match=said):
        client.request(method, within_s=0.2 if method == "keep silent" else 60)


def test_a_result_that_is_an_error_is_a_failure(tmp_path: Path) -> None:
    with served(tmp_path) as client, pytest.raises(ServerFailed, match="no such file"):
        client.call("wrong", {})


def test_a_closed_client_has_ended_its_server(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        client.initialize()
    client.close()
    assert not Path(f"/proc/{client.pid}").exists()


def test_subjects_take_turns_and_every_round_begins_with_another() -> None:
    assert "".join(turns("abc", 3)) == "abcbcacab"


def test_the_95th_percentile_is_one_of_the_values() -> None:
    assert p95([3.0]) == 3.0
    assert p95([float(value) for value in range(1, 101)]) == 95.0


@pytest.mark.parametrize(("limit", "met"), [(1.9, False), (2.0, True)])
def test_a_relative_target_is_held_against_the_ratio_of_the_medians(limit: float, met: bool) -> None:
    row = Row(key="k", title="t", unit="ms", target=Target(limit=limit, relative=True))
    for ours, bare in ((1.0, 5.0), (10.0, 5.0), (99.0, 5.0)):
        row.add(OURS, ours)
        row.add(BARE, bare)
    assert row.ratio == 2.0
    assert row.met is met


def test_the_page_shows_measured_values_beside_each_target() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for act in (
        "Start to `tools/list`",
        "Write of 2 KB",
        "Read of 2 KB",
        "`echo hi`",
        "Memory",
        "Size of `tools/list`",
    ):
        row = re.search(rf"^\| {re.escape(act)}.*$", page, re.MULTILINE)
        assert row, act
        assert re.search(r"\d.*\| ≤ .* \| (met|\*\*missed\*\*) +\|", row[0]), act
    assert re.search(r"^Measured on \d{4}-\d\d-\d\d as (root|an ordinary user): \d+ cores", page, re.MULTILINE)
