"""The main job: an agent makes a small web application, serves it, finishes it, and loses its sandbox."""

from __future__ import annotations

from collections.abc import Callable

from vaporform_mcp.demo.agent import Answer
from vaporform_mcp.demo.outside import Page
from vaporform_mcp.demo.sample import Sample, at_free_port, choose
from vaporform_mcp.demo.scene import Scene, exited, finished, said_at_the_beginning
from vaporform_mcp.demo.telling import expect

__all__ = ["make_an_application"]

_ITEM = "tea & biscuits"
_ITEM_ON_PAGE = "tea &amp; biscuits"


async def make_an_application(scene: Scene) -> str | None:
    """Play the whole loop. Answers with the preview's URL, which is up. Raises `Differs`."""
    scene.tell.chapter("The agent opens a workspace and writes a web application")
    opened = await scene.open()
    sample = at_free_port(choose(opened.facts.inner("toolchains").named_texts()))
    for path, content in sample.files.items():
        await scene.agent.call("write_to_file", path, _mirrored, path=path, content=content)
    await _test_and_mend(scene, sample)
    url = await _serve(scene, sample)
    await _finish(scene, url)
    return await _lose_and_heal(scene, sample, url)


async def _test_and_mend(scene: Scene, sample: Sample) -> None:
    scene.tell.chapter("It runs the tests, mends what fails, and runs them again")
    agent = scene.agent
    await agent.call("execute_command", sample.test_command, _one_fails(sample), command=sample.test_command)
    await agent.call("replace_in_file", sample.mended_file, _replaced, path=sample.mended_file, diff=sample.mend)
    await agent.call("execute_command", sample.test_command, exited(0), command=sample.test_command)


async def _serve(scene: Scene, sample: Sample) -> str:
    scene.tell.chapter("It starts the server; a visitor outside the sandbox uses the page")
    url = await _start_server(scene, sample)
    await scene.visitor.visits(url, _shows("0 still to be bought"), patient=True)
    await scene.visitor.submits(url, {"item": _ITEM}, _shows("1 still to be bought"))
    return url


async def _finish(scene: Scene, url: str) -> None:
    scene.tell.chapter("It completes")

    def check(answer: Answer) -> str:
        previews = [answer.facts.text("preview_url"), *(each.text("url") for each in answer.facts.items("previews"))]
        expect(url in previews, f"the preview at {url} is not among the result's\n{answer.text}")
        return finished(answer)

    await scene.agent.call("attempt_completion", "", check, result="A shopping list with a page, a form and tests.")


async def _lose_and_heal(scene: Scene, sample: Sample, url: str) -> str:
    scene.tell.chapter("The sandbox is destroyed; the agent goes on as if nothing had been")
    await scene.lose_the_sandbox(url)
    agent = scene.agent
    read = await agent.call("read_file", sample.mended_file, _holds(_replacement(sample)), path=sample.mended_file)
    notice = said_at_the_beginning(read)
    expect(sample.dev_command in notice, f"the answer does not say that the server has to be started again\n{notice}")
    scene.tell.note(f"The answer begins: {notice}")
    await agent.call("read_file", sample.kept_file, _holds(_ITEM), path=sample.kept_file)
    again = await _start_server(scene, sample)
    scene.expect_same_place(url, again)
    await scene.visitor.visits(again, _shows(_ITEM_ON_PAGE), patient=True)
    return again


async def _start_server(scene: Scene, sample: Sample) -> str:
    await scene.agent.call("execute_command", sample.dev_command, _goes_on, command=sample.dev_command, background=True)
    answer = await scene.agent.call("get_preview_url", str(sample.port), _has_url, port=sample.port)
    return answer.facts.text("url") or ""


def _mirrored(answer: Answer) -> str:
    size, revision = answer.facts.number("size"), answer.facts.number("revision")
    expect(answer.facts.is_true("mirrored"), f"it is not mirrored\n{answer.text}")
    return f"{size:g} bytes, mirrored as revision {revision:g}"


def _one_fails(sample: Sample) -> Callable[[Answer], str]:
    def check(answer: Answer) -> str:
        exited(1)(answer)
        expect(sample.failing_test in answer.text, f"the failing test is not named\n{answer.text}")
        return f"exit status 1, as it should: {sample.failing_test!r} fails"

    return check


def _replaced(answer: Answer) -> str:
    expect(answer.facts.number("replacements") == 1, f"not replaced once\n{answer.text}")
    return "1 replacement, mirrored"


def _goes_on(answer: Answer) -> str:
    state = answer.facts.text("state")
    expect(state == "running", f"the server is {state}, not running\n{answer.text}")
    return f"runs as process {answer.facts.text('process_id')}"


def _has_url(answer: Answer) -> str:
    url = answer.facts.text("url")
    expect(url, f"there is no URL\n{answer.text}")
    return f"{url} ({'anyone with the URL' if answer.facts.is_true('public') else 'this computer only'})"


def _shows(text: str) -> Callable[[Page], str]:
    def check(page: Page) -> str:
        expect(page.status == 200, f"status {page.status}: {page.text[:200]}")
        expect(text in page.text, f"the page does not show {text!r}\n{page.text[:400]}")
        return f"200, shows {text!r}"

    return check


def _holds(text: str) -> Callable[[Answer], str]:
    def check(answer: Answer) -> str:
        expect(text in answer.text, f"it does not hold {text!r}\n{answer.text[:400]}")
        return f"as it was written, from the {answer.facts.text('source')}"

    return check


def _replacement(sample: Sample) -> str:
    return sample.mend.split("=======\n")[1].split("\n")[0].strip()
