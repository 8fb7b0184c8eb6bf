"""One run of the demo: the real server as a child, a workspace of its own, and everything put away after it."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from vaporform_mcp import app
from vaporform_mcp.demo.agent import started
from vaporform_mcp.demo.existing import take_over_a_project
from vaporform_mcp.demo.loop import make_an_application
from vaporform_mcp.demo.outside import Visitor
from vaporform_mcp.demo.scene import Scene
from vaporform_mcp.demo.source import Folder, Repository
from vaporform_mcp.demo.telling import Differs, Teller
from vaporform_mcp.errors import VaporformError
from vaporform_mcp.settings import Settings, host_environment
from vaporform_mcp.types import WorkspaceName, parse_name

__all__ = ["Outcome", "run_demo"]

log = logging.getLogger(__name__)

_CLEAN_UP_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. `difference` says what was not as it should be; None where everything was."""

    difference: str | None
    calls: int
    seconds: float


async def run_demo(
    settings: Settings,
    tell: Teller,
    *,
    source: Repository | Folder | None = None,
    keep: Callable[[str], Awaitable[None]] | None = None,
) -> Outcome:
    """Play the loop on the sample application, or on `source`.

    The user's own workspaces are not touched. Without `keep` everything that the run made is removed. With it, the
    workspace is made among the user's own, under a new name, and once all went well `keep` is awaited with the
    preview's URL, which is up for as long as that takes.
    """
    began = time.perf_counter()
    difference: str | None = None
    calls = 0
    try:
        async with (
            _place(settings, is_kept=keep is not None) as (placed, workspace),
            started(_environment(placed), workspace, tell) as agent,
        ):

            async def destroy() -> None:
                await app.destroy_sandbox(placed, workspace)

            scene = Scene(
                agent=agent,
                visitor=Visitor(tell),
                tell=tell,
                destroy=destroy,
                keeps_previews=settings.sandbox == "local",
            )
            # What is raised inside the client's context would come out of it wrapped.
            try:
                url = await (take_over_a_project(scene, source) if source else make_an_application(scene))
            except Differs as error:
                difference = str(error)
            else:
                if keep is not None and url is not None:
                    await keep(url)
            calls = agent.calls
    except Differs as error:
        difference = str(error)
    return Outcome(difference=difference, calls=calls, seconds=time.perf_counter() - began)


@asynccontextmanager
async def _place(settings: Settings, *, is_kept: bool) -> AsyncGenerator[tuple[Settings, WorkspaceName]]:
    """Where the run's workspace lives: among the user's own, or in a folder that is removed with its sandbox.

    A database is not the run's own: there the workspace has a new name, and is forgotten in the end.
    """
    if is_kept:
        yield settings, await _new_name(settings)
        return
    folder = Path(tempfile.mkdtemp(prefix="vaporform-demo-"))
    placed = settings.model_copy(update={"data_dir": folder})
    is_shared = settings.store == "mongo"
    name = await _new_name(placed) if is_shared else parse_name("demo")
    try:
        yield placed, name
    finally:
        with anyio.move_on_after(_CLEAN_UP_S, shield=True):
            try:
                await app.destroy_sandbox(placed, name)
                if is_shared:
                    await app.forget_workspace(placed, name)
            except VaporformError as error:  # such as the one that ended the run
                log.warning("the demo's sandbox was not removed: %s", error)
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


async def _new_name(settings: Settings) -> WorkspaceName:
    try:
        taken = {each.name for each in await app.list_workspaces(settings)}
    except VaporformError as error:
        raise Differs(f"{error.message}\n{error.hint}") from error
    number = 1
    while (name := parse_name("demo" if number == 1 else f"demo-{number}")) in taken:
        number += 1
    return name


def _environment(settings: Settings) -> dict[str, str]:
    # The demo calls every tool of the standard set, whatever is offered to the user's own clients.
    return {**host_environment(), "VAPORFORM_DATA_DIR": str(settings.data_dir), "VAPORFORM_TOOLS": "standard"}
