"""Results as each kind of client sees them: some show a model only the text, some only the structured content."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from vaporform_mcp.history import Excerpt, FileChange, Point
from vaporform_mcp.sandboxes.base import CommandResult, OutputChunk, Preview, ProcessStatus, RunState
from vaporform_mcp.server.results import success
from vaporform_mcp.techstack import TechStack
from vaporform_mcp.tools.arguments import Json
from vaporform_mcp.tools.catalogue import offered
from vaporform_mcp.tools.completion import completed_result
from vaporform_mcp.tools.listing import found_result, listing_result, replaced_result, written_result
from vaporform_mcp.tools.running import (
    checked_result,
    executed_result,
    preview_result,
    processes_result,
    stopped_result,
)
from vaporform_mcp.tools.spec import MAX_RESULT_CHARS, ToolResult
from vaporform_mcp.tools.travel import diff_result
from vaporform_mcp.tools.workspaces import opened_result, summaries_result
from vaporform_mcp.types import ROOT, Digest, Entry, EntryKind, Phase, WorkspaceName, WorkspacePath
from vaporform_mcp.workspace.results import (
    Checked,
    Completed,
    DevServer,
    Diff,
    Executed,
    Found,
    Listed,
    Listing,
    Match,
    MirrorState,
    Opened,
    PreviewStatus,
    Replaced,
    Summary,
    Written,
)

PATH = WorkspacePath("src/app.py")
LOCAL = Preview(port=5173, url="http://127.0.0.1:5173", public=False)
SHARED = Preview(port=8000, url="https://8000-abc.example.net", public=True, expires_at=1_800_000_000.0)
MIRROR = MirrorState(revision=7, pending=False)
BROKEN_MIRROR = MirrorState(revision=7, pending=True, error="the store does not answer")


def written(*, mirrored: bool = True) -> Written:
    return Written(
        path=PATH,
        size=12,
        digest=Digest("ab" * 32),
        mirrored=mirrored,
        mirror_error=None if mirrored else "the store does not answer",
        revision=7 if mirrored else None,
    )


def command(
    state: RunState = RunState.EXITED,
    *,
    exit_code: int | None = 0,
    head: bytes = b"hi\n",
    tail: bytes = b"",
    omitted: int = 0,
) -> CommandResult:
    return CommandResult(
        process_id="p3",
        state=state,
        exit_code=exit_code if state is RunState.EXITED else None,
        head=head,
        tail=tail,
        omitted_bytes=omitted,
        duration_ms=1234,
        output_file="/tmp/out/p3" if omitted else None,
        ports=frozenset(),
    )


def executed(
    result: CommandResult, *, previews: Sequence[Preview] = (), mirror: MirrorState = MIRROR, check: float | None = 45
) -> ToolResult:
    return executed_result(Executed(result=result, previews=previews, mirror=mirror), check_wait_s=check)


def process(state: RunState = RunState.RUNNING, *, exit_code: int | None = None, printed: int = 5) -> ProcessStatus:
    return ProcessStatus(
        id="p3",
        command="npm run dev",
        state=state,
        exit_code=exit_code,
        started_at=1_700_000_000.0,
        duration_ms=65_000,
        output_bytes=printed,
    )


def opened(state: str = "ready") -> Opened:
    return Opened(
        name=WorkspaceName("todo-app"),
        created=False,
        state="ready" if state == "ready" else "preparing",
        phase=Phase.READY if state == "ready" else Phase.RESTORING,
        percent=100.0 if state == "ready" else 40.0,
        isolation="namespaces" if state == "ready" else None,
        gaps=("memory is limited for each process",) if state == "ready" else (),
        network="internet" if state == "ready" else None,
        toolchains={"node": "20.20.2", "python3": "3.11.7"} if state == "ready" else {},
        revision=7,
        files=3,
        commands=("npm install",) if state == "ready" else (),
    )


def completed(*, mirrored: bool = True, server_error: str | None = None) -> Completed:
    return Completed(
        checkpoint="complete-8",
        files_total=31,
        files_synced=4,
        mirror=MIRROR if mirrored else BROKEN_MIRROR,
        mirrored=mirrored,
        tech_stack=TechStack(
            language="TypeScript", framework="Next.js", package_manager="pnpm", entry="src/index.ts", dev_port=5173
        ),
        previews=(PreviewStatus(preview=LOCAL, status=200), PreviewStatus(preview=SHARED, status=None)),
        preview_url=LOCAL.url,
        dev_server=DevServer(started=True, command="pnpm dev", process_id="p9", error=server_error),
        warnings=("not mirrored: a very odd name",),
    )


def summary(name: str = "todo-app") -> Summary:
    return Summary(name=WorkspaceName(name), state="closed", revision=7, files=3, size=512, last_used=1_700_000_000.0)


def structured(tool: str, result: ToolResult) -> dict[str, Json] | None:
    """What a client is sent of it as structured content, without the workspace's name."""
    content = success(result, output=offered("all")[tool].output, workspace="demo", notices=()).structured_content
    return None if content is None else {name: fact for name, fact in content.items() if name != "workspace"}


