"""The demo plays the main job through the real server, and says truthfully whether it went as it should."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from pymongo import MongoClient

from tests import mongod
from tests.e2e.stdio_client import PROGRAM
from tests.e2e.terminal import LIMIT_S, run_program, surroundings
from vaporform_mcp.demo.sample import PYTHON, Sample

DENYING = Path(__file__).parents[1] / "security" / "denying.py"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return surroundings(tmp_path, VAPORFORM_LOCAL__NETWORK="none")


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_program(environment, "demo", *arguments)


def write_mended(sample: Sample, folder: Path) -> None:
    """The sample as a project that exists, without its mistake."""
    wrong, right = (
        part.split(" SEARCH\n")[-1].split("\n>>>>")[0].strip("\n") for part in sample.mend.split("=======\n")
    )
    for path, content in sample.files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content.replace(wrong, right), encoding="utf-8")


@pytest.mark.parametrize("level", ["namespaces", "restricted"])
def test_the_main_job_goes_as_it_should_and_leaves_nothing_behind(
    environment: dict[str, str], tmp_path: Path, level: str, request: pytest.FixtureRequest
) -> None:
    if level == "namespaces":
        request.getfixturevalue("namespaces")
    done = run({**environment, "VAPORFORM_LOCAL__ISOLATION": level})
    assert done.returncode == 0, done.stdout
    assert re.search(rf"^  isolation +{level}", done.stdout, re.MULTILINE)
    assert "fails" in done.stdout  # a test, before it is mended
    assert "nobody answers, as it should be" in done.stdout
    assert re.search(r"^Everything was as it should be: \d+ tool calls, [\d.]+ s in all\.$", done.stdout, re.MULTILINE)
    assert "  NO  " not in done.stdout
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "data").exists()  # the user's own workspaces were not touched
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_every_step_has_its_result_and_its_time(environment: dict[str, str]) -> None:
    lines = run(environment).stdout.splitlines()
    steps = [number for number, line in enumerate(lines) if re.match(r"  (ok|NO)  \w+", line)]
    assert len(steps) >= 15
    for number in steps:
        assert re.search(r"\d (ms|s)$", lines[number])
        assert re.match(r" {6}\S", lines[number + 1])


def test_an_existing_project_goes_through_the_same_loop(environment: dict[str, str], tmp_path: Path) -> None:
    project = tmp_path / "project"
    write_mended(PYTHON, project)
    done = run(environment, "--from", str(project))
    assert done.returncode == 0, done.stdout
    assert f"{len(PYTHON.files)} files, each mirrored" in done.stdout
    assert "Everything was as it should be" in done.stdout
    assert sorted(path.name for path in project.iterdir()) == sorted(PYTHON.files)  # nothing was written to it


def test_a_project_whose_own_tests_fail_is_told_and_no_failure_of_the_demo(
    environment: dict[str, str], tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for path, content in PYTHON.files.items():
        (project / path).write_text(content, encoding="utf-8")
    done = run(environment, "--from", str(project))
    assert done.returncode == 0, done.stdout
    assert "The project's own tests fail" in done.stdout


def test_a_source_that_is_none_ends_with_status_2(environment: dict[str, str], tmp_path: Path) -> None:
    done = run(environment, "--from", str(tmp_path / "missing"))
    assert done.returncode == 2
    assert "neither a folder nor" in " ".join(done.stdout.split())


def test_kept_the_preview_stays_up_until_ctrl_c_and_the_workspace_after_it(environment: dict[str, str]) -> None:
    demo = subprocess.Popen(
        [*PROGRAM, "demo", "--keep"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    try:
        said = read_until(demo.stdout.fileno(), "until you press")
        found = re.search(r"The preview is up at (http://\S+)", said)
        assert found, said
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(found[1], timeout=10) as page:
            assert b"Shopping list" in page.read()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=LIMIT_S) == 0
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()
    (kept,) = json.loads(command(environment, "workspaces", "--json"))
    assert kept["name"] == "demo"
    command(environment, "stop", "--all")


def where_namespaces_are_denied(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    how = "container" if os.geteuid() == 0 else "user"
    return run_program(environment, "demo", before=(sys.executable, str(DENYING), how))


def test_where_namespaces_are_denied_the_main_job_goes_as_well_and_says_what_is_less(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = where_namespaces_are_denied(environment)
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert "isolation restricted, since this system does not let ordinary programs make namespaces" in said
    assert "there is no /workspace" in said
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_machine_that_cannot_isolate_as_the_settings_want_is_told_why_and_how_it_is_mended(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = where_namespaces_are_denied({**environment, "VAPORFORM_LOCAL__ISOLATION": "namespaces"})
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    said = " ".join(done.stdout.split())
    assert "namespace" in said
    assert "NO open_workspace" in said
    assert "vaporform-mcp doctor" in done.stdout
    assert list((tmp_path / "tmp").iterdir()) == []


def command(environment: dict[str, str], *arguments: str) -> str:
    done = run_program(environment, *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def read_until(descriptor: int, end: str) -> str:
    """What comes, up to `end`."""
    said = ""
    deadline = time.monotonic() + LIMIT_S
    while end not in said:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"not said in time: {end!r}, but {said!r}"
        read = os.read(descriptor, 65536).decode()
        assert read, f"ended before {end!r}: {said}"
        said += read
    return said


def test_it_plays_with_a_database_as_the_store_and_leaves_no_workspace_there(environment: dict[str, str]) -> None:
    uri = mongod.shared.uri()
    with mongod.dropped(uri) as name:
        environment |= {"VAPORFORM_STORE": "mongo", "MONGODB_URI": uri, "VAPORFORM_MONGO__DATABASE": name}
        done = run(environment)
        assert done.returncode == 0, done.stdout
        assert "was rebuilt from the mirror" in " ".join(done.stdout.split())
        with MongoClient[dict[str, object]](uri) as client:
            assert client[name]["blobs.files"].count_documents({}) > 0
            assert client[name]["workspaces"].count_documents({}) == 0


def test_a_database_that_cannot_be_reached_is_told_with_its_mend(environment: dict[str, str]) -> None:
    environment |= {"VAPORFORM_STORE": "mongo", "MONGODB_URI": "mongodb://ada:secret@127.0.0.1:1/"}
    done = run(environment)
    assert done.returncode == 1
    told = " ".join(done.stdout.split())
    assert "the MongoDB server cannot be reached" in told
    assert "VAPORFORM_MONGO__URI (or MONGODB_URI)" in told
    assert "secret" not in done.stdout
    assert "Traceback" not in done.stdout
