"""Nothing of a command outlives what it was told, whatever it does to be left alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.contract.inside.supervised import (
    ONLY_INSIDE,
    SUPERVISOR,
    WAIT_S,
    Client,
    Level,
    Supervised,
    supervise,
    until,
)

PYTHON = "python3 -c"

DOUBLE_FORK = f"""{PYTHON} '
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(777)
    os._exit(0)
'; """

HIDING = {
    "in the background": "sleep 777 & ",
    "in a session of its own": "setsid sleep 777 & ",
    "forked twice": DOUBLE_FORK,
    "without environment": "(env -i setsid sleep 777 &); ",
    "deaf": "(trap '' TERM HUP INT; sleep 777 & wait) & ",
    "stopped": "sleep 777 & kill -STOP $!; ",
}


def sleepers(client: Client) -> int:
    return int(client.run("pgrep -fc '^(sleep|.*time.sleep.)' || true").data)


def is_alone(client: Client) -> bool:
    """Whether the namespace holds nothing but the supervisor, its keepers, and what looks."""
    return "777" not in client.say("ps -u $(id -u) -o args | grep 77[7] || true")


@pytest.mark.parametrize("hiding", HIDING)
def test_at_the_deadline_a_child_dies(inner: Client, hiding: str) -> None:
    reply = inner.run(HIDING[hiding] + "trap '' TERM; sleep 777", timeout_s=0.5)
    assert (reply.state, reply.exit_code) == ("timed_out", None)
    assert is_alone(inner)


@pytest.mark.parametrize("hiding", HIDING)
def test_a_child_of_a_command_that_has_ended_lives_until_it_is_stopped(inner: Client, hiding: str) -> None:
    reply = inner.run(HIDING[hiding] + "true")
    assert (reply.state, reply.exit_code) == ("exited", 0)
    assert not is_alone(inner)
    stopped = inner.ask("stop", process=reply.process_id, grace_s=0.1)
    assert (stopped.state, stopped.exit_code) == ("exited", 0)
    assert is_alone(inner)


TRACER = f"""{PYTHON} '
import ctypes, sys, time
sys.exit(ctypes.CDLL(None).ptrace(0x4206, int(open("traced").read()), 0, 0) or time.sleep(777))
'"""


def test_what_another_command_traces_and_never_lets_go_of_is_gone_all_the_same(isolated: Supervised) -> None:
    client = isolated.attach()
    traced = client.run("sleep 777 & echo $! > traced; wait", wait_s=0.2)
    tracer = client.run(TRACER, wait_s=0.5)
    assert tracer.state == "running"
    client.ask("stop", process=traced.process_id, grace_s=0.1)
    until(lambda: client.ask("info").ok.number("processes") == 1)


def test_a_cancelled_run_answers_killed_after_its_tree_has_died(inner: Client) -> None:
    run = inner.begin("setsid sleep 777 & sleep 777")
    until(lambda: not is_alone(inner))
    assert inner.ask("cancel", target=run).code == ""
    assert inner.answer(run).state == "killed"
    assert is_alone(inner)


def test_cancelling_what_was_answered_does_nothing(inner: Client) -> None:
    run = inner.begin("sleep 777", wait_s=0)
    process = inner.answer(run).process_id
    assert inner.ask("cancel", target=run).code == ""
    assert inner.state(process) == "running"


def test_a_connection_takes_the_runs_it_waits_for_with_it_and_leaves_the_others(isolated: Supervised) -> None:
    first, second = isolated.attach(), isolated.attach()
    detached = first.run("sleep 778", wait_s=0).process_id
    first.begin("setsid sleep 777 & sleep 777")
    until(lambda: not is_alone(second))
    first.close()
    until(lambda: is_alone(second))
    assert second.state(detached) == "running"


def test_stop_lets_a_command_end_by_itself(inner: Client) -> None:
    process = inner.run("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done", wait_s=0).process_id
    inner.ask("wait", process=process, wait_s=WAIT_S, offset=0)
    reply = inner.ask("stop", process=process, grace_s=WAIT_S)
    assert (reply.state, reply.exit_code) == ("killed", None)
    assert inner.output(process).endswith(b"bye\n")


def test_stop_asks_what_runs_in_a_session_of_its_own_too(inner: Client) -> None:
    child = "trap 'touch asked; exit' TERM; touch ready; while :; do sleep 0.1; done"
    process = inner.run(f'setsid bash -c "{child}" & sleep 777', wait_s=0).process_id
    until(lambda: inner.run("test -e ready").exit_code == 0)
    inner.ask("stop", process=process, grace_s=WAIT_S)
    assert inner.run("test -e asked").exit_code == 0


def test_stop_kills_what_does_not_end_by_itself(inner: Client) -> None:
    process = inner.run("trap '' TERM; echo ready; while :; do sleep 0.1; done", wait_s=0).process_id
    inner.ask("wait", process=process, wait_s=WAIT_S, offset=0)
    assert inner.ask("stop", process=process, grace_s=0.2).state == "killed"


def test_a_command_that_kills_its_keeper_is_killed_with_what_it_left(inner: Client) -> None:
    reply = inner.run(f"{ONLY_INSIDE} setsid sleep 777 & kill -9 $PPID; sleep 777")
    assert (reply.state, reply.exit_code) == ("killed", None)
    assert is_alone(inner)


