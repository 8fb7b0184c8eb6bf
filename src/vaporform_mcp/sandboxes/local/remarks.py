"""What there is to say of a command beside its output: what was refused to it, and where it looked in vain."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence

import anyio

__all__ = ["Refusals", "misled"]

_MAX_REFUSALS = 100
_MAX_TOLD = 5
_NOT_HERE = (
    ("/workspace", "This sandbox has no /workspace: commands start in the workspace's folder, so use relative paths."),
    ("/tmp", "This sandbox cannot use /tmp: use $TMPDIR."),  # noqa: S108  # what was asked for
    ("/home/user", "This sandbox has no /home/user: use $HOME."),
)


class Refusals:
    """Connections out that were refused: git, curl and npm show their users a status code at best."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, str]] = deque(maxlen=_MAX_REFUSALS)

    def add(self, refusal: object) -> None:
        self._kept.append((anyio.current_time(), str(refusal)))

    def since(self, began: float) -> Sequence[str]:
        told = dict.fromkeys(text for at, text in self._kept if at >= began)
        return tuple(told)[:_MAX_TOLD]


def misled(text: str) -> Sequence[str]:
    """What to say of a command that failed and names folders as sandboxes with namespaces have them."""
    return tuple(said for name, said in _NOT_HERE if re.search(rf"(?<![\w./-]){name}(?![\w-])", text))
