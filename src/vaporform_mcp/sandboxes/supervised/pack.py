"""The supervisor as one file that a sandbox's own Python runs."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vaporform_mcp.sandboxes.supervised import inside

__all__ = ["Pack", "code_digest", "pack"]

_MAIN = """import sys
if sys.version_info < (3, 9):
    print("vaporform-python %d.%d" % sys.version_info[:2])
    raise SystemExit
from inside.hand import main
main(sys.argv[1])
"""
_WHEN = (2020, 1, 1, 0, 0, 0)
"""Of every file in it: the same modules are to be the same bytes, hence the same name, on every machine."""


class Pack(NamedTuple):
    name: str
    content: bytes


@cache
def code_digest() -> str:
    """Tells the supervisor of one version of this program from that of another."""
    digest = hashlib.sha256()
    for module in sorted(Path(inside.__file__ or "").parent.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()[:16]


@cache
def pack() -> Pack:
    """Run with a server's message as its one argument, it is the hand; imported from, the supervisor."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", _WHEN), _MAIN, zipfile.ZIP_DEFLATED)
        for module in sorted(Path(inside.__file__ or "").parent.glob("*.py")):
            archive.writestr(zipfile.ZipInfo(f"inside/{module.name}", _WHEN), module.read_bytes(), zipfile.ZIP_DEFLATED)
    content = written.getvalue()
    return Pack(f"supervisor-{hashlib.sha256(content).hexdigest()[:16]}.pyz", content)
