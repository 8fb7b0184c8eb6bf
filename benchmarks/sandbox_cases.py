"""What is measured of this project's server alone: the first command of a workspace, and one in a large project."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from benchmarks.bench import Bench
from benchmarks.client import Client, Json, Reply, ServerFailed
from benchmarks.samples import OURS, Row, Target, turns
from benchmarks.subjects import Subject

__all__ = ["first_command", "large_project"]

FIRST_COMMAND_MS = 60.0
MODEL_S = 1.0
"""The least that a model takes from being shown the tools to its first call."""

PROJECT_FILES = 10_000
FOLDERS = 100
CHANGED = 10
EMPTY = "empty project"
COMPLETIONS = 20

SYNC_DONE_S = 1.2
SOON_S = [0.2 + 0.05 * step for step in range(12)]
"""Moments after a command at one or another of which its sync runs, whatever the pause before it is."""

_CHANGE = f"for i in $(seq {CHANGED}); do echo $RANDOM $RANDOM > d$i/f1.txt; done; echo hi"
_FILL = (
    f"for i in $(seq {FOLDERS}); do for j in $(seq {PROJECT_FILES // FOLDERS}); "
    "do echo file $i $j > d$i/f$j.txt; done; done"
)


def first_command(bench: Bench, *, judged: bool) -> Sequence[Row]:
    """From the call that opens a new workspace, whose sandbox is cold, to the reply of its first command.

    `judged`: whether the target is for the user that this run is of.
    """
    target = Target(limit=FIRST_COMMAND_MS, relative=False) if judged else None
    first, later = (
        Row(
            key="first-command",
            title=f"New workspace opened, and `echo hi` in it{which}",
            unit="ms",
            target=target,
            baseline=None,
        )
        for which in (
            f": a server's first calls, {MODEL_S:g} s after it listed its tools",
            ", by a server that has opened one before",
        )
    )
    alone = Row(key="first-command", title="Of the latter, `echo hi`", unit="ms", baseline=None)
    number = 0
    for subject in turns(_ours(bench), bench.effort.openings):
        if bench.gave_up(subject, first.title):
            continue
        with bench.leaving_out(subject, first.title), subject.session() as client:
            time.sleep(MODEL_S)
            for row in (first, later):
                opened, ran = _open(client, f"new-{number}")
                number += 1
                row.add(OURS, (opened.seconds + ran.seconds) * 1000)
            alone.add(OURS, ran.seconds * 1000)
    return [first, later, alone]


def large_project(bench: Bench) -> Sequence[Row]:
    """A command that changes ten files, in a project of 10,000 files and in one that has only those ten."""
    title = f"A command that changes {CHANGED} files of {PROJECT_FILES:,}"
    rows = [
        Row(
            key="project",
            title=f"{title}, nothing else running",
            unit="ms",
            baseline=EMPTY,
            target=Target(limit=1.1, relative=True),
        ),
        Row(key="project", title=f"{title}, soon after another", unit="ms", baseline=EMPTY),
    ]
    for subject in _ours(bench):
        with bench.leaving_out(subject, rows[0].title), subject.session() as client:
            _fill(client)
            _alternate(client, rows, bench.effort.projects)
    return rows


def _ours(bench: Bench) -> Sequence[Subject]:
    return [subject for subject in bench.subjects if subject.name == OURS]


def _open(client: Client, name: str) -> tuple[Reply, Reply]:
    opened = client.call("open_workspace", {"name": name})
    if opened.facts.get("state") != "ready":
        raise ServerFailed(f"the workspace is not ready: {opened.text[:300]}")
    return opened, _run(client, name, "echo hi")


def _run(client: Client, workspace: str, command: str) -> Reply:
    arguments: Mapping[str, Json] = {"workspace": workspace, "command": command}
    ran = client.call("execute_command", arguments)
    if ran.facts.get("exit_code") != 0:
        raise ServerFailed(f"the command did not do what was asked: {ran.text[:300]}")
    return ran


def _fill(client: Client) -> None:
    """Make both projects, and wait until both are mirrored."""
    for workspace, fill in (("large", f"mkdir d{{1..{FOLDERS}}}; {_FILL}"), ("empty", f"mkdir d{{1..{CHANGED}}}")):
        _open(client, workspace)
        _run(client, workspace, fill)
        _run(client, workspace, _CHANGE)
        for _ in range(COMPLETIONS):
            if client.call("attempt_completion", {"workspace": workspace, "result": "Made."}).facts.get("mirrored"):
                break
        else:
            raise ServerFailed(f"the {workspace} project was not mirrored")


def _alternate(client: Client, rows: Sequence[Row], rounds: int) -> None:
    at_rest, soon = rows
    for number, (workspace, name) in enumerate(turns([("large", OURS), ("empty", EMPTY)], rounds)):
        time.sleep(SYNC_DONE_S)
        at_rest.add(name, _run(client, workspace, _CHANGE).seconds * 1000)
        time.sleep(SOON_S[number // 2 % len(SOON_S)])
        soon.add(name, _run(client, workspace, _CHANGE).seconds * 1000)
