"""Writers that send many writes at once to a server which may be killed meanwhile, and remember what it answered."""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.e2e.stdio_client import FACTS, StdioServer

__all__ = ["Writer", "Written", "acknowledged", "chance_of", "contents", "possible"]

SIZES = (0, 30, 2_000, 40_000, 300_000)
OFTEN = (4, 20, 20, 4, 1)
KILL_LIMIT_S = 10.0


def chance_of(number: int) -> random.Random:
    """The same choices for the same round of every run."""
    return random.Random(number)  # noqa: S311  # nothing secret is made with it


def contents(chance: random.Random, who: str, number: int) -> str:
    """Text that no other write has, of a size that may be anything."""
    size = chance.choices(SIZES, OFTEN)[0]
    return f"{who} {number} ".ljust(size, chance.choice("abc\n"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One write that was sent; `revision` is that of an answer with `mirrored: true`, None where none arrived."""

    path: str
    content: bytes
    request: int
    revision: int | None = None


@dataclass(slots=True)
class Writer:
    """Sends writes to `server` without waiting for answers; `finish` collects those that arrived."""

    server: StdioServer
    sent: list[Written] = field(default_factory=list[Written])
    _sender: threading.Thread | None = None

    def start(self, writes: Collection[tuple[str, str]]) -> None:
        self._sender = threading.Thread(target=self._send, args=(list(writes),))
        self._sender.start()

    def finish(self) -> list[Written]:
        """What was sent, with the answers; ends when all have arrived or the server's output has ended."""
        if self._sender is not None:
            self._sender.join()
        return [self._answered(each) for each in self.sent]

    def _send(self, writes: list[tuple[str, str]]) -> None:
        with suppress(BrokenPipeError):
            for path, content in writes:
                request = self.server.begin_call("write_to_file", {"path": path, "content": content})
                self.sent.append(Written(path=path, content=content.encode(), request=request))

    def _answered(self, write: Written) -> Written:
        try:
            answer = self.server.answer(write.request)
        except AssertionError:
            self.server.wait(limit_s=KILL_LIMIT_S)  # its output has ended, so it must have been killed
            return write
        assert not answer["result"].get("isError"), answer
        facts = answer["result"]["_meta"][FACTS]
        assert facts["mirrored"], facts
        return Written(path=write.path, content=write.content, request=write.request, revision=facts["revision"])


def possible(writes: Collection[Written], kept: Mapping[str, bytes]) -> Mapping[str, Collection[bytes]]:
    """What each path may hold once `writes` of one server are over, where it held what is `kept` before.

    What was acknowledged last, else what was there before; or a write without an answer, which may have happened or
    not, before or after any other.
    """
    found: dict[str, list[bytes]] = {path: [content] for path, content in kept.items()}
    last: dict[str, int] = {}
    for each in writes:
        if each.revision is not None and each.revision > last.get(each.path, 0):
            last[each.path] = each.revision
            found[each.path] = [each.content]
    for each in writes:
        if each.revision is None:
            found.setdefault(each.path, []).append(each.content)
    return found


def acknowledged(writes: Collection[Written]) -> set[str]:
    return {each.path for each in writes if each.revision is not None}