STRUCTURED = {
    "written": ("write_to_file", written_result(written())),
    "written-unmirrored": ("write_to_file", written_result(written(mirrored=False))),
    "stopped": ("stop_process", stopped_result(process(RunState.KILLED))),
    "stopped-exited": ("stop_process", stopped_result(process(RunState.EXITED, exit_code=143))),
    "preview": ("get_preview_url", preview_result(LOCAL)),
    "preview-shared": ("get_preview_url", preview_result(SHARED)),
    "opened": ("open_workspace", opened_result(opened())),
    "preparing": ("open_workspace", opened_result(opened("preparing"))),
    "summaries": ("list_workspaces", summaries_result([summary("todo-app"), summary("other")])),
    "no-summaries": ("list_workspaces", summaries_result([])),
    "completed": ("attempt_completion", completed_result(completed(), "todo")),
    "completed-unmirrored": ("attempt_completion", completed_result(completed(mirrored=False), "todo")),
    "completed-failed-server": (
        "attempt_completion",
        completed_result(completed(server_error="Error: Cannot find module 'next'\n"), "todo"),
    ),
}

# What structured content calls by name and text says in words, or what a model has no use for.
SAID_OTHERWISE = {"state", "phase", "total", "days"}
AS_A_PERCENTAGE_OF_NOTHING = {"percent"}


def leaves(value: Json, name: str = "") -> list[tuple[str, str]]:
    """Every string and number in structured content, with the name that it is under."""
    if isinstance(value, Mapping):
        return [leaf for key, each in value.items() for leaf in leaves(each, key)]
    if isinstance(value, str):
        return [(name, value)]
    if isinstance(value, Sequence):
        return [leaf for each in value for leaf in leaves(each, name)]
    return [] if value is None or isinstance(value, bool) else [(name, str(value))]


@pytest.mark.parametrize(("tool", "result"), STRUCTURED.values(), ids=STRUCTURED.keys())
def test_a_client_that_shows_only_text_shows_what_is_structured(tool: str, result: ToolResult) -> None:
    content = structured(tool, result)
    assert content
    said = " ".join(result.text.replace(",", "").split())
    ready = "is ready" in result.text
    missing = [
        (name, leaf)
        for name, leaf in leaves(content)
        if name not in SAID_OTHERWISE
        and not (ready and name in AS_A_PERCENTAGE_OF_NOTHING)
        and " ".join(leaf.replace(",", "").split()) not in said
    ]
    assert missing == []


@pytest.mark.parametrize(("tool", "result"), STRUCTURED.values(), ids=STRUCTURED.keys())
def test_a_client_that_shows_only_structured_content_shows_what_the_text_says(tool: str, result: ToolResult) -> None:
    shown = json.dumps(structured(tool, result), ensure_ascii=False).replace(",", "")
    # Names, paths, addresses and numbers; durations are said in no other place and mean nothing to a model.
    words = re.findall(
        r"https?://[^\s)]+|[\w./-]*[\d/_][\w./-]*", re.sub(r"after [\d.]+ \w+( \d+ s)?", "", result.text)
    )
    missing = [word for word in words if word.rstrip(".").replace(",", "") not in shown]
    assert missing == []


