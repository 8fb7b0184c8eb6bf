"""Faults that a test asks for, each for the requests that it names and as often as it says."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Fault", "Faults"]


class Fault(BaseModel):
    """What goes wrong with which requests.

    `route` is a pattern for the names of the handlers (`get_sandbox`, `execute`, `upload_files`, …), `sandbox` one for
    the id or name in the path. The first `skip` such requests go well, then `times` go wrong; None is all.

    `delay_s` comes before everything else. `status` with `body` and `headers` is answered instead of what was asked
    for. `drop` cuts the connection: "before" anything is done, "after" all was done and only the answer is lost, or
    "during" an upload or a download, after so many bytes of the files in it.
    `stall` never answers: "before" anything is done, or "after". `close_code` ends a WebSocket after `after_frames`
    frames; 1006 is no closing handshake at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: str = "*"
    sandbox: str = "*"
    skip: int = Field(default=0, ge=0)
    times: int | None = Field(default=1, ge=1)
    delay_s: float = Field(default=0, ge=0)
    status: int | None = None
    body: str = ""
    headers: dict[str, str] = {}
    drop: Literal["before", "during", "after"] | None = None
    after_bytes: int = Field(default=0, ge=0)
    stall: Literal["before", "after"] | None = None
    close_code: int | None = None
    after_frames: int = Field(default=0, ge=0)


@dataclass(slots=True)
class _Set:
    fault: Fault
    seen: int = 0


class Faults:
    def __init__(self) -> None:
        self._set: list[_Set] = []

    def add(self, fault: Fault) -> None:
        self._set.append(_Set(fault))

    def clear(self) -> None:
        self._set.clear()

    def take(self, route: str, sandbox: str) -> Fault | None:
        """The fault of this request, which is then one that has happened."""
        for each in self._set:
            fault = each.fault
            if not fnmatchcase(route, fault.route) or not fnmatchcase(sandbox, fault.sandbox):
                continue
            each.seen += 1
            if each.seen > fault.skip and (fault.times is None or each.seen <= fault.skip + fault.times):
                return fault
        return None
