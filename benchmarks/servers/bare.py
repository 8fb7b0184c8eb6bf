"""The server to beat: three tools on the same SDK, with neither isolation nor mirror.

Run as `python -m benchmarks.servers.bare FOLDER`. Commands run in the shell that ours run in, so that what is compared
is what happens around it; and results are text alone, as ours are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from mcp.server import MCPServer

SHELL = shutil.which("bash") or "/bin/sh"

server = MCPServer("bare")
folder = Path(sys.argv[1])


@server.tool(structured_output=False)
def write_file(path: str, content: str) -> str:
    """Write a text file."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content, encoding="utf-8")
    return f"Wrote {path}."


@server.tool(structured_output=False)
def read_file(path: str) -> str:
    """Read a text file."""
    return (folder / path).read_text(encoding="utf-8")


@server.tool(structured_output=False)
def run_command(command: str) -> str:
    """Run a shell command."""
    done = subprocess.run(
        [SHELL, "-c", command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return f"Exit code {done.returncode}.\n{done.stdout.decode(errors='replace')}"


if __name__ == "__main__":
    server.run()