def test_a_write_that_was_not_mirrored_says_so_and_why() -> None:
    result = written_result(written(mirrored=False))
    assert result.text == (
        "Wrote src/app.py (12 bytes), not mirrored: the store does not answer; a later sync repairs it."
    )
    assert result.facts["mirrored"] is False


def test_the_digest_is_for_scripts_and_costs_a_model_nothing() -> None:
    result = written_result(written())
    assert result.facts["digest"] == "ab" * 32
    assert "ab" * 32 not in json.dumps(structured("write_to_file", result)) + result.text


def test_an_edit_shows_its_diff() -> None:
    result = replaced_result(Replaced(written=written(), replacements=2, diff="--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n"))
    assert result.text.startswith("Made 2 replacements in src/app.py (12 bytes), mirrored as revision 7.\n--- a\n")
    assert structured("replace_in_file", result) is None
    assert result.facts == {"path": PATH, "replacements": 2, "size": 12, "mirrored": True, "revision": 7}


def test_a_command_says_how_it_ended_then_what_it_printed() -> None:
    result = executed(command(exit_code=1, head=b"boom\n"))
    assert result.text == "Exit code 1 after 1.2 s.\nboom"
    assert structured("execute_command", result) is None
    assert result.facts == {
        "state": "exited",
        "exit_code": 1,
        "duration_ms": 1234,
        "omitted_bytes": 0,
        "process_id": "p3",
        "previews": [],
        "mirror": {"revision": 7, "pending": False},
    }


def test_a_silent_command_says_that_it_was_silent() -> None:
    assert executed(command(head=b"")).text == "Exit code 0 after 1.2 s.\n(no output)"


def test_a_command_that_goes_on_names_the_call_that_follows_it() -> None:
    result = executed(command(RunState.RUNNING))
    assert 'check_process(process_id="p3", wait=45)' in result.text.splitlines()[0]
    assert result.facts["exit_code"] is None


def test_no_tool_is_named_that_the_client_was_not_offered() -> None:
    assert "check_process" not in executed(command(RunState.RUNNING, omitted=10), check=None).text


@pytest.mark.parametrize(
    ("state", "said"),
    [(RunState.TIMED_OUT, "timeout"), (RunState.KILLED, "Stopped"), (RunState.LOST, "whether it did its work")],
)
def test_a_command_that_did_not_exit_says_what_became_of_it(state: RunState, said: str) -> None:
    assert said in executed(command(state)).text.splitlines()[0]


def test_output_left_out_is_counted_and_the_way_to_it_named() -> None:
    result = executed(command(head=b"begin\n", tail=b"end\n", omitted=1_000_000))
    assert "1,000,000 bytes left out here" in result.text
    assert 'check_process(process_id="p3", offset=…)' in result.text
    assert "/tmp/out/p3" in result.text
    assert result.facts["omitted_bytes"] == 1_000_000


def test_ports_that_opened_come_with_their_previews() -> None:
    result = executed(command(RunState.RUNNING), previews=[LOCAL, SHARED])
    assert "Preview of port 5173: http://127.0.0.1:5173 (only this computer)" in result.text
    until = "anyone with the URL until 2027-01-15T08:00:00Z"
    assert f"Preview of port 8000: https://8000-abc.example.net ({until})" in result.text
    assert result.facts["previews"] == [
        {"port": 5173, "url": "http://127.0.0.1:5173", "public": False},
        {"port": 8000, "url": "https://8000-abc.example.net", "public": True, "expires_at": "2027-01-15T08:00:00Z"},
    ]


def test_the_mirror_is_mentioned_only_where_it_is_not_kept() -> None:
    assert "irror" not in executed(command()).text
    assert "Not mirrored at the moment: the store does not answer" in executed(command(), mirror=BROKEN_MIRROR).text


