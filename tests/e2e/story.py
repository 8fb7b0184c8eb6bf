"""One agent's session from an import to its completion, and all that can go wrong in it, with what there was to see.

It is played once for each provider, through the real server over stdio, and kept: the checklist's tests look at what it
left in `Story`, so that many of them cost one session.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.durability.machine import in_time, run
from tests.e2e import shop
from tests.e2e.hosts import commit, publish, push, serving
from tests.e2e.places import DaytonaPlace, LocalPlace, fetch, open_place
from tests.e2e.stdio_client import Result, StdioServer, result_of, stop_sandboxes
from vaporform_mcp.types import Revision

__all__ = ["Story", "the_story"]


@dataclass(slots=True, kw_only=True)
class Story:
    """What was answered, and what was found in sandbox and store without asking the server."""

    results: dict[str, Result] = field(default_factory=dict[str, Result])
    inside: dict[str, bytes | None] = field(default_factory=dict[str, bytes | None])
    mirror: dict[str, Mapping[str, bytes]] = field(default_factory=dict[str, Mapping[str, bytes]])
    seen: dict[str, Any] = field(default_factory=dict[str, Any])
    revisions: list[Revision] = field(default_factory=list[Revision])
    progress: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    logged: str = ""


def the_story(place: str, folders: pytest.TempPathFactory) -> Story:
    """Played by the first process of a test run that asks, in a folder of its own; the others get what it kept."""
    base = folders.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    kept = shared / f"story-{place}"
    with (shared / f"story-{place}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(_play(place, folders.mktemp(f"played-{place}"))))
        story: Story = pickle.loads(kept.read_bytes())  # noqa: S301  # what we have written
        return story


def _play(place_name: str, folder: Path) -> Story:
    served = folder / "served"
    commit(folder / "source", shop.REPOSITORY, "first")
    push(folder / "source", served / "shop.git")
    story = Story()
    with serving(served) as (port, asked), open_place(place_name, folder, **_settings(port)) as place:
        host = place.host(port)
        publish(served / "npm", f"http://{host}/npm", "greeting", "1.0.0", shop.GREETING)
        with place.machine.server(VAPORFORM_WORKSPACE="shop") as server:
            _import(story, place, server, f"http://{host}/shop.git")
            _first_then(story, place, server)
            _generate(story, place, server, host)
            _complete(story, place, server)
            story.seen["asked"] = list(asked)
            _read(story, place, server)
            story.revisions = place.machine.revisions("shop")
            _mirror_fails(story, place, server)
            _server_fails(story, server)
            _write_fails(story, place, server)
            _start_fails(story, place, server, folder)
            story.logged = server.logged()
    return story


def _settings(port: int) -> Mapping[str, str]:
    return {"VAPORFORM_LOCAL__EGRESS_PRIVATE": f"127.0.0.1:{port}"}


def _import(story: Story, place: LocalPlace | DaytonaPlace, server: StdioServer, url: str) -> None:
    """A tool is called at once, while the workspace is made."""
    arguments: dict[str, object] = {"name": "shop", "git_url": url}
    if isinstance(place, DaytonaPlace):
        place.service.settings(timings={"creating": 1.2})
        arguments["public"] = True
    opening = server.begin_call("open_workspace", arguments, {"_meta": {"progressToken": "opening"}})
    reading = server.begin_call("read_file", {"path": "README.md"})
    story.results["read while it opens"] = result_of(server.answer(reading))
    story.results["open"] = result_of(server.answer(opening))
    story.progress = [each["params"] for each in server.notifications if each["method"] == "notifications/progress"]
    if isinstance(place, DaytonaPlace):
        story.seen["sandbox"] = place.sandbox("shop")
        ours = [each for each in place.service.requests() if "X-Daytona-Source" in _headers(each)]
        place.service.settings(timings={"creating": 0.02})
        story.seen["requests"] = [(each["route"], each["status"]) for each in ours]
    story.inside["README.md"] = place.read("shop", "README.md")
    story.inside[".git/HEAD"] = place.read("shop", ".git/HEAD")


def _headers(request: Mapping[str, object]) -> Mapping[str, str]:
    headers = request["headers"]
    assert isinstance(headers, dict)
    return headers  # pyright: ignore[reportUnknownVariableType]  # of JSON


def _first_then(story: Story, place: LocalPlace | DaytonaPlace, server: StdioServer) -> None:
    """The store is held by another process while a file is written."""
    with _store_held(place):
        writing = server.begin_call("write_to_file", {"path": "first.txt", "content": "first\n"})
        story.inside["first.txt"] = in_time(lambda: place.read("shop", "first.txt"))
        story.mirror["held"] = place.machine.stored("shop")
    story.results["write"] = result_of(server.answer(writing))
    story.mirror["let go"] = place.machine.stored("shop")


@contextmanager
def _store_held(place: LocalPlace | DaytonaPlace) -> Generator[None]:
    """Nobody writes to it meanwhile; whoever wants to waits for some seconds."""
    with closing(sqlite3.connect(place.machine.store_file, isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")
        yield
        held.execute("ROLLBACK")


def _generate(story: Story, place: LocalPlace | DaytonaPlace, server: StdioServer, host: str) -> None:
    for path, content in shop.GENERATED.items():
        story.results[path] = server.call("write_to_file", path=path, content=content)
        story.inside[path] = place.read("shop", path)
    story.results["install"] = run(server, shop.INSTALL.format(host=host))
    story.inside["installed"] = place.read("shop", "node_modules/greeting/index.js")
    story.results["build"] = run(server, "npm run build")
    story.results["serve"] = server.call("execute_command", command=shop.SERVE, background=True)
    previews = story.results["serve"].facts["previews"] or [server.call("get_preview_url", port=shop.PORT).facts]
    story.seen["url"] = previews[0]["url"]
    story.results["preview"] = server.call("get_preview_url", port=shop.PORT)
    story.seen["page"] = in_time(lambda: _page(previews[0]["url"], "Nothing to sell"))
    story.results["sell"] = server.call("write_to_file", path="page.html", content="<p>A lamp.</p>\n")
    story.seen["page later"] = in_time(lambda: _page(previews[0]["url"], "A lamp"))


def _page(url: str, part: str) -> str:
    """Asked for with the URL and nothing else."""
    try:
        status, body = fetch(url)
    except OSError:
        return ""
    return body.decode() if status == 200 and part in body.decode() else ""


def _complete(story: Story, place: LocalPlace | DaytonaPlace, server: StdioServer) -> None:
    """What was written behind the server's back is in no revision when completion is called."""
    with _store_held(place):
        place.write("shop", "last.txt", "last\n")
        story.mirror["called"] = place.machine.stored("shop")
        completing = server.begin_call("attempt_completion", {"result": "A shop.", "command": shop.SERVE})
    story.results["complete"] = result_of(server.answer(completing))
    story.mirror["complete"] = place.machine.stored("shop")
    story.inside["runs"] = place.read("shop", shop.RUNS)
    story.results["processes"] = server.call("check_process")


