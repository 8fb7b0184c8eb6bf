"""A sync that follows the sandbox's watch makes the same mirror as one that looks at everything."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.contract.sandboxes import PROVIDERS, open_sandbox
from tests.contract.stores import record
from tests.workspace.helpers import path
from tests.workspace.seams import SeamStore
from vaporform_mcp.errors import StoreUnavailable
from vaporform_mcp.exclusions import MirrorRules
from vaporform_mcp.sandboxes.base import Command, FileWrite, Sandbox
from vaporform_mcp.types import Head, WorkspacePath
from vaporform_mcp.workspace.marks import Mark, encode
from vaporform_mcp.workspace.mirror import Mirror
from vaporform_mcp.workspace.syncing import Syncer, SyncReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    sandbox: Sandbox
    store: SeamStore
    mirror: Mirror
    syncer: Syncer

    async def shell(self, text: str) -> None:
        result = await self.sandbox.exec(Command(text=text))
        assert result.exit_code == 0, result.head + result.tail

    async def follow(self) -> SyncReport:
        return await self.syncer.run(made_by="test", thorough=False)

    async def paths(self) -> set[WorkspacePath]:
        return set(await self.store.tree(self.sandbox.workspace_id))

    async def missed(self) -> int:
        """How many paths a sync that trusts nothing finds otherwise than the mirror has them."""
        await self.sandbox.write_mark(encode(_mark(self.sandbox, revision=self.mirror.head.number)))
        return (await Syncer(self.sandbox, self.mirror, MirrorRules()).run(made_by="test")).changed

    async def surveyed(self) -> str | None:
        """Another after each look at everything that found something, the same after a glimpse."""
        return await self.sandbox.mark_tag()


def _mark(sandbox: Sandbox, *, revision: int = 0) -> Mark:
    return Mark(workspace_id=sandbox.workspace_id, epoch=1, revision=revision)


@asynccontextmanager
async def a_scene(provider: str, folder: Path, setup: str) -> AsyncGenerator[Scene]:
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(open_sandbox(provider, folder))
        store = SeamStore(folder / "store.sqlite3")
        stack.push_async_callback(store.aclose)
        await store.create_workspace(record("site", id=sandbox.workspace_id))
        await sandbox.write_mark(encode(_mark(sandbox)))
        mirror = Mirror(store, sandbox.workspace_id, Head(number=0, epoch=1))
        scene = Scene(sandbox=sandbox, store=store, mirror=mirror, syncer=Syncer(sandbox, mirror, MirrorRules()))
        await scene.shell(setup)
        await scene.syncer.run(made_by="test")
        yield scene


@pytest.fixture(params=PROVIDERS)
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Scene]:
    async with a_scene(
        request.param, tmp_path, "mkdir -p a/b dist; echo 1 > a/one; echo 2 > a/b/two; echo 3 > c"
    ) as made:
        yield made


async def test_what_changed_is_followed_without_a_look_at_the_rest(scene: Scene) -> None:
    before = await scene.surveyed()
    await scene.shell("echo more >> a/one; rm c; mv a/b z; mkdir -p n/m; echo new > n/m/x; ln -s a/one link")
    report = await scene.follow()
    assert await scene.surveyed() == before
    assert await scene.paths() == {"a/one", "z/two", "n/m/x", "link"}
    assert report.changed == 6
    assert (await scene.follow()).changed == 0
    assert await scene.missed() == 0


async def test_a_mapping_is_followed_once_it_is_given_back(scene: Scene) -> None:
    program = (
        "import mmap; file = open('a/one', 'r+b'); held = mmap.mmap(file.fileno(), 2); file.close(); held[0] = 57; "
        "held.close()"
    )
    await scene.shell(f'python3 -c "{program}"')
    assert (await scene.follow()).changed == 1
    assert await scene.missed() == 0


async def test_a_change_by_another_name_of_the_file_is_followed(scene: Scene) -> None:
    await scene.shell("ln a/one other")
    await scene.follow()
    before = await scene.surveyed()
    await scene.shell("echo more >> other")
    assert (await scene.follow()).changed == 2
    assert await scene.surveyed() == before
    assert await scene.missed() == 0


async def test_what_is_tracked_in_an_excluded_folder_is_followed(scene: Scene) -> None:
    await scene.sandbox.write_files([FileWrite(path=path("dist/kept.js"), content=b"1")])
    await scene.shell("git init -q . 2>/dev/null || mkdir .git; echo '!dist/' > .vaporformignore")
    await scene.follow()
    assert "dist/kept.js" in await scene.paths()
    await scene.shell("rm .vaporformignore")
    await scene.follow()
    await scene.shell("echo 22 > dist/kept.js; echo 1 > dist/built.js")
    await scene.follow()
    assert (await scene.store.tree(scene.sandbox.workspace_id))[path("dist/kept.js")].size == 3
    assert "dist/built.js" not in await scene.paths()
    assert await scene.missed() == 0


async def test_a_file_that_could_not_be_read_is_tried_again(scene: Scene) -> None:
    await scene.shell("chmod 000 a/one")
    if not (await scene.follow()).unread:
        pytest.skip("whoever reads here may read everything")
    assert (await scene.follow()).unread
    await scene.shell("echo 9 > c")
    assert set((await scene.follow()).unread) == {"a/one"}
    await scene.shell("chmod 644 a/one")
    assert not (await scene.follow()).unread
    assert await scene.missed() == 0


async def test_another_servers_revision_is_compared_with_the_sandbox(scene: Scene) -> None:
    other = Mirror(scene.store, scene.sandbox.workspace_id, scene.mirror.head)
    await scene.shell("echo 9 > c")
    await Syncer(scene.sandbox, other, MirrorRules()).run(made_by="other")
    assert (await scene.follow()).changed == 0
    await scene.shell("echo 10 > c")
    assert (await scene.follow()).changed == 1
    assert await scene.missed() == 0


async def test_a_sync_that_failed_forgets_nothing(scene: Scene) -> None:
    async def fails() -> None:
        raise StoreUnavailable("the store is down")

    scene.store.before["append"] = fails
    await scene.shell("echo 9 > c")
    with pytest.raises(StoreUnavailable):
        await scene.follow()
    del scene.store.before["append"]
    assert (await scene.follow()).changed == 1
    assert await scene.missed() == 0


FOLDERS = ("", "a/", "a/b/", "d/", "d/e/", "dist/", "node_modules/")
NAMES = ("f", "g", "h.pyc", "i")


def _operation(chance: random.Random) -> str:
    def some() -> str:
        return chance.choice(FOLDERS) + chance.choice(NAMES)

    def folder() -> str:
        return chance.choice(FOLDERS[1:]).rstrip("/")

    token = secrets.token_hex(2)
    return chance.choice(
        (
            f"mkdir -p {folder()}",
            f"mkdir -p {folder()}",
            f"echo {token} > {some()}",
            f"echo {token} > {some()}",
            f"echo {token} >> {some()}",
            f"echo {token} > .t && mv .t {some()}",
            f"rm -f {some()}",
            f"rm -rf {folder()}",
            f"mv {some()} {some()}",
            f"mv -T {folder()} {folder()}",
            f"mv {folder()} {some()}",
            f"ln -sfn {folder()} {some()}",
            f"ln -sfn {folder()} {folder()}",
            _linked(some(), some()),
            f"chmod {chance.choice(('600', '755', '644'))} {some()}",
            f"cp -r {folder()} {folder()}",
            f"exec 3>>{some()}; rm -f {some()}; echo {token} >&3; exec 3>&-",
            f"mkdir {some()}",
        )
    )


def _linked(known: str, new: str) -> str:
    """A second name, but for one where no watch looks: writes by that are found by whole scans only.

    Links that lead in circles can keep realpath for ever.
    """
    return f"case $(timeout 5 realpath -m {new}) in */dist/*|*/node_modules/*) ;; *) ln -f {known} {new};; esac"


def _script(operations: Sequence[str]) -> str:
    return "\n".join(f"( {operation} ) 2>/dev/null" for operation in operations) + "\ntrue"


@pytest.mark.parametrize("rounds", [10, pytest.param(1_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_whatever_is_done_nothing_is_missed(tmp_path: Path, provider: str, rounds: int) -> None:
    # The same work each time where it is few rounds, so that a change is blamed only for what it did.
    seed = random.SystemRandom().randrange(1 << 32) if rounds > 10 else 1
    chance = random.Random(seed)  # noqa: S311  # so that it can be repeated
    glimpses = 0
    async with a_scene(provider, tmp_path, "mkdir -p a/b d; echo 1 > f") as scene:
        for number in range(rounds):
            scripts = [_script([_operation(chance) for _ in range(chance.randrange(1, 6))]) for _ in range(3)]
            for script in scripts:
                before = await scene.surveyed()
                await scene.shell(script)
                await scene.follow()
                glimpses += await scene.surveyed() == before
            assert await scene.missed() == 0, (seed, number, scripts)
            await scene.syncer.run(made_by="test")
    assert glimpses > rounds // 2


_EXCHANGE = """
for n in $(seq 60); do
    echo $n > a/b/two; ln -sfn ../z a/l; mv a/b y; ln -s y a/b; echo $n > z/$((n % 7)); rm a/b; mv y a/b; rm -f z/3
done
"""


@pytest.mark.parametrize("rounds", [1, pytest.param(30, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_folders_exchanged_for_links_while_syncs_look_at_them_are_right_after_the_next_whole_scan(
    tmp_path: Path, provider: str, rounds: int
) -> None:
    async with a_scene(provider, tmp_path, "mkdir -p a/b z; echo 1 > a/one; echo 2 > a/b/two; echo 3 > c") as scene:
        for _ in range(rounds):
            async with anyio.create_task_group() as group:
                is_done = anyio.Event()
                group.start_soon(_follow_until, scene, is_done)
                await scene.shell(_EXCHANGE)
                is_done.set()
            await scene.syncer.run(made_by="test")
            assert await scene.missed() == 0
            assert {"a/one", "a/b/two", "a/l", "c"} <= await scene.paths()
            await scene.syncer.run(made_by="test")


async def _follow_until(scene: Scene, is_done: anyio.Event) -> None:
    while not is_done.is_set():
        await scene.follow()
