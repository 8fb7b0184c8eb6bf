"""A person's folder and a workspace that an agent works in at the same time: the installed program pushes and pulls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import pytest

from tests.e2e.test_cli import DENYING, PROGRAM, arun, call, client, run
from tests.e2e.test_cli_store import tree_of
from vaporform_mcp.app import OWNER
from vaporform_mcp.stores.sqlite import open_sqlite

LARGE = os.urandom(9 * 1024 * 1024)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "VAPORFORM_DATA_DIR": str(tmp_path / "data")}


def make(folder: Path, contents: dict[str, bytes]) -> None:
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


async def asked(environment: dict[str, str], *arguments: str) -> tuple[int, dict[str, object]]:
    done = await arun(environment, *arguments, "--json")
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


async def test_a_folder_goes_in_an_agent_works_on_it_and_it_comes_back_with_nothing_newer_lost(
    environment: dict[str, str], tmp_path: Path
) -> None:
    mine, other = tmp_path / "My App", tmp_path / "other"
    make(mine, {"src/a.py": b"1", "run": b"#!/bin/sh\necho ran", "debug.log": b"l", "big": LARGE, "gone": b"g"})
    make(mine, {".gitignore": b"*.log\n", "node_modules/m": b"m", "both": b"0"})
    (mine / "run").chmod(0o755)
    (mine / "link").symlink_to("src/a.py")
    pushed = {".gitignore", "src/a.py", "run", "big", "gone", "both", "link"}

    # A dry run makes nothing, not even the data folder.
    status, would = await asked(environment, "push", str(mine), "--dry-run")
    assert (status, set(would["written"])) == (0, pushed)  # pyright: ignore[reportArgumentType, reportCallIssue]
    nothing = await arun(environment, "pull", "my-app", str(mine), "--dry-run")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "there is no workspace my-app" in nothing.stderr
    assert not (tmp_path / "data").exists()
    assert json.loads((await arun(environment, "workspaces", "--json")).stdout) == []

    async with client(environment) as agent:  # a server is at work on it all the while
        await call(agent, "list_files", workspace="my-app")
        status, did = await asked(environment, "push", str(mine))
        assert (status, set(did["written"])) == (0, pushed)  # pyright: ignore[reportArgumentType, reportCallIssue]
        assert "ran" in await call(agent, "execute_command", command="./run && cat link", workspace="my-app")
        assert (await asked(environment, "push", str(mine)))[1]["written"] == []

        await call(agent, "execute_command", command="echo 2 > src/a.py; rm gone; echo a > both", workspace="my-app")
        (mine / "both").write_bytes(b"mine")
        # What the agent changed meanwhile is newer: a push leaves it alone, a pull fetches it.
        status, did = await asked(environment, "push", str(mine))
        assert (status, did["written"], did["removed"]) == (1, [], [])
        assert did["kept"] == {
            "both": "was changed on both sides", "gone": "was removed there", "src/a.py": "is newer there",
        }  # fmt: skip
        status, did = await asked(environment, "pull", "my-app", str(mine))
        assert (status, did["written"], did["removed"]) == (1, ["src/a.py"], ["gone"])
        assert did["kept"] == {"both": "was changed on both sides"}
        assert tree_of(mine) == {
            "src/a.py": b"2\n", "run": b"#!/bin/sh\necho ran", "debug.log": b"l", "big": LARGE,
            ".gitignore": b"*.log\n", "node_modules/m": b"m", "both": b"mine", "link": "src/a.py",
        }  # fmt: skip
        # Asked, it is replaced; and what was there can be had back.
        status, did = await asked(environment, "push", str(mine), "--overwrite")
        assert (status, did["written"]) == (0, ["both"])
        assert "mine" in await call(agent, "read_file", path="both", workspace="my-app")

        # Another folder gets all of it, and what is removed there is removed here.
        assert (await asked(environment, "pull", "my-app", str(other)))[0] == 0
        assert set(tree_of(other)) == {".gitignore", "src/a.py", "run", "big", "both", "link"}
        assert os.access(other / "run", os.X_OK)
        (other / "run").unlink()
        status, did = await asked(environment, "push", str(other), "my-app")
        assert (status, did["removed"]) == (0, ["run"])
        assert (await asked(environment, "pull", "my-app", str(mine)))[1]["removed"] == ["run"]
    async with open_sqlite(tmp_path / "data" / "vaporform.sqlite3") as store:
        record = await store.get_workspace(OWNER, "my-app")
        assert record is not None
        made_by = [revision.made_by for revision in await store.log(record.id)]
        assert "push: My App" in made_by
        assert "push: other" in made_by
        before = await store.entries(record.id, [*await store.tree(record.id)], 1)
        assert before
    await arun(environment, "stop", "--all")


async def test_the_line_that_a_completion_ends_with_fetches_the_files(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with client(environment) as agent:
        await call(agent, "write_to_file", path="index.txt", content="made", workspace="todo")
        done = await agent.call_tool("attempt_completion", {"result": "done", "workspace": "todo"})
    assert done.structured_content is not None
    fetch = done.structured_content["fetch"]
    assert done.content[0].model_dump()["text"].rstrip().endswith(fetch)
    program, *arguments = fetch.split()
    assert program == "vaporform-mcp"
    assert run_in(tmp_path, environment, arguments).returncode == 0
    assert tree_of(tmp_path / "todo") == {"index.txt": b"made"}
    await arun(environment, "stop", "--all")


def run_in(folder: Path, environment: dict[str, str], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_what_cannot_be_pushed_or_pulled_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    for arguments, said in (
        (["push", str(tmp_path / "none")], "is no folder"),
        (["push", str(tmp_path), "all"], "own data folder"),
        (["pull", "none", str(tmp_path / "x")], "there is no workspace none"),
    ):
        done = run(environment, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


async def test_what_a_pull_could_not_have_is_told_and_its_exit_status_says_so(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment |= {"VAPORFORM_MIRROR__FILE_MB": "1"}
    async with client(environment) as agent:
        await call(agent, "write_to_file", path="a", content="1", workspace="todo")
        await call(agent, "execute_command", command="head -c 2000000 /dev/zero > big", workspace="todo")
        # Over the limit of the mirror, so that the folder does not get it.
        status, did = await asked(environment, "pull", "todo", str(tmp_path / "one"))
        assert (status, did["written"]) == (1, ["a"])
        (told,) = did["unmirrored"]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        assert told.startswith("big: ")  # pyright: ignore[reportUnknownMemberType]
        plain = await arun(environment, "pull", "todo", str(tmp_path / "one"))
        assert plain.returncode == 1
        assert "not in the mirror: big: " in plain.stderr
        await call(agent, "execute_command", command="rm big", workspace="todo")
        assert (await asked(environment, "pull", "todo", str(tmp_path / "one")))[0] == 0
    await arun(environment, "stop", "--all")
    # Where no sandbox is to be had, the mirror is what there is.
    how = "container" if os.geteuid() == 0 else "user"
    denied = await anyio.to_thread.run_sync(
        lambda: subprocess.run(
            [sys.executable, DENYING, how, *PROGRAM, "pull", "todo", str(tmp_path / "two")],
            env={**environment, "VAPORFORM_LOCAL__ISOLATION": "namespaces"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    )
    assert denied.returncode == 1
    assert "1 file written" in denied.stdout
    assert "not in the mirror: whatever was not mirrored before, since the sandbox cannot be had: " in denied.stderr
    assert tree_of(tmp_path / "two") == {"a": b"1"}


async def test_restore_makes_files_as_they_were_beside_a_server_at_work_and_says_how_to_undo_it(
    environment: dict[str, str],
) -> None:
    async with client(environment) as agent:
        await call(agent, "write_to_file", path="a", content="first", workspace="todo")
        await call(agent, "write_to_file", path="b", content="other", workspace="todo")
        await call(agent, "execute_command", command="echo second > a", workspace="todo")
        unasked = await arun(environment, "restore", "todo", "1")
        assert unasked.returncode == 1
        assert "--yes" in unasked.stderr
        one = await arun(environment, "restore", "todo", "1", "a")
        assert (one.returncode, one.stderr) == (0, "")
        assert "1 file restored, 0 removed" in one.stdout
        assert "first" in await call(agent, "read_file", path="a", workspace="todo")
        status, did = await asked(environment, "restore", "todo", "1", "--yes")
        assert (status, did["files_removed"]) == (0, 1)
        undone = await arun(environment, "restore", "todo", str(did["undo"]), "--yes")
        assert undone.returncode == 0
        assert "other" in await call(agent, "read_file", path="b", workspace="todo")
        unknown = await arun(environment, "restore", "todo", "99", "--yes")
        assert unknown.returncode == 1
        assert "The newest is revision" in unknown.stderr
    await arun(environment, "stop", "--all")