def test_a_process_is_followed_from_where_its_output_ended() -> None:
    chunk = OutputChunk(data=b"ready\n", offset=0, next_offset=6, omitted_bytes=0)
    result = checked_result(Checked(status=process(printed=6), output=chunk, previews=[LOCAL]), from_end=True)
    assert result.text.splitlines() == [
        "Process p3: running for 1 min 5 s (npm run dev).",
        "ready",
        '[what it prints from here on: check_process(process_id="p3", offset=6, wait=…)]',
        "Preview of port 5173: http://127.0.0.1:5173 (only this computer)",
    ]
    assert result.facts["next_offset"] == 6


def test_output_before_and_after_what_is_shown_of_a_process_can_be_asked_for() -> None:
    chunk = OutputChunk(data=b"middle", offset=100, next_offset=106, omitted_bytes=0)
    result = checked_result(
        Checked(status=process(RunState.EXITED, exit_code=0, printed=500), output=chunk, previews=[]), from_end=True
    )
    assert '[100 bytes before this: check_process(process_id="p3", offset=0)]' in result.text
    assert '[more of its output: check_process(process_id="p3", offset=106)]' in result.text
    assert result.facts["omitted_bytes"] == 100


def test_processes_are_listed_with_their_commands() -> None:
    result = processes_result([process(), process(RunState.EXITED, exit_code=0)])
    assert result.text.splitlines() == [
        "Process p3: running for 1 min 5 s (npm run dev)",
        "Process p3: exited with code 0 after 1 min 5 s (npm run dev)",
    ]
    assert processes_result([]).text == "No process has been started."


def entry(path: str, kind: EntryKind = EntryKind.FILE, size: int = 1234) -> Listed:
    return Listed(path=WorkspacePath(path), kind=kind, size=size)


def test_a_listing_tells_files_folders_and_links_apart() -> None:
    listing = Listing(
        entries=[
            entry("src", EntryKind.DIRECTORY),
            entry("src/a.py"),
            entry("link", EntryKind.SYMLINK),
            entry("pipe", EntryKind.OTHER),
        ],
        unlisted=[WorkspacePath("node_modules")],
        truncated=False,
    )
    result = listing_result(ROOT, listing)
    assert result.text.splitlines() == [
        "src/",
        "src/a.py  1.2 KB",
        "link  (symlink)",
        "pipe  (neither file nor folder)",
        "[not looked into: node_modules/]",
    ]
    assert result.facts["truncated"] is False


def test_a_listing_too_long_for_a_result_is_cut_and_says_so() -> None:
    entries = [entry(f"{'deep/' * 30}{number}.txt") for number in range(1000)]
    result = listing_result(ROOT, Listing(entries=entries, unlisted=[], truncated=False))
    listed = result.facts["entries"]
    assert isinstance(listed, list)
    assert len(listed) < 1000
    assert result.facts["truncated"] is True
    assert "there is more" in result.text
    assert len(result.text) <= MAX_RESULT_CHARS


def test_an_empty_folder_is_said_to_be_empty() -> None:
    assert listing_result(ROOT, Listing(entries=[], unlisted=[], truncated=False)).text == "The workspace is empty."


def match(path: str, line: int, text: str, before: Sequence[str] = (), after: Sequence[str] = ()) -> Match:
    return Match(path=WorkspacePath(path), line=line, text=text, before=before, after=after)


def test_matches_are_grouped_by_file_and_every_line_is_shown_once() -> None:
    found = Found(
        matches=[
            match("a.py", 2, "two", ["one"], ["three"]),
            match("a.py", 3, "three", ["two"], ["four"]),
            match("a.py", 9, "nine"),
            match("b.py", 1, "uno"),
        ],
        files=5,
        skipped=1,
        truncated=False,
    )
    result = found_result(found)
    assert result.text.splitlines() == [
        "4 matches in 2 files (5 files searched, 1 skipped (binary, too large or unreadable)).",
        "a.py",
        "1- one",
        "2: two",
        "3: three",
        "4- four",
        "--",
        "9: nine",
        "b.py",
        "1: uno",
    ]
    assert result.facts == {"matches": 4, "files": 2, "searched": 5, "truncated": False}


