"""Workspaces that are copied between SQLite and MongoDB: the installed program, over a server's protocol."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import mongod
from tests.contract.stores import digest_of
from tests.e2e.test_cli import arun, call, client, run
from tests.e2e.test_cli_store import fill, tamper, tree_of


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    home = tmp_path / "home"
    home.mkdir()
    uri = mongod.shared.uri()
    with mongod.dropped(uri) as name:
        yield {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "VAPORFORM_DATA_DIR": str(tmp_path / "data"),
            "VAPORFORM_MONGO__URI": uri,
            "VAPORFORM_MONGO__DATABASE": name,
        }


def on_mongo(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "VAPORFORM_STORE": "mongo"}


async def test_workspaces_go_to_mongo_with_their_histories_and_back_and_repeating_brings_what_is_new(
    environment: dict[str, str], tmp_path: Path
) -> None:
    await fill(tmp_path / "data" / "vaporform.sqlite3")
    done = await arun(environment, "copy", "--to", "mongo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "todo: 4 revisions, 7 contents, 40 B" in done.stdout
    assert "VAPORFORM_STORE=mongo" in done.stdout
    assert "todo: nothing new" in (await arun(environment, "copy", "--to", "mongo")).stdout
    histories = [run(each, "history", "todo", "--json").stdout for each in (environment, on_mongo(environment))]
    assert histories[0] == histories[1]
    for at, where in (("release", "then"), ("4", "now")):
        assert run(on_mongo(environment), "export", "todo", str(tmp_path / where), "--at", at).returncode == 0
    assert tree_of(tmp_path / "then") == {"a.txt": b"second", "src/run.sh": b"#!/bin/sh\n", "gone.txt": b"gone"}
    assert tree_of(tmp_path / "now")["run"] == "src/run.sh"
    assert run(on_mongo(environment), "verify").returncode == 0
    # And back, onto a machine that has no store yet.
    elsewhere = {**environment, "VAPORFORM_DATA_DIR": str(tmp_path / "elsewhere")}
    back = json.loads(run(elsewhere, "copy", "todo", "--to", "sqlite", "--json").stdout)
    assert back["copied"]["todo"]["revisions"] == 4
    assert run(elsewhere, "history", "todo", "--json").stdout == histories[0]


async def test_a_sandbox_goes_on_with_the_store_that_its_workspace_was_copied_to_and_loses_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with client(environment) as connected:
        await call(connected, "write_to_file", path="early.txt", content="early", workspace="todo")
        assert (await arun(environment, "copy", "--to", "mongo")).returncode == 0
        await call(connected, "execute_command", command="echo changed > early.txt", workspace="todo")
        await call(connected, "write_to_file", path="late.txt", content="late", workspace="todo")
        await call(connected, "attempt_completion", result="done", workspace="todo")  # all synced, into the old store
    # Nobody copied again. What the sandbox has is in the new store after its first sync there.
    async with client(on_mongo(environment)) as connected:
        assert "late" in await call(connected, "read_file", path="late.txt", workspace="todo")
        done = await connected.call_tool("attempt_completion", {"result": "done", "workspace": "todo"})
        assert done.structured_content is not None
        assert (done.structured_content["files_total"], done.structured_content["mirrored"]) == (2, True)
    out = tmp_path / "out"
    assert (await arun(on_mongo(environment), "export", "todo", str(out))).returncode == 0
    assert tree_of(out) == {"early.txt": b"changed\n", "late.txt": b"late"}
    # The two have gone different ways now, which is told, and neither is changed.
    refused = await arun(environment, "copy", "--to", "mongo")
    assert refused.returncode == 1
    assert "not copied: todo: the copy has a history of its own" in refused.stderr
    await arun(environment, "stop", "--all")


async def test_what_is_lost_is_named_with_status_1_and_the_rest_is_copied(
    environment: dict[str, str], tmp_path: Path
) -> None:
    store_file = tmp_path / "data" / "vaporform.sqlite3"
    await fill(store_file)
    tamper(store_file, digest_of(b"second"))
    done = run(environment, "copy", "--to", "mongo")
    assert done.returncode == 1
    assert "lost: todo: a.txt of revision 2" in done.stderr
    assert run(on_mongo(environment), "verify").returncode == 0
    with closing(sqlite3.connect(store_file)) as connection:
        assert connection.execute("SELECT count(*) FROM revisions WHERE workspace = 1").fetchone() == (4,)


def test_where_no_server_is_named_or_none_answers_it_is_said_what_to_set(environment: dict[str, str]) -> None:
    nameless = {name: value for name, value in environment.items() if "MONGO" not in name}
    unnamed = run(nameless, "copy", "--to", "mongo")
    assert (unnamed.returncode, unnamed.stdout) == (1, "")
    assert "VAPORFORM_MONGO__URI" in unnamed.stderr
    down = {**environment, "VAPORFORM_MONGO__URI": "mongodb://user:hidden@127.0.0.1:9/"}
    unreachable = run(down, "copy", "--to", "sqlite")
    assert unreachable.returncode == 1
    assert "hidden" not in unreachable.stderr
    assert "Traceback" not in unreachable.stderr


def test_a_dry_run_makes_no_database_and_no_data_folder(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_bytes(b"1")
    pushed = run(on_mongo(environment), "push", str(tmp_path / "mine"), "--dry-run")
    assert (pushed.returncode, pushed.stderr) == (0, "")
    assert "1 file would be written" in pushed.stdout
    pulled = run(on_mongo(environment), "pull", "mine", str(tmp_path / "mine"), "--dry-run")
    assert pulled.returncode == 1
    assert "there is no workspace mine" in pulled.stderr
    assert environment["VAPORFORM_MONGO__DATABASE"] not in mongod.client().list_database_names()
    assert not (tmp_path / "data").exists()
