"""Two server processes on one workspace: either may be killed at any moment, and the other goes on with everything."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.durability.machine import Machine, a_machine, digest, digests_inside, in_time, run
from tests.e2e.stdio_client import StdioServer
from tests.fault.writers import Writer, Written, acknowledged, chance_of, contents, possible

LONG = os.environ.get("TEST_LONG", "") not in ("", "0")
ROUNDS = 100 if LONG else 4
WRITES = 40
LATEST_KILL_S = 0.15
SERVE = "echo serving; exec python3 -m http.server 8123 --bind 127.0.0.1"


@pytest.mark.timeout(3600 if LONG else 120)
def test_either_of_two_servers_killed_while_both_write_loses_nothing_and_does_not_disturb_the_other(
    tmp_path: Path,
) -> None:
    """Each has files of its own, and both write some; what they run and serve is one and the same."""
    kept: dict[str, bytes] = {}
    with a_machine(tmp_path) as machine, ExitStack() as stack:
        servers = {who: opened(machine, stack) for who in "ab"}
        process = started(servers["a"])
        for number in range(ROUNDS):
            chance = chance_of(number)
            victim, survivor = chance.sample("ab", 2)
            writes = interleaved(servers, victim, chance, number)
            assert all(each.revision is not None for each in writes[survivor])
            assert_serving(servers[survivor], process)
            kept = checked(machine, servers[survivor], writes, kept)
            servers[victim] = opened(machine, stack)
            assert_serving(servers[victim], process)
            assert digests_inside(machine) == {path: digest(content) for path, content in kept.items()}


def test_a_command_that_one_server_began_is_joined_by_the_other_after_a_kill(tmp_path: Path) -> None:
    with a_machine(tmp_path) as machine, machine.server() as second:
        second.call("open_workspace", name="default")
        with machine.server() as first:
            begun = first.call("execute_command", command="read line; echo got $line > made; cat made", background=True)
            process = begun.facts["process_id"]
            first.process.kill()
        ended = second.call("check_process", process_id=process, input="it\n", wait=30)
        assert (ended.facts["state"], ended.facts["exit_code"]) == ("exited", 0)
        assert "got it" in ended.text
        in_time(lambda: machine.stored().get("made") == b"got it\n")


def test_a_server_that_is_started_within_the_linger_time_finds_its_dev_server_up(tmp_path: Path) -> None:
    with a_machine(tmp_path) as machine:
        with machine.server() as first:
            process = started(first)
            url = first.call("get_preview_url", port=8123).facts["url"]
            first.process.kill()
        in_time(lambda: machine.sandbox().servers == 0)
        with machine.server() as second:
            assert_serving(second, process)
            assert second.call("get_preview_url", port=8123).facts["url"] == url


def test_a_sandbox_that_no_server_uses_ends_after_the_linger_time_and_its_files_stay(tmp_path: Path) -> None:
    with a_machine(tmp_path, VAPORFORM_LOCAL__LINGER_S="1") as machine:
        with machine.server() as first:
            started(first)
            run(first, "mkdir node_modules && echo installed > node_modules/it")
            first.process.kill()
            machine.await_end_of_sandbox()
        with machine.server() as second:
            assert second.call("check_process").facts["processes"] == []
            assert "installed" in run(second, "cat node_modules/it").text


def test_looking_at_a_sandbox_again_and_again_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with a_machine(tmp_path, VAPORFORM_LOCAL__LINGER_S="2") as machine:
        with machine.server() as server:
            server.call("open_workspace", name="default")
            server.process.kill()
        in_time(lambda: machine.sandbox().state == "stopped", limit_s=20)


def test_two_servers_heal_one_lost_sandbox_once(tmp_path: Path) -> None:
    with a_machine(tmp_path) as machine, machine.server() as first, machine.server() as second:
        first.call("write_to_file", path="a.txt", content="a")
        second.call("write_to_file", path="b.txt", content="b")
        machine.destroy_sandbox()
        calls = [(each, each.begin_call("execute_command", {"command": "cat a.txt b.txt"})) for each in (first, second)]
        for server, request in calls:
            result = server.answer(request)["result"]
            assert "ab" in result["content"][0]["text"]
        assert [each.epoch for each in machine.sandboxes()] == [2]


def opened(machine: Machine, stack: ExitStack) -> StdioServer:
    server = stack.enter_context(machine.server())
    result = server.call("open_workspace", name="default")
    assert result.facts.get("state") == "ready", (result.text, server.logged())
    return server


def started(server: StdioServer) -> str:
    result = server.call("execute_command", command=SERVE, background=True)
    assert result.facts["state"] == "running", result.text
    return str(result.facts["process_id"])


def assert_serving(server: StdioServer, process: str) -> None:
    """It knows the process and reaches the port, although it may have started neither."""
    assert server.call("check_process", process_id=process).facts["state"] == "running"
    assert "200" in run(server, "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8123/").text


def interleaved(
    servers: Mapping[str, StdioServer], victim: str, chance: random.Random, number: int
) -> dict[str, list[Written]]:
    writers = {who: Writer(server) for who, server in servers.items()}
    for who, writer in writers.items():
        paths = [f"{who}/{number % 10}/{index}.txt" for index in range(WRITES // 2)]
        paths += [f"{place}/{index % 4}.txt" for index in range(WRITES // 4) for place in (who, "shared")]
        chance.shuffle(paths)
        writer.start([(path, contents(chance, f"{who} {number}", index)) for index, path in enumerate(paths)])
    time.sleep(chance.uniform(0, LATEST_KILL_S))  # the moment of the kill is what is being varied
    servers[victim].process.kill()
    return {who: writer.finish() for who, writer in writers.items()}


def checked(
    machine: Machine, survivor: StdioServer, writes: Mapping[str, list[Written]], kept: dict[str, bytes]
) -> dict[str, bytes]:
    """What is in the sandbox and, in the end, in the store: of a shared file what either wrote last."""
    every = [write for each in writes.values() for write in each]
    may = possible([each for each in every if not each.path.startswith("shared/")], kept)
    shared: dict[str, list[bytes]] = {path: [content] for path, content in kept.items() if path.startswith("shared/")}
    for each in writes.values():
        for path, candidates in possible([write for write in each if write.path.startswith("shared/")], {}).items():
            shared.setdefault(path, []).extend(candidates)
    assert acknowledged(every) | kept.keys() <= machine.stored().keys()
    inside = digests_inside(machine)
    assert acknowledged(every) | kept.keys() <= inside.keys()
    for path, found in inside.items():
        assert found in map(digest, (shared if path.startswith("shared/") else may).get(path, ())), path
    assert survivor.call("attempt_completion", result="a round").facts["mirrored"]
    stored = machine.stored()
    assert {path: digest(content) for path, content in stored.items()} == inside
    return stored
