"""The commands that README shows for a terminal, run one after the other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.contract.stores import record, write
from vaporform_mcp.app import OWNER
from vaporform_mcp.stores.sqlite import open_sqlite

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
BLOCK = README.partition("<!-- commands -->")[2].partition("<!-- /commands -->")[0]
COMMANDS = [line.partition("#")[0].strip() for line in re.findall(r"^vaporform-mcp .*$", BLOCK, re.MULTILINE)]


def shell(command: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def test_the_commands_for_a_terminal_succeed_in_their_order(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "data" / "vaporform.sqlite3") as store:
        todo = (await store.create_workspace(record("todo", owner=OWNER))).id
        await write(store, todo, {"app.py": b"print(1)"}, label="release")
        await write(store, todo, {"app.py": b"print(2)", "later.py": b""})
    home = tmp_path / "home"
    home.mkdir()
    (home / "shop").mkdir()
    (home / "shop" / "index.html").write_bytes(b"<h1>shop</h1>")
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "VAPORFORM_DATA_DIR": str(tmp_path / "data"),
    }
    assert len(COMMANDS) > 4
    for command in COMMANDS:
        done = shell(command, home, environment)
        assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stdout}{done.stderr}"
    assert shell("vaporform-mcp stop --all", home, environment).returncode == 0
    assert (home / "shop" / "index.html").read_bytes() == b"<h1>shop</h1>"
    assert sorted(path.name for path in (home / "todo-now").iterdir()) == ["app.py", "later.py"]
    assert sorted(path.name for path in (home / "todo-then").iterdir()) == ["app.py"]
    assert (home / "todo-now" / "app.py").read_bytes() == b"print(1)"  # since that was restored
