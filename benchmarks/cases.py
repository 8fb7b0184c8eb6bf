"""What is measured beside other servers: start, the three acts of an agent, memory, and the size of the tool list."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.bench import Bench, Effort
from benchmarks.client import Client, Reply, ServerFailed
from benchmarks.memory import pss_bytes, sandbox_processes, with_descendants
from benchmarks.samples import OURS, Row, Target, turns
from benchmarks.subjects import Call, Subject

__all__ = ["acts", "memory", "start", "tools_list"]

PAUSE_S = 0.02
"""Before each call: agents pause too, and what one server does after its answer must not slow the next."""

REST_S = 1.5  # until a server has done what it does after an answer, and its memory is steady
WARM_UP = 5
FILES = 50
FILE_BYTES = 2048
OUTPUT_BYTES = 1 << 20

_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Act:
    """`make`: a subject's call for the n-th time; None where it has none. `holds`: the answer is as it should be."""

    row: Row
    rounds: int
    make: Callable[[Subject, int], Call | None]
    holds: Callable[[Reply], bool]


def start(bench: Bench) -> Sequence[Row]:
    """From the start of a process to its first replies, as a client that starts it waits for them."""
    greeted = Row(key="start", title="Start to the reply to `initialize`", unit="ms")
    listed = Row(key="start", title="Start to `tools/list`", unit="ms", target=Target(limit=1.0, relative=True))
    able = list(bench.subjects)
    for subject in bench.subjects:  # the first start of each reads its files from the disk
        with bench.leaving_out(subject, listed.title):
            _start_once(subject)
            continue
        able.remove(subject)
    for subject in turns(able, bench.effort.starts):
        if bench.gave_up(subject, listed.title):
            continue
        with bench.leaving_out(subject, listed.title):
            first, second = _start_once(subject)
            greeted.add(subject.name, first * 1000)
            listed.add(subject.name, second * 1000)
    return [greeted, listed]


def acts(bench: Bench, keys: Sequence[str]) -> Sequence[Row]:
    """Those of the calls that are asked for, with all servers up and warm."""
    wanted = [act for act in _all_acts(bench.effort) if act.row.key in keys]
    with ExitStack() as stack:
        running: list[tuple[Subject, Client]] = []
        for subject in bench.subjects:
            with bench.leaving_out(subject, "calls"):
                running.append((subject, stack.enter_context(subject.session())))
        for act in wanted:
            _take_turns(bench, act, running)
    return [act.row for act in wanted]


def memory(bench: Bench) -> Sequence[Row]:
    """Of one server at a time, warm, with its sandbox: what two servers share would count half for each."""
    row = Row(key="memory", title="Memory, warm, with the sandbox", unit="MB", target=Target(limit=1.5, relative=True))
    for subject in turns(bench.subjects, bench.effort.weighings):
        if bench.gave_up(subject, row.title):
            continue
        with bench.leaving_out(subject, row.title), subject.session() as client:
            _warm(subject, client)
            time.sleep(REST_S)
            processes = with_descendants(client.pid)
            if subject.data_dir is not None:
                processes |= sandbox_processes(subject.data_dir)
            try:
                row.add(subject.name, pss_bytes(processes) / _MB)
            except PermissionError:
                raise ServerFailed("a process of its sandbox does not show its memory to this user") from None
    return [row]


def tools_list(bench: Bench) -> Sequence[Row]:
    """The reply to `tools/list` in bytes: models read it in every conversation."""
    row = Row(key="tools-list", title="Size of `tools/list`", unit="bytes", target=Target(limit=10_000, relative=False))
    for subject in bench.subjects:
        with bench.leaving_out(subject, row.title), subject.start() as client:
            client.initialize()
            row.add(subject.name, client.request("tools/list").size)
    return [row]


def _start_once(subject: Subject) -> tuple[float, float]:
    with subject.start() as client:
        client.initialize()
        greeted = time.perf_counter()
        client.request("tools/list")
        return greeted - client.spawned_at, time.perf_counter() - client.spawned_at


def _take_turns(bench: Bench, act: _Act, running: Sequence[tuple[Subject, Client]]) -> None:
    able: list[tuple[Subject, Client]] = []
    for subject, client in running:
        with bench.leaving_out(subject, act.row.title):
            if _prepare(act, subject, client):
                able.append((subject, client))
    counts = dict.fromkeys((subject.name for subject, _ in able), WARM_UP)
    for subject, client in turns(able, act.rounds):
        if bench.gave_up(subject, act.row.title):
            continue
        with bench.leaving_out(subject, act.row.title):
            time.sleep(PAUSE_S)
            reply = _perform(act, subject, client, counts[subject.name])
            counts[subject.name] += 1
            act.row.add(subject.name, reply.seconds * 1000)


def _prepare(act: _Act, subject: Subject, client: Client) -> bool:
    """Whether the subject can do it; then it is warm."""
    if act.make(subject, 0) is None:
        return False
    _warm(subject, client)
    for number in range(WARM_UP):
        _perform(act, subject, client, number)
    return True


def _perform(act: _Act, subject: Subject, client: Client, number: int) -> Reply:
    call = act.make(subject, number)
    if call is None:
        raise AssertionError("it was asked whether it can")
    reply = client.call(*call)
    if not act.holds(reply) or (subject.name == OURS and act.row.key == "write" and not reply.facts.get("mirrored")):
        raise ServerFailed(f"{call.tool} did not do what was asked: {reply.text[:300]}")
    return reply


def _warm(subject: Subject, client: Client) -> None:
    for make in (subject.write and subject.write(_path(0), _content(0)), subject.read and subject.read(_path(0))):
        if make:
            client.call(*make)
    if subject.run:
        client.call(*subject.run("echo hi"))


def _all_acts(effort: Effort) -> Sequence[_Act]:
    def write(subject: Subject, number: int) -> Call | None:
        return subject.write and subject.write(_path(number), _content(number))

    def read(subject: Subject, number: int) -> Call | None:
        return subject.read and subject.read(_path(0))

    def echo(subject: Subject, number: int) -> Call | None:
        return subject.run and subject.run("echo hi")

    def output(subject: Subject, number: int) -> Call | None:
        return subject.run and subject.run(f"yes 0123456789abcde | head -c {OUTPUT_BYTES}")

    def row(key: str, title: str, limit: float | None) -> Row:
        return Row(key=key, title=title, unit="ms", target=Target(limit=limit, relative=True) if limit else None)

    return [
        _Act(row=row("write", "Write of 2 KB", 3.0), rounds=effort.calls, make=write, holds=lambda reply: True),
        _Act(
            row=row("read", "Read of 2 KB", 1.6),
            rounds=effort.calls,
            make=read,
            holds=lambda reply: _content(0)[-100:].strip() in reply.text,
        ),
        _Act(row=row("echo", "`echo hi`", 1.6), rounds=effort.calls, make=echo, holds=lambda reply: "hi" in reply.text),
        _Act(
            row=row("output", "A command that prints 1 MB", None),
            rounds=effort.outputs,
            make=output,
            holds=lambda reply: "0123456789abcde" in reply.text,
        ),
    ]


def _path(number: int) -> str:
    return f"module_{number % FILES}.py"


def _content(number: int) -> str:
    """2 KB of text like a program's, different every time: a mirror need not store what it has."""
    line = f"def step_{number}(value: int) -> int:\n    return value * {number} + len(str(value))\n\n\n"
    return (line * (FILE_BYTES // len(line) + 1))[: FILE_BYTES - 1] + "\n"
