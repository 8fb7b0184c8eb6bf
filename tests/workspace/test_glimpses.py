"""A sync that looks only at what the sandbox's watch names finds what a look at everything would find."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.contract.sandboxes import open_sandbox
from tests.contract.stores import make_workspace
from vaporform_mcp.exclusions import MirrorRules
from vaporform_mcp.sandboxes.base import Command, Sandbox
from vaporform_mcp.stores.base import Store
from vaporform_mcp.stores.sqlite import open_sqlite
from vaporform_mcp.types import Head
from vaporform_mcp.workspace.marks import Mark, encode
from vaporform_mcp.workspace.mirror import Mirror
from vaporform_mcp.workspace.syncing import Syncer

ROUNDS = 400 if os.environ.get("TEST_LONG") else 25
NAMES = ("a", "b", "c", "d")


class Rig:
    """One sandbox and one store, and a count of looks at everything."""

    def __init__(self, sandbox: Sandbox, store: Store, workspace_id: str) -> None:
        self.sandbox = sandbox
        self.store = store
        self.workspace_id = workspace_id
        self.syncer = self.new_syncer()

    def new_syncer(self) -> Syncer:
        mirror = Mirror(self.store, self.workspace_id, Head(number=0, epoch=1))
        return Syncer(self.sandbox, mirror, MirrorRules(max_file_bytes=100_000))

    async def shell(self, text: str) -> None:
        result = await self.sandbox.exec(Command(text=text))
        assert result.exit_code is not None

    async def paths(self) -> set[str]:
        return set(await self.store.tree(self.workspace_id))

    async def glimpse(self) -> int:
        return (await self.syncer.run(made_by="glimpse", thorough=False)).changed

    async def missed(self) -> int:
        """What another server's look at everything still finds; it spoils the glimpses' ground."""
        return (await self.new_syncer().run(made_by="all")).changed


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncGenerator[Rig]:
    async with open_sqlite(tmp_path / "store") as store, open_sandbox("local", tmp_path) as sandbox:
        workspace_id = await make_workspace(store)
        mark = Mark(workspace_id=sandbox.workspace_id, epoch=1, revision=0)
        await sandbox.write_mark(encode(mark))
        yield Rig(sandbox, store, workspace_id)


@pytest.fixture
def scans(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with each look at everything."""
    counted: list[str] = []
    scan = rig.sandbox.scan

    async def counting(**arguments: object) -> object:
        counted.append("scan")
        return await scan(**arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(rig.sandbox, "scan", counting)
    return counted


async def test_changes_that_a_command_made_are_mirrored_without_a_look_at_everything(
    rig: Rig, scans: list[str]
) -> None:
    await rig.shell("mkdir -p src; for i in 1 2 3; do echo $i > src/$i; done")
    assert await rig.glimpse() == 3
    await rig.shell("echo 4 > src/1; rm src/2; chmod +x src/3; mkdir new; echo 5 > new/5; ln -s 5 new/link")
    assert await rig.glimpse() == 5
    assert await rig.paths() == {"src/1", "src/3", "new/5", "new/link"}
    assert await rig.glimpse() == 0
    assert len(scans) == 1
    assert await rig.missed() == 0


async def test_what_random_commands_do_is_never_missed(rig: Rig, scans: list[str]) -> None:
    chance = random.Random(os.environ.get("TEST_SEED", "watch"))  # noqa: S311  # to be repeated, not secret
    for number in range(ROUNDS):
        text = "; ".join(operation(chance, number) for _ in range(chance.randint(1, 6)))
        await rig.shell(text)
        await rig.glimpse()
        if chance.random() < 0.3:
            assert await rig.missed() == 0, text
    assert await rig.missed() == 0
    assert len(scans) < ROUNDS


def operation(chance: random.Random, number: int) -> str:
    def some() -> str:
        return "/".join(chance.choice(NAMES) for _ in range(chance.randint(1, 3)))

    one, other = some(), some()
    return (
        chance.choice(
            [
                f"mkdir -p {one}",
                f"mkdir -p $(dirname {one}); echo {number} > {one}",
                f"echo {number} >> {one}",
                f"mkdir -p {one}/node_modules {one}/n; echo 1 > {one}/node_modules/x; echo {number} > {one}/n/y",
                f"rm -rf {one}",
                f"rm -rf {other}; mv {one} {other}",
                f"mv {one} {other}",
                f"ln -sfn {other} {one}",
                f"chmod +x {one}",
                f"cp -a {one} {other}",
                f"rm -rf {one}; ln -s /workspace/{other.split('/')[0]} {one}",
                f"touch -d '2001-01-01' {one}",
                f"head -c 200000 /dev/zero > {one}",
                "true",
            ]
        )
        + " 2>/dev/null"
    )


async def test_tracked_files_in_folders_that_are_left_out_are_followed(rig: Rig, scans: list[str]) -> None:
    await rig.shell("mkdir dist; echo 1 > dist/tracked; echo 1 > dist/built; echo 1 > a")
    await rig.glimpse()
    await rig.shell("echo '!dist/tracked' > .vaporformignore; echo '!dist/' >> .vaporformignore")
    await rig.glimpse()
    assert "dist/tracked" in await rig.paths()
    await rig.shell("rm .vaporformignore")
    await rig.glimpse()
    counted = len(scans)
    await rig.shell("echo 2 > dist/tracked; rm dist/built; echo 1 > dist/other")
    assert await rig.glimpse() == 2
    assert len(scans) == counted


async def test_a_mark_of_another_servers_makes_everything_looked_at(rig: Rig, scans: list[str]) -> None:
    await rig.shell("echo 1 > a; echo 1 > b")
    await rig.glimpse()
    await rig.shell("echo 2 > a")
    assert await rig.missed() == 1
    await rig.shell("echo 2 > b")
    before = len(scans)
    assert await rig.glimpse() == 1
    assert len(scans) == before + 1


async def test_a_file_that_could_not_be_mirrored_is_told_until_it_can_be(rig: Rig) -> None:
    await rig.shell("echo 1 > a; head -c 200000 /dev/zero > large")
    first = await rig.syncer.run(made_by="test", thorough=False)
    await rig.shell("echo 2 > a")
    second = await rig.syncer.run(made_by="test", thorough=False)
    assert [list(each.unread) for each in (first, second)] == [["large"], ["large"]]
    await rig.shell("echo 1 > large")
    third = await rig.syncer.run(made_by="test", thorough=False)
    assert (third.problems, third.changed) == ([], 1)


async def test_what_a_folder_shows_that_became_a_link_before_it_was_read_is_not_mirrored_as_its_own(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.shell("mkdir b; echo 1 > b/x")
    await rig.glimpse()
    await rig.shell("echo 2 > b/x")
    read_files = rig.sandbox.read_files

    async def late(*arguments: object, **options: object) -> object:
        monkeypatch.undo()
        await rig.shell("mv b c; echo 3 > c/x; ln -s c b")
        return await read_files(*arguments, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(rig.sandbox, "read_files", late)
    await rig.glimpse()
    assert await rig.paths() == set()
    await rig.glimpse()
    assert await rig.paths() == {"b", "c/x"}
    assert await rig.missed() == 0


async def test_what_lies_behind_a_link_that_leads_nowhere_is_gone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.shell("mkdir b; echo 1 > b/x; touch y")
    await rig.glimpse()
    await rig.shell("rm -r b")
    stat_files = rig.sandbox.stat_files

    async def late(*arguments: object) -> object:
        monkeypatch.undo()
        await rig.shell("ln -s b b")
        return await stat_files(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(rig.sandbox, "stat_files", late)
    await rig.glimpse()
    await rig.glimpse()
    assert await rig.paths() == {"b", "y"}
    assert await rig.missed() == 0
