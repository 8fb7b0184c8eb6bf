"""What the settings and a project's own `.vaporformignore` keep out of the mirror."""

from __future__ import annotations

from pathlib import Path

from tests.workspace.helpers import opened, path, shell
from tests.workspace.seams import seam_server
from vaporform_mcp.exclusions import Exclusions, MirrorRules


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
