"""Which daemon the sandboxes run: the one whose source is known, or the hosted one as its SDK shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Daemon", "Version"]

Version = Literal["0.190", "0.226"]


@dataclass(slots=True)
class Daemon:
    """0.226 is inferred from the SDK of that version, since nobody has published its source."""

    version: Version = "0.226"

    @property
    def hosted(self) -> bool:
        return self.version == "0.226"