def _read(story: Story, place: LocalPlace | DaytonaPlace, server: StdioServer) -> None:
    """Changed and removed behind the server's back, and while nothing can be mirrored."""
    with _store_held(place):
        place.write("shop", "first.txt", "changed\n")
        story.results["read"] = server.call("read_file", path="first.txt")
        story.mirror["read"] = place.machine.stored("shop")
        place.remove("shop", "first.txt")
        story.results["read what is gone"] = server.call("read_file", path="first.txt")


def _mirror_fails(story: Story, place: LocalPlace | DaytonaPlace, server: StdioServer) -> None:
    file = place.machine.store_file
    aside = file.with_suffix(".aside")
    file.rename(aside)
    try:
        story.results["unmirrored"] = server.call("write_to_file", path="unmirrored.txt", content="kept inside\n")
        story.results["goes on"] = server.call("execute_command", command="cat unmirrored.txt")
        story.results["written meanwhile"] = server.call("write_to_file", path="meanwhile.txt", content="too\n")
    finally:
        aside.rename(file)
    story.mirror["again"] = in_time(lambda: _with(place, "unmirrored.txt", "meanwhile.txt"), limit_s=40)


def _with(place: LocalPlace | DaytonaPlace, *paths: str) -> Mapping[str, bytes]:
    found = place.machine.stored("shop")
    return found if found.keys() >= set(paths) else {}


def _server_fails(story: Story, server: StdioServer) -> None:
    server.call("write_to_file", path="server.py", content=shop.BROKEN, workspace="broken")
    command = "python3 server.py"
    story.results["broken"] = server.call("attempt_completion", result="?", command=command, workspace="broken")
    story.results["mend"] = server.call("write_to_file", path="server.py", content=shop.MENDED, workspace="broken")
    story.results["mended"] = server.call("attempt_completion", result="!", command=command, workspace="broken")


def _write_fails(story: Story, place: LocalPlace | DaytonaPlace, server: StdioServer) -> None:
    """Locally a folder is closed; at Daytona the disk is full."""
    name = "full"
    if isinstance(place, DaytonaPlace):
        server.call("open_workspace", name=name, image="small-disk:latest")
        path, content = "kept.txt", "x" * 6_000_000
        server.call("write_to_file", path=path, content="kept\n", workspace=name)
    else:
        path, content = "closed/kept.txt", "x"
        server.call("write_to_file", path=path, content="kept\n", workspace=name)
        run(server, "chmod 555 closed", workspace=name)
    story.seen["refused path"] = path
    story.results["refused"] = server.call("write_to_file", path=path, content=content, workspace=name)
    story.inside["refused"] = place.read(name, path)
    story.mirror["refused"] = place.machine.stored(name)
    story.results["listed"] = server.call("list_files", recursive=True, workspace=name)


def _start_fails(story: Story, place: LocalPlace | DaytonaPlace, server: StdioServer, folder: Path) -> None:
    """Locally the folder of sandboxes is none; at Daytona the service could not make it."""
    if isinstance(place, DaytonaPlace):
        before = {each["id"] for each in place.sandboxes()}
        place.service.outcome("error", reason="the runner lost its disk")
        story.results["start"] = server.call("write_to_file", path="a", content="a", workspace="unlucky")
        story.seen["left over"] = {each["id"] for each in place.sandboxes()} - before
        story.results["start again"] = server.call("open_workspace", name="unlucky")
        return
    data = folder / "elsewhere"
    data.mkdir()
    (data / "sandboxes").touch()
    with place.machine.server(VAPORFORM_DATA_DIR=str(data)) as other:
        story.results["start"] = other.call("write_to_file", path="a", content="a", workspace="unlucky")
        (data / "sandboxes").unlink()
        story.results["start again"] = other.call("open_workspace", name="unlucky")
    stop_sandboxes({**place.machine.environment, "VAPORFORM_DATA_DIR": str(data)})
