"""What of the mirror must not grow: the time for its history with the revisions, its memory with the size of a file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.client import Client, Json, ServerFailed
from benchmarks.copies import timed
from benchmarks.memory import peak_bytes, reset_peak, resident_bytes, supervisors
from benchmarks.samples import OURS, Row, Target
from benchmarks.subjects import Subject
from vaporform_mcp.stores.base import Blob, Store
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.types import Change, Entry, EntryKind, Spec, WorkspaceName, WorkspacePath, WorkspaceRecord
from vaporform_mcp.workspace.files import digest_of

__all__ = ["large_file", "revisions"]

HISTORY_MS = 50.0
HISTORY_FILES = 1_000
HISTORY_LIMIT = 50
READINGS = 9

LARGE_MB = 64.0
LARGE_GB = 1
LARGE = {"VAPORFORM_MIRROR__FILE_MB": "2000"}
COMPLETIONS = 60
REST_S = 1.5

_MB = 1_000_000


async def revisions(folder: Path, counts: Sequence[int]) -> Sequence[Row]:
    """`history` and trees of a workspace of 1,000 files while its revisions grow; each changes two files."""
    rows: list[Row] = []
    async with open_sqlite(folder / "revisions.sqlite3") as store:
        record = await store.create_workspace(_record())
        await _append(store, record.id, 0, [f"file{number}.txt" for number in range(HISTORY_FILES)])
        done = 1
        for count in counts:
            for number in range(done, count):
                await _append(
                    store, record.id, number, [f"file{number * 7 % HISTORY_FILES}.txt", f"file{number % 9}.txt"]
                )
            done = count
            rows += await _read(store, record.id, count, is_last=count == counts[-1])
    return rows


async def _read(store: Store, workspace_id: str, count: int, *, is_last: bool) -> Sequence[Row]:
    target = Target(limit=HISTORY_MS, relative=False) if is_last else None
    log, newest, middle = (
        Row(key=key, title=f"{title} of {count:,} revisions", unit="ms", baseline=None, target=target)
        for key, title in (
            ("history", f"`history`, the newest {HISTORY_LIMIT}"),
            ("tree", f"Tree of {HISTORY_FILES:,} files at the newest"),
            ("tree-middle", f"Tree of {HISTORY_FILES:,} files at the middle one"),
        )
    )
    for _ in range(READINGS):
        log.add(OURS, await timed(lambda: store.log(workspace_id, limit=HISTORY_LIMIT)) * 1000)
        newest.add(OURS, await timed(lambda: store.tree(workspace_id, count)) * 1000)
        middle.add(OURS, await timed(lambda: store.tree(workspace_id, count // 2)) * 1000)
    return [log, newest, middle]


async def _append(store: Store, workspace_id: str, parent: int, paths: Sequence[str]) -> None:
    """A revision after `parent`, in which these paths have contents that they never had."""
    contents = {path: f"{path} {parent}\n".encode() for path in paths}
    blobs = {
        path: Blob(digest=digest_of(content), content=content, mime_type="text/plain")
        for path, content in contents.items()
    }
    await store.put_blobs(list(blobs.values()))
    changes = [
        Change(
            path=WorkspacePath(path),
            entry=Entry(
                kind=EntryKind.FILE,
                mode=0o644,
                size=len(blob.content),
                digest=blob.digest,
                mime_type=blob.mime_type,
            ),
        )
        for path, blob in blobs.items()
    ]
    await store.append(
        workspace_id, parent=parent, revision_id=f"r{parent}", epoch=1, changes=changes, made_by="benchmark"
    )


def _record() -> WorkspaceRecord:
    now = time.time()
    return WorkspaceRecord(
        id="history",
        owner="local",
        name=WorkspaceName("history"),
        spec=Spec(provider="local"),
        created_at=now,
        last_used_at=now,
    )


def large_file(bench: Bench) -> Sequence[Row]:
    """How far the server, and the sandbox's supervisor, rise above their idle while one file of 1 GB is mirrored."""
    server, supervisor = (
        Row(
            key=f"large-{who}",
            title=f"Memory for a file of {LARGE_GB} GB, above idle: {who}",
            unit="MB",
            baseline=None,
            target=Target(limit=LARGE_MB, relative=False),
        )
        for who in ("server", "supervisor")
    )
    for subject in bench.subjects:
        with bench.leaving_out(subject, server.title), subject.session() as client:
            above = _above_idle(subject, client)
            server.add(OURS, above[0] / _MB)
            supervisor.add(OURS, above[1] / _MB)
    return [server, supervisor]


def _above_idle(subject: Subject, client: Client) -> tuple[int, int]:
    _run(client, "echo small > small.txt")
    _complete(client)
    time.sleep(REST_S)
    if subject.data_dir is None:
        raise AssertionError("ours has one")
    (supervisor,) = supervisors(subject.data_dir)
    processes = (client.pid, supervisor)
    idle = [resident_bytes(process) for process in processes]
    for process in processes:
        reset_peak(process)
    # Incompressible, and made without a process that holds it.
    _run(client, f"head -c {LARGE_GB}G /dev/urandom > large.bin")
    _complete(client)
    if sum(each.stat().st_size for each in subject.data_dir.glob("vaporform.sqlite3*")) < LARGE_GB << 30:
        raise ServerFailed("the large file is not in the store")
    server, supervised = (peak_bytes(process) - before for process, before in zip(processes, idle, strict=True))
    return server, supervised


def _run(client: Client, command: str) -> None:
    ran = client.call("execute_command", {"command": command})
    if ran.facts.get("exit_code") != 0:
        raise ServerFailed(f"the command did not do what was asked: {ran.text[:300]}")


def _complete(client: Client) -> None:
    """Until all that was written is mirrored."""
    arguments: Mapping[str, Json] = {"result": "Made."}
    for _ in range(COMPLETIONS):
        facts = client.call("attempt_completion", arguments).facts
        if facts.get("mirrored") and not facts.get("warnings"):
            return
    raise ServerFailed("the large file was not mirrored")
