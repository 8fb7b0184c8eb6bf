"""What the supervisor promises about commands, beyond what every sandbox does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.inside.supervised import WAIT_S, Client, Supervised, supervise, until


def test_a_command_gets_the_sandbox_environment_and_its_own(client: Client) -> None:
    reply = client.run("echo $BASE $OWN $HOME", env={"OWN": "own", "HOME": "/other"})
    assert reply.data == b"base own /other\n"


def test_stdout_and_stderr_come_in_the_order_they_were_printed(client: Client) -> None:
    reply = client.run("for i in 1 2 3; do echo out$i; echo err$i >&2; done")
    assert reply.data == b"out1\nerr1\nout2\nerr2\nout3\nerr3\n"


def test_a_command_that_begins_as_an_option_does_is_a_command(client: Client) -> None:
    reply = client.run("-c true")
    assert (reply.state, reply.exit_code) == ("exited", 127)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"command": ""}, "invalid_argument"),
        ({"command": "  \n"}, "invalid_argument"),
        ({"command": "echo \0"}, "invalid_argument"),
        ({"command": "echo \ud800"}, "invalid_argument"),
        ({"command": "true", "cwd": "no/where"}, "not_found"),
        ({"command": "true", "cwd": "/etc/hosts"}, "not_a_directory"),
        ({"command": "true", "cwd": "x" * 300}, "invalid_path"),
        ({"command": "true", "cwd": "a\0b"}, "invalid_argument"),
        ({"command": "true", "env": {"A=B": "c"}}, "invalid_argument"),
        ({"command": "true", "env": {"A": "b\0c"}}, "invalid_argument"),
        ({"command": "true", "env": {"A": 1}}, "invalid_argument"),
        ({"command": "true", "timeout_s": -1}, "invalid_argument"),
        ({"command": "true", "timeout_s": "soon"}, "invalid_argument"),
        ({"command": 3}, "invalid_argument"),
        ({"command": "true #" + "x" * 200_000}, "too_large"),
    ],
)
def test_a_command_that_cannot_be_is_refused_before_anything_runs(
    client: Client, fields: dict[str, str], code: str
) -> None:
    assert client.ask("run", **fields).code == code
    assert client.ask("list").ok.objects("processes") == []


def test_a_long_command_runs(client: Client) -> None:
    reply = client.run("echo " + "x" * 100_000 + " | wc -c")
    assert reply.data.strip() == b"100001"


def test_a_time_limit_beyond_all_reason_is_just_a_long_one(client: Client) -> None:
    assert client.run("echo done", timeout_s=1e18, wait_s=1e18).data == b"done\n"


def test_a_time_limit_of_nothing_has_passed(client: Client) -> None:
    assert client.run("sleep 600", timeout_s=0).state == "timed_out"


def test_the_limit_holds_after_the_run_was_answered(client: Client) -> None:
    reply = client.run("sleep 600", timeout_s=0.3, wait_s=0)
    assert reply.state == "running"
    assert client.ask("wait", process=reply.process_id, wait_s=WAIT_S, offset=None).state == "timed_out"


def test_the_limit_spares_what_a_command_that_ended_in_time_has_left(client: Client) -> None:
    reply = client.run("(sleep 1; touch late) & true", timeout_s=0.5)
    assert reply.state == "exited"
    until(lambda: client.run("test -e late").exit_code == 0)


def test_after_its_wait_a_run_is_answered_and_goes_on(client: Client) -> None:
    reply = client.run("echo early; while ! test -e go; do sleep 0.02; done; echo late", wait_s=0.5)
    assert (reply.state, reply.data) == ("running", b"early\n")
    client.write("go", b"")
    ended = client.ask("wait", process=reply.process_id, wait_s=WAIT_S, offset=None)
    assert (ended.state, ended.exit_code) == ("exited", 0)
    assert client.output(reply.process_id) == b"early\nlate\n"


def test_a_run_that_fails_to_start_is_an_error_even_if_it_was_not_to_be_waited_for(client: Client) -> None:
    assert client.run("true", cwd="nowhere", wait_s=0).code == "not_found"


def test_what_a_command_printed_last_is_in_its_answer(client: Client) -> None:
    assert client.run("head -c 60000 /dev/zero").ok.object("process").number("output_bytes") == 60_000


def test_a_child_that_keeps_printing_does_not_keep_its_command_from_being_answered(client: Client) -> None:
    reply = client.run("yes noise & true")
    assert reply.state == "exited"
    client.ask("stop", process=reply.process_id, grace_s=0)


def test_a_child_may_print_on_after_its_command_has_ended(client: Client) -> None:
    text = "(while ! test -e go; do sleep 0.02; done; echo later; echo $? > status) & echo now"
    process = client.run(text).process_id
    client.write("go", b"")
    until(lambda: client.output(process) == b"now\nlater\n")
    until(lambda: client.run("cat status").data == b"0\n")


def test_a_command_that_closes_its_output_is_waited_for(client: Client) -> None:
    reply = client.run("echo before; exec >&- 2>&-; sleep 0.2; exit 5")
    assert (reply.exit_code, reply.data) == (5, b"before\n")


def test_without_bytes_standard_input_is_no_pipe_that_a_program_would_read(client: Client) -> None:
    assert client.say("readlink /proc/self/fd/0") == "/dev/null"


def test_input_that_nobody_reads_does_not_hold_up_the_command(client: Client) -> None:
    assert client.run("exec 0<&-; echo done", b"x" * 1_000_000).data == b"done\n"


def test_input_reaches_a_command_that_keeps_its_input_open(client: Client) -> None:
    process = client.run("cat; echo end", b"first ", interactive=True, wait_s=0).process_id
    client.ask("input", b"second ", process=process, eof=False)
    client.ask("input", b"third ", process=process, eof=True)
    client.ask("wait", process=process, wait_s=WAIT_S, offset=None)
    assert client.output(process) == b"first second third end\n"


def test_more_input_than_a_command_takes_is_refused(client: Client) -> None:
    process = client.run("sleep 600", interactive=True, wait_s=0).process_id
    until(lambda: client.ask("input", b"x" * 500_000, process=process, eof=False).code == "limit")


def test_a_wait_ends_with_the_output_beyond_its_offset(client: Client) -> None:
    process = client.run("echo one; while ! test -e go; do sleep 0.02; done; echo two; sleep 600", wait_s=0).process_id
    client.ask("wait", process=process, wait_s=WAIT_S, offset=0)
    beyond = client.send("wait", process=process, wait_s=WAIT_S, offset=4)
    client.write("go", b"")
    assert client.answer(beyond).state == "running"
    assert client.output(process) == b"one\ntwo\n"


def test_a_wait_of_its_own_time_answers_that_the_command_runs(client: Client) -> None:
    process = client.run("sleep 600", wait_s=0).process_id
    assert client.ask("wait", process=process, wait_s=0.1, offset=None).state == "running"


@pytest.mark.parametrize("op", ["wait", "output", "input", "stop"])
def test_a_process_that_never_was_is_not_found(client: Client, op: str) -> None:
    assert client.ask(op, process="99", wait_s=0, grace_s=0, offset=0, limit=1, eof=False).code == "not_found"


def test_a_command_does_not_hold_up_other_requests(client: Client) -> None:
    run = client.begin("while ! test -e go; do sleep 0.02; done")
    assert client.say("echo meanwhile") == "meanwhile"
    client.write("go", b"")
    assert client.answer(run).exit_code == 0


def test_of_those_that_have_ended_the_latest_fifty_are_kept(client: Client) -> None:
    runs = [client.begin(f"echo {number}") for number in range(1, 61)]
    for run in runs:
        client.answer(run)
    until(lambda: len(client.ask("list").ok.objects("processes")) == 50)
    kept = [process.text("id") for process in client.ask("list").ok.objects("processes")]
    assert kept == sorted(kept, key=int)


def test_more_commands_at_once_than_may_be_are_refused(place: Path) -> None:
    with supervise(place, level="plain", max_processes=3) as supervised:
        client = supervised.attach()
        running = [client.run("sleep 600", wait_s=0).process_id for _ in range(3)]
        assert client.run("true").code == "limit"
        client.ask("stop", process=running[0], grace_s=0)
        assert client.run("true").state == "exited"


def test_limits_hold_for_commands_and_not_for_the_supervisor(place: Path) -> None:
    with supervise(place, level="plain", limits={"FSIZE": 100_000, "NOFILE": 64, "CORE": 0}) as supervised:
        client = supervised.attach()
        assert client.say("ulimit -n; ulimit -c") == "64\n0"
        assert client.run("head -c 200000 /dev/zero > big").exit_code != 0
        assert "stat" in client.write("larger", b"x" * 200_000)


def test_every_server_sees_every_command(plain: Supervised) -> None:
    first, second = plain.attach(), plain.attach()
    process = first.run("echo shared; sleep 600", wait_s=0).process_id
    second.ask("wait", process=process, wait_s=WAIT_S, offset=0)
    assert second.output(process) == b"shared\n"
    assert second.ask("stop", process=process, grace_s=0).state == "killed"


def test_programs_are_found_on_the_path_of_commands(client: Client) -> None:
    found = client.ask("which", names=["sh", "no-such-program", "../sh", ""]).ok.object("found")
    assert found.text("sh").endswith("/sh")
    assert all(found.is_null(name) for name in ("no-such-program", "../sh", ""))
