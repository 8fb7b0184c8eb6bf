"""The small web application that the demo's agent writes: what it is whatever language it is written in."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vaporform_mcp.demo.sample_node import NODE_FILES, NODE_MEND
from vaporform_mcp.demo.sample_python import PYTHON_FILES, PYTHON_MEND

__all__ = ["NODE", "PYTHON", "Sample", "at_free_port", "choose"]

_OLDEST_NODE = 18  # the first with node:test


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A shopping list with a page, a form and tests, of which `failing_test` fails until `mend` is applied.

    `files` are in the order of writing. `mend` is a search-and-replace block for `mended_file`. The server keeps what
    a visitor adds in `kept_file`, and listens on `port`, or on what the variable PORT says.
    """

    language: str
    files: Mapping[str, str]
    mended_file: str
    mend: str
    test_command: str
    failing_test: str
    dev_command: str
    port: int
    kept_file: str


NODE = Sample(
    language="node",
    files=NODE_FILES,
    mended_file="src/list.js",
    mend=NODE_MEND,
    test_command="node --test",
    failing_test="counts what is still to be bought",
    dev_command="node src/server.js",
    port=3000,
    kept_file="data/list.json",
)

PYTHON = Sample(
    language="python",
    files=PYTHON_FILES,
    mended_file="shopping.py",
    mend=PYTHON_MEND,
    test_command="python3 -m unittest -v",
    failing_test="test_counts_what_is_still_to_be_bought",
    dev_command="python3 server.py",
    port=8000,
    kept_file="data/list.json",
)


def choose(toolchains: Mapping[str, str]) -> Sample:
    """The sample that runs with what is inside the sandbox: tools by name, with their versions."""
    major = re.search(r"\d+", toolchains.get("node", ""))
    return NODE if major and int(major[0]) >= _OLDEST_NODE else PYTHON


def at_free_port(sample: Sample) -> Sample:
    """The sample, with its server on another port where a program of this machine has the usual one.

    Not every sandbox has ports of its own.
    """
    for port in (sample.port, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as found:
                free = int(found.getsockname()[1])
        except OSError:
            continue
        if free == sample.port:
            return sample
        return replace(sample, port=free, dev_command=f"PORT={free} {sample.dev_command}")
    return sample
