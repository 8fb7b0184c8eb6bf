"""Real projects with dependencies from their registries: installed, tested and served inside, and again after a loss.

They need the registries that pip and npm use on this machine, or a proxy to them, as the settings of a user would.
"""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.durability.machine import a_machine, in_time
from tests.e2e.hosts import commit, git, push, serving
from tests.e2e.judging import assert_refused
from tests.e2e.stdio_client import Result, StdioServer
from vaporform_mcp.types import WorkspaceName

pytestmark = pytest.mark.timeout(420)
LONG_CALLS = 6  # of at most a wait limit each

NETWORK = {
    name: value for name, value in os.environ.items() if re.search("proxy|_cert|_ca_|cainfo", name, re.IGNORECASE)
}
"""What a machine behind a company's proxy tells its programs, and a client the server: a user's environment has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """`install` brings what no mirror keeps: `lost` is a part of that."""

    name: WorkspaceName
    files: Mapping[str, str]
    install: str
    lost: str
    test: str
    passed: str
    serve: str
    port: int
    page: str
    framework: str


NODE = Project(
    name=WorkspaceName("node-shop"),
    files={
        "package.json": json.dumps(
            {
                "name": "shop",
                "private": True,
                "type": "module",
                "scripts": {"test": "mocha --exit", "dev": "node server.js"},
                "dependencies": {"express": "^5.1.0"},
                "devDependencies": {"mocha": "^11.0.0", "supertest": "^7.0.0"},
            }
        ),
        "app.js": 'import express from "express";\n'
        "export const app = express();\n"
        'app.get("/", (_, response) => response.send("<h1>bread &amp; milk</h1>"));\n',
        "server.js": 'import { app } from "./app.js";\napp.listen(3000, () => console.log("listening"));\n',
        "test/app.test.js": 'import request from "supertest";\nimport { app } from "../app.js";\n'
        'it("shows the list", () => request(app).get("/").expect(200, /bread/));\n',
    },
    install="npm install",
    lost="node_modules",
    test="npm test",
    passed="1 passing",
    serve="npm run dev",
    port=3000,
    page="bread &amp; milk",
    framework="Express",
)

PYTHON = Project(
    name=WorkspaceName("python-shop"),
    files={
        "requirements.txt": "flask>=3\npytest>=8\n",
        "app.py": "from flask import Flask\n\napp = Flask(__name__)\n\n\n"
        '@app.get("/")\ndef index():\n    return "<h1>tea &amp; honey</h1>"\n',
        "test_app.py": "from app import app\n\n\n"
        'def test_the_list():\n    assert b"tea" in app.test_client().get("/").data\n',
    },
    install="python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
    lost=".venv",
    test=".venv/bin/python -m pytest -q",
    passed="1 passed",
    serve=".venv/bin/flask --app app run --port 5000",
    port=5000,
    page="tea &amp; honey",
    framework="Flask",
)

VITE = Project(
    name=WorkspaceName("vite-shop"),
    files={
        "package.json": json.dumps(
            {
                "name": "front",
                "private": True,
                "type": "module",
                "scripts": {"build": "vite build", "dev": "vite --port 5173 --strictPort"},
                "devDependencies": {"vite": "^7.0.0"},
            }
        ),
        "index.html": '<title>rice &amp; beans</title><script type="module" src="/main.js"></script>\n',
        "main.js": 'document.body.append("rice");\n',
        "native.c": '#include <stdio.h>\nint main(void) { return puts("compiled") == EOF; }\n',
    },
    install="npm install",
    lost="node_modules",
    test="npm run build && { ! command -v cc || { mkdir -p build && cc native.c -o build/native && build/native; }; }",
    passed="built in",
    serve="npm run dev",
    port=5173,
    page="rice &amp; beans",
    framework="Vite",
)


@pytest.mark.parametrize(
    ("project", "level"),
    [(NODE, "auto"), (PYTHON, "auto"), (NODE, "restricted"), (PYTHON, "restricted"), (VITE, "restricted")],
    ids=["npm", "pip", "npm, restricted", "pip, restricted", "vite and a compiler, restricted"],
)
def test_a_real_project_is_built_tested_served_and_comes_back_after_the_loss_of_its_sandbox(
    tmp_path: Path, project: Project, level: str
) -> None:
    with a_machine(tmp_path, VAPORFORM_LOCAL__ISOLATION=level, **NETWORK) as machine, machine.server() as server:
        server.call("open_workspace", name=project.name)
        for path, content in project.files.items():
            assert server.call("write_to_file", path=path, content=content, workspace=project.name).facts["mirrored"]
        build(server, project)
        url = serve(server, project)
        finish(server, project, url)
        machine.destroy_sandbox(project.name)
        told = server.call("list_files", workspace=project.name)
        assert f"Commands on record that made it: {project.install}." in told.text
        assert f"The development server was started with: {project.serve}." in told.text
        for path, content in project.files.items():
            assert content in server.call("read_file", path=path, workspace=project.name).text
        assert project.lost not in server.call("list_files", workspace=project.name).text
        build(server, project)
        assert serve(server, project) == url


def test_a_git_repository_is_imported_with_its_branch_from_a_host_that_a_person_allowed(tmp_path: Path) -> None:
    """Served here over plain HTTP from 127.0.0.1, which is refused without the setting."""
    with (
        git_host(tmp_path) as port,
        a_machine(tmp_path, VAPORFORM_LOCAL__EGRESS_PRIVATE=f"127.0.0.1:{port}") as machine,
    ):
        url = f"http://127.0.0.1:{port}/shop.git"
        with machine.server() as server:
            opened = server.call("open_workspace", name="shop", git_url=url, branch="next")
            assert opened.facts["state"] == "ready", opened.text
            assert server.call("read_file", path="README.md", workspace="shop").text == "the next one\n"
            said = server.call("execute_command", command="git log --oneline; git status", workspace="shop").text
            assert "second" in said
            assert "nothing to commit" in said
            assert server.call("attempt_completion", result="imported", workspace="shop").facts["mirrored"]
            again = server.call("open_workspace", name="shop", git_url=url, branch="next")
            assert again.facts["state"] == "ready", again.text
            machine.destroy_sandbox(WorkspaceName("shop"))
            healed = server.call("read_file", path="README.md", workspace="shop")
            assert "the next one" in healed.text
            assert "The git repository came back" in healed.text
            said = server.call("execute_command", command="git log --oneline; git status", workspace="shop").text
            assert "second" in said
            assert "nothing to commit" in said
        assert machine.stored("shop")["README.md"] == b"the next one\n"
        assert [path for path in machine.stored("shop") if path.startswith(".git/")] == [".git/vaporform/state"]


def test_a_git_host_on_this_machine_is_out_of_reach_where_nobody_allowed_it(tmp_path: Path) -> None:
    with git_host(tmp_path) as port, a_machine(tmp_path) as machine, machine.server() as server:
        refused = server.call("open_workspace", name="shop", git_url=f"http://127.0.0.1:{port}/shop.git")
        assert_refused(refused, "sandbox_unavailable", machine.data_dir)


def test_a_branch_that_there_is_not_is_named_and_the_right_one_works_at_once(tmp_path: Path) -> None:
    with (
        git_host(tmp_path) as port,
        a_machine(tmp_path, VAPORFORM_LOCAL__EGRESS_PRIVATE=f"127.0.0.1:{port}") as machine,
        machine.server() as server,
    ):
        url = f"http://127.0.0.1:{port}/shop.git"
        refused = server.call("open_workspace", name="shop", git_url=url, branch="nowhere")
        assert_refused(refused, "not_found", machine.data_dir)
        assert "nowhere" in refused.text
        opened = server.call("open_workspace", name="shop", git_url=url, branch="main")
        assert opened.facts["state"] == "ready", opened.text
        assert server.call("read_file", path="README.md", workspace="shop").text == "the first one\n"


def build(server: StdioServer, project: Project) -> None:
    installed = ended(server, project, project.install)
    assert installed.facts["exit_code"] == 0, installed.text
    tested = ended(server, project, project.test)
    assert tested.facts["exit_code"] == 0, tested.text
    assert project.passed in tested.text


def ended(server: StdioServer, project: Project, command: str) -> Result:
    """Its result when it has ended, also where it took longer than a call may."""
    result = server.call("execute_command", command=command, workspace=project.name)
    for _ in range(LONG_CALLS):
        if result.facts["state"] != "running":
            break
        process = result.facts.get("process_id")
        result = server.call("check_process", process_id=process, wait=45, workspace=project.name)
    return result


def serve(server: StdioServer, project: Project) -> str:
    started = server.call("execute_command", command=project.serve, background=True, workspace=project.name)
    assert started.facts["state"] == "running", started.text
    urls = {each["port"]: each["url"] for each in started.facts["previews"]}
    url = (
        urls.get(project.port) or server.call("get_preview_url", port=project.port, workspace=project.name).facts["url"]
    )
    assert project.page in in_time(lambda: fetched(url))
    return str(url)


def finish(server: StdioServer, project: Project, url: str) -> None:
    completed = server.call("attempt_completion", result="A shop.", workspace=project.name)
    assert completed.facts["mirrored"]
    assert completed.facts["preview_url"] == url
    assert completed.facts["files_total"] in {len(project.files), len(project.files) + 1}  # with a lock file
    assert completed.facts["tech_stack"]["framework"] == project.framework


def fetched(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # a preview of our own
            return answer.read().decode()
    except OSError:
        return ""


@contextmanager
def git_host(folder: Path) -> Generator[int]:
    """A repository `shop.git` with the branches main and next, served on the port that this yields."""
    source, bare = folder / "source", folder / "served" / "shop.git"
    commit(source, {"README.md": "the first one\n"}, "first")
    git(source, "checkout", "--quiet", "-b", "next")
    commit(source, {"README.md": "the next one\n"}, "second")
    push(source, bare)
    with serving(bare.parent) as (port, _):
        yield port
