"""The same loop on a project that exists: bring it in, install, test, serve, finish, lose the sandbox and heal."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from vaporform_mcp.demo.agent import Answer
from vaporform_mcp.demo.outside import Page
from vaporform_mcp.demo.recipe import MANIFESTS, Recipe, find_recipe
from vaporform_mcp.demo.scene import Scene, exited, finished, said_at_the_beginning
from vaporform_mcp.demo.source import Collected, Folder, Repository, collect
from vaporform_mcp.demo.telling import conclude, expect

__all__ = ["take_over_a_project"]

RUN_S = 900.0
"""How long installing, or testing, may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A command that may take longer than a call: how it ended."""

    exit_code: float | None
    text: str


async def take_over_a_project(scene: Scene, source: Repository | Folder) -> str | None:
    """Play the loop. Answers with the preview's URL, None where the project serves nothing. Raises `Differs`.

    What the project itself gets wrong (its tests fail, its server does not start) is told, and no difference.
    """
    await _bring_in(scene, source)
    recipe = await _recipe(scene)
    await _install_and_test(scene, recipe)
    scene.tell.chapter("It completes: the development server is started, and a visitor fetches the page")
    url = await _complete(scene)
    scene.tell.chapter("The sandbox is destroyed; the agent goes on as if nothing had been")
    await scene.lose_the_sandbox(url)
    notice = said_at_the_beginning(await scene.agent.call("list_files", ".", _lists, path="."))
    scene.tell.note(f"The answer begins: {notice}")
    if recipe.install:
        await _run(scene, recipe.install)
    again = await _complete(scene)
    scene.expect_same_place(url, again)
    return again


async def _bring_in(scene: Scene, source: Repository | Folder) -> None:
    match source:
        case Repository(url=url):
            scene.tell.chapter(f"The agent opens a workspace from {url}")
            await scene.open(git_url=url)
        case Folder(path=path):
            scene.tell.chapter(f"The agent opens a workspace and writes the files of {path.name} into it")
            await scene.open()
            await _copy(scene, await anyio.to_thread.run_sync(collect, path))


async def _copy(scene: Scene, collected: Collected) -> None:
    began = time.perf_counter()
    mirrored = 0
    for each in collected.files:
        answer = await scene.agent.quiet("write_to_file", path=each.path, **await _content(each.file))
        mirrored += answer.facts.is_true("mirrored")
    count = len(collected.files)

    def check() -> str:
        expect(mirrored == count, f"only {mirrored} of {count} files are mirrored")
        left_out = f"; {collected.skipped} left out (links, devices, over 8 MiB)" if collected.skipped else ""
        return f"{count} files, each mirrored{left_out}"

    conclude(scene.tell, "write_to_file", f"{count} times", began=began, check=check)
    programs = [each.path for each in collected.files if each.is_executable]
    if programs:
        command = "xargs -0 chmod +x --"
        await scene.agent.call(
            "execute_command", command, exited(0), command=command, stdin="".join(f"{path}\0" for path in programs)
        )


async def _content(file: Path) -> dict[str, str]:
    content = await anyio.Path(file).read_bytes()
    try:
        return {"content": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"content": base64.b64encode(content).decode("ascii"), "encoding": "base64"}


async def _recipe(scene: Scene) -> Recipe:
    listed = await scene.agent.call("list_files", ".", _lists, path=".", recursive=True)
    paths = [path for each in listed.facts.items("entries") if (path := each.text("path")) is not None]
    manifests = {name: await _content_inside(scene, name) for name in MANIFESTS if name in paths}
    return find_recipe(paths, manifests)


async def _content_inside(scene: Scene, path: str) -> str:
    """A file's text without what a result says around it."""
    command = f"printf '<%s>\\n' begin; cat {path}; printf '\\n<%s>' end"
    answer = await scene.agent.quiet("execute_command", command=command)
    return answer.text.partition("<begin>\n")[2].rpartition("\n<end>")[0]


async def _install_and_test(scene: Scene, recipe: Recipe) -> None:
    scene.tell.chapter("It installs what the project needs and runs its tests")
    if recipe.install and (await _run(scene, recipe.install)).exit_code != 0:
        scene.tell.note("What the project needs could not be installed, so its tests and its server may fail.")
    if recipe.test is None:
        scene.tell.note("The project has no tests that this demo knows how to run.")
    elif (await _run(scene, recipe.test)).exit_code != 0:
        scene.tell.note("The project's own tests fail; the demo goes on without mending them.")


async def _run(scene: Scene, command: str) -> _Run:
    """Run it to its end, however long that takes, looking after it as an agent does."""
    answer = await scene.agent.call("execute_command", command, _state, command=command, timeout=RUN_S)
    while answer.facts.text("state") == "running":
        process = answer.facts.text("process_id") or ""
        answer = await scene.agent.call("check_process", process, _state, process_id=process)
    return _Run(exit_code=answer.facts.number("exit_code"), text=answer.text)


async def _complete(scene: Scene) -> str | None:
    answer = await scene.agent.call("attempt_completion", "", finished, result="The project runs in the sandbox.")
    for warning in answer.facts.texts("warnings"):
        scene.tell.note(warning)
    url = answer.facts.text("preview_url")
    if url is None:
        scene.tell.note("The project serves no page, as far as can be told, or its server did not start.")
    else:
        await scene.visitor.visits(url, _answers, patient=True)
    return url


def _state(answer: Answer) -> str:
    state, code = answer.facts.text("state"), answer.facts.number("exit_code")
    if state == "running":
        return "goes on"
    return f"exit status {code:g}" if code is not None else f"{state}"


def _lists(answer: Answer) -> str:
    count = len(answer.facts.items("entries"))
    expect(count, f"nothing is listed\n{answer.text}")
    return f"{count} entries"


def _answers(page: Page) -> str:
    expect(page.status is not None, f"nobody answers: {page.text}")
    return f"{page.status}, {len(page.text):,} characters of {page.content_type or 'no type'}"
