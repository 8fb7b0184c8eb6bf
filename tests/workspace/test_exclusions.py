"""What the settings and a project's own `.vaporformignore` keep out of the mirror."""

from __future__ import annotations

from pathlib import Path

from tests.workspace.helpers import opened, path, shell
from tests.workspace.seams import seam_server
from vaporform_mcp.exclusions import Exclusions, MirrorRules
from vaporform_mcp.types import EntryKind


async def test_a_projects_own_rules_come_after_the_settings_and_hold_from_the_next_sync_on(tmp_path: Path) -> None:
    rules = MirrorRules(exclusions=Exclusions(["*.bin", "data/"]))
    async with seam_server(tmp_path, rules=rules) as server:
        workspace = await opened(server.manager)
        await shell(workspace, "mkdir data build logs; touch a.bin data/x build/out logs/one seen")
        await workspace.sync(made_by="test")
        assert set(await server.store.tree(workspace.record.id)) == {"logs/one", "seen"}
        await shell(workspace, "printf '# ours\\n!build/\\n!a.bin\\nlogs/\\n!\\n' > .vaporformignore; touch logs/two")
        report = await workspace.sync(made_by="test")
        assert set(await server.store.tree(workspace.record.id)) == {
            *(".vaporformignore", "a.bin", "build/out", "logs/one", "seen")
        }
        assert report.problems == [".vaporformignore: '!' is no pattern"]
        await shell(workspace, "rm .vaporformignore; touch logs/three build/late")
        assert (await workspace.sync(made_by="test")).problems == []
        tree = await server.store.tree(workspace.record.id)
        assert set(tree) == {"a.bin", "build/out", "logs/one", "logs/three", "logs/two", "seen"}


async def test_a_file_over_the_limit_is_named_with_its_size_and_the_rest_is_mirrored(tmp_path: Path) -> None:
    async with seam_server(tmp_path, rules=MirrorRules(max_file_bytes=1_000_000)) as server:
        workspace = await opened(server.manager)
        await shell(workspace, "head -c 1000001 /dev/zero > large; head -c 1000000 /dev/zero > fits")
        report = await workspace.sync(made_by="test")
        assert set(await server.store.tree(workspace.record.id)) == {"fits"}
        (problem,) = report.problems
        assert problem.startswith("large: 1,000,001 bytes")
        assert "VAPORFORM_MIRROR__FILE_MB" in problem
        completed = await workspace.complete(command=None, wait_s=5)
        assert any("large: 1,000,001 bytes" in warning for warning in completed.warnings)
        await workspace.write(path("large"), b"small", made_by="test")
        assert (await workspace.sync(made_by="test")).problems == []


async def test_listings_and_searches_pass_over_what_the_settings_and_the_project_exclude(tmp_path: Path) -> None:
    rules = MirrorRules(exclusions=Exclusions(["vendored", "!build/"]))
    async with seam_server(tmp_path, rules=rules) as server:
        workspace = await opened(server.manager)
        await shell(workspace, "mkdir -p src/data data build vendored dist node_modules/a; touch .vaporformignore")
        await shell(
            workspace, "for d in src src/data data build vendored dist node_modules/a .; do echo here > $d/f; done"
        )
        await shell(workspace, "echo here > a.log")

        async def listed(under: str = "") -> tuple[set[str], set[str]]:
            listing = await workspace.list(path(under), recursive=True, limit=1000)
            files = {str(each.path) for each in listing.entries if each.kind is EntryKind.FILE}
            return files - {".vaporformignore"}, {str(each) for each in listing.unlisted}

        async def found(under: str = "") -> set[str]:
            matches = await workspace.search(path(under), "here", file_pattern=None, limit=100)
            return {str(match.path) for match in matches.matches}

        shown = {"f", "a.log", "src/f", "src/data/f", "data/f", "build/f"}
        closed = {"vendored", "dist", "node_modules"}
        assert await listed() == (shown, closed)
        assert await found() == shown
        await shell(workspace, "printf '/data/\\n*.log\\n!dist/\\n' > .vaporformignore")
        shown = {"f", "src/f", "src/data/f", "build/f", "dist/f"}
        # A file that is left out of the mirror is still there to be seen; a folder is, but not what lies in it.
        assert await listed() == (shown | {"a.log"}, {"vendored", "node_modules", "data"})
        assert await found() == shown
        assert await listed("data") == ({"data/f"}, set())
        assert await found("data") == {"data/f"}
        assert await found("node_modules") == {"node_modules/a/f"}
        assert await found("a.log") == {"a.log"}