def test_a_command_that_stops_its_keeper_is_answered_all_the_same(inner: Client) -> None:
    reply = inner.run(f"{ONLY_INSIDE} kill -STOP $PPID; exit 4")
    assert (reply.state, reply.exit_code) == ("exited", 4)


def test_a_command_whose_keeper_is_stopped_ends_at_its_deadline(inner: Client) -> None:
    text = f"{ONLY_INSIDE} for i in $(seq 500); do kill -STOP $PPID; sleep 0.01; done"
    assert inner.run(text, timeout_s=0.5).state == "timed_out"


def test_signals_to_its_keeper_change_nothing(inner: Client) -> None:
    reply = inner.run(
        f"{ONLY_INSIDE} for s in HUP INT QUIT USR1 USR2 ALRM TERM; do kill -$s $PPID; done; echo still here"
    )
    assert (reply.state, reply.data) == ("exited", b"still here\n")


@pytest.mark.parametrize("signal", ["TERM", "KILL", "HUP", "STOP"])
def test_signalling_everything_ends_commands_but_not_the_sandbox(inner: Client, signal: str) -> None:
    other = inner.run("sleep 777", wait_s=0).process_id
    inner.run(f"{ONLY_INSIDE} kill -{signal} -1", timeout_s=5)
    if signal == "STOP":
        inner.ask("stop", process=other, grace_s=0)
    until(lambda: inner.state(other) != "running")
    assert inner.say("echo alive") == "alive"


@pytest.mark.parametrize("signal", ["TERM", "INT", "HUP", "KILL", "STOP", "SEGV", "USR1", "CHLD"])
def test_a_command_cannot_signal_the_supervisor(inner: Client, signal: str) -> None:
    inner.run(f"{ONLY_INSIDE} kill -{signal} {SUPERVISOR}")
    assert inner.say("echo alive") == "alive"


def test_commands_start_with_no_signal_ignored_or_blocked(inner: Client) -> None:
    lines = inner.say("grep -E 'Sig(Ign|Blk)' /proc/self/status").splitlines()
    # 32 and 33 belong to the C library, which ignores them in what it starts.
    masks = [int(line.split()[1], 16) & ~(1 << 31 | 1 << 32) for line in lines]
    assert masks == [0, 0]


def test_commands_inherit_no_descriptor(inner: Client) -> None:
    assert inner.say("ls /proc/$$/fd; true") == "0\n1\n2"


def test_a_command_can_look_into_neither_supervisor_nor_keeper(inner: Client) -> None:
    look = "for f in fd maps environ mem; do cat /proc/$p/$f/* /proc/$p/$f; done"
    reply = inner.run(f"{ONLY_INSIDE} for p in {SUPERVISOR} $PPID; do {look}; done 2>/dev/null | wc -c")
    assert reply.data.strip() == b"0"


def test_what_forks_faster_than_it_is_found_dies_all_the_same(inner: Client) -> None:
    chain = "while True:\n if os.fork(): os._exit(0)"
    begin = "import os, sys\nfor _ in range(12):\n if not os.fork(): exec(sys.argv[1])"
    text = f'{ONLY_INSIDE} python3 -c "{begin}" "{chain}"'
    assert inner.run(f"{text}; sleep 777", timeout_s=1).state == "timed_out"
    assert "fork" not in inner.say("ps -u $(id -u) -o args | grep os.for[k] || true")


needs_limits = pytest.mark.skipif(os.geteuid() == 0, reason="root is exempt from the limit on processes")


@needs_limits
def test_a_fork_bomb_is_cleared_at_its_deadline(place: Path, level: Level) -> None:
    with supervise(place, level=level, limits={"NPROC": 100, "CORE": 0}) as supervised:
        client = supervised.attach()
        reply = client.run(ONLY_INSIDE + "ulimit -u; bomb() { bomb | bomb & }; bomb; sleep 777", timeout_s=1)
        assert reply.state == "timed_out"
        assert client.say("echo calm") == "calm"


@needs_limits
def test_what_a_command_may_start_is_bounded_and_said(place: Path, level: Level) -> None:
    with supervise(place, level=level, limits={"NPROC": 40}) as supervised:
        client = supervised.attach()
        filling = client.run(ONLY_INSIDE + "for i in $(seq 60); do sleep 777 & done; wait", wait_s=0).process_id
        until(lambda: b"fork" in client.output(filling))
        until(lambda: client.run("true").code == "limit", within_s=10)
        client.ask("stop", process=filling, grace_s=0)
        assert client.say("echo again") == "again"


def test_the_end_of_the_sandbox_is_that_of_everything_in_it(isolated: Supervised) -> None:
    client = isolated.attach()
    client.run("setsid sleep 777 & sleep 777", wait_s=0)
    assert client.ask("end").code == ""
    until(isolated.has_ended)
    assert isolated.process.returncode == 0


@pytest.mark.parametrize("how", ["end", "signal"])
def test_outside_of_namespaces_too_the_end_takes_everything(plain: Supervised, how: str) -> None:
    client = plain.attach()
    client.run("setsid sleep 777 & echo $! $$ > pids; sleep 777", wait_s=0)
    pids = plain.folder / "pids"
    until(lambda: pids.exists() and pids.read_text().count("\n") == 1)
    if how == "end":
        client.ask("end")
    else:
        plain.process.terminate()
    until(plain.has_ended)
    for pid in pids.read_text().split():
        until(lambda pid=pid: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())