def test_matches_too_many_or_too_long_for_a_result_are_cut_and_said_to_be() -> None:
    many = [match(f"{number}.js", 1, "x" * 100_000) for number in range(300)]
    result = found_result(Found(matches=many, files=300, skipped=0, truncated=False))
    assert len(result.text) <= MAX_RESULT_CHARS
    assert result.facts["truncated"] is True
    assert "narrow it" in result.text.splitlines()[0]


def test_no_match_says_how_much_was_searched() -> None:
    assert found_result(Found(matches=[], files=3, skipped=0, truncated=False)).text == "No match (3 files searched)."


def test_a_workspace_being_prepared_names_the_call_that_joins_the_work() -> None:
    result = opened_result(opened("preparing"))
    assert result.text == (
        "Workspace todo-app (revision 7, 3 files) is being prepared: restoring, 40 %. "
        'The work goes on; open_workspace(name="todo-app") joins it.'
    )


def test_a_long_list_of_workspaces_stays_within_a_result() -> None:
    many = [summary(f"workspace-{number}") for number in range(1000)]
    result = summaries_result(many)
    assert "850 more of 1,000" in result.text
    assert len(json.dumps(structured("list_workspaces", result))) <= MAX_RESULT_CHARS
    assert len(result.text) <= MAX_RESULT_CHARS


def test_a_completion_says_what_to_show_and_what_went_wrong() -> None:
    text = completed_result(completed(server_error="\x1b[31mError: boom\x1b[0m\n"), "todo").text
    assert "Complete: 31 files mirrored (4 by this call), checkpoint complete-8 at revision 7." in text
    assert "Made with Next.js, TypeScript, pnpm; entry src/index.ts." in text
    assert "The development server did not come up (process p9): pnpm dev\nError: boom" in text
    assert "Show the user: http://127.0.0.1:5173" in text
    assert "Warning: not mirrored: a very odd name" in text


def test_a_completion_has_the_facts_that_scripts_rely_on() -> None:
    facts = completed_result(completed(), "todo").facts
    assert facts["tech_stack"] == {
        "language": "TypeScript",
        "framework": "Next.js",
        "package_manager": "pnpm",
        "entry": "src/index.ts",
    }
    assert facts["dev_server"] == {"started": True, "command": "pnpm dev", "process_id": "p9"}
    assert facts["previews"] == [
        {"port": 5173, "url": "http://127.0.0.1:5173", "public": False, "status": 200},
        {"port": 8000, "url": SHARED.url, "public": True, "expires_at": "2027-01-15T08:00:00Z"},
    ]


def test_the_facts_of_a_diff_of_many_long_paths_are_bounded_and_say_that_they_are_cut() -> None:
    entry = Entry(kind=EntryKind.FILE, mode=0o644, size=1, digest=Digest("ab" * 32), mime_type="text/plain")
    changes = [
        FileChange(path=WorkspacePath(f"{number:04}/" + "d/" * 2_000), before=None, after=entry)
        for number in range(1_000)
    ]
    found = Diff(
        before=Point(number=1, label=None),
        after=Point(number=2, label=None),
        is_sandbox=False,
        changes=changes,
        shown=Excerpt(text="", left_out=1_000, truncated=False),
        unmirrored=(),
    )
    result = diff_result(ROOT, found)
    assert len(json.dumps(result.facts)) < MAX_RESULT_CHARS
    assert (result.facts["added"], result.facts["truncated"]) == (1_000, True)
    assert len(result.text) < MAX_RESULT_CHARS
    assert "[and 999 more]" in result.text
    short = [replace(each, path=WorkspacePath(each.path[:4])) for each in changes]
    assert len(json.dumps(diff_result(ROOT, replace(found, changes=short)).facts)) < MAX_RESULT_CHARS
    few = diff_result(ROOT, replace(found, changes=short[:2]))
    assert few.facts["truncated"] is False
    assert "more]" not in few.text
