"""The ground of a Daytona sandbox: one supervisor, asked by its hand."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from vaporform_mcp.errors import SandboxLost
from vaporform_mcp.sandboxes.daytona.hand import Asked, Hand
from vaporform_mcp.sandboxes.daytona.reach import Reach
from vaporform_mcp.sandboxes.daytona.waking import lost
from vaporform_mcp.sandboxes.supervised.asking import ANSWER_S, WORKSPACE, Asking, LostMeanwhile, OnEvent, Reply
from vaporform_mcp.sandboxes.supervised.fields import JsonValue, Malformed, parse_fault
from vaporform_mcp.sandboxes.supervised.frames import Frame
from vaporform_mcp.sandboxes.supervised.inside.wire import FLUSHED_FILES

__all__ = ["Handle", "replies_in"]

_ONCE = frozenset({"write", "remove", "commit", "end", "input", "exchange"})
"""Asked anew, these would do it twice, or fail at what they did themselves: so each goes with a key of its own."""

_OF_A_START = frozenset({"run", "join", "cancel", "wait", "output", "input", "resize", "stop", "exchange", "hang_up"})
"""These are about what one supervisor alone knows."""


class Handle(Asking):
    def __init__(self, reach: Reach, workspace_id: str, epoch: int) -> None:
        self.workspace_id = workspace_id
        self.epoch = epoch
        self._reach = reach
        self._hand = Hand(reach, workspace_id, epoch)
        self._is_destroyed = False
        self.watcher = uuid.uuid4().hex

    @property
    def start(self) -> int:
        return self._hand.note.start if self._hand.note is not None else 1

    @property
    def shown_at(self) -> str:
        return self._hand.note.root if self._hand.note is not None else WORKSPACE

    @property
    def is_lost(self) -> bool:
        return self._is_destroyed

    def forget(self) -> None:
        """It was destroyed by this server: what is asked from now on meets no other sandbox."""
        self._is_destroyed = True

    def check(self) -> None:
        if self._is_destroyed:
            raise lost(self._reach.machine.id)

    async def greet(self) -> None:
        """Have the supervisor run, for the workspace's folder that is there now."""
        told = replies_in(await self._ask_all([Asked(op="info")], renews=True), None)[-1]
        if told.fields.flag("root_gone"):
            # Somebody removed the folder: the next start makes it anew, and knows it for another.
            await self._ask_all([Asked(op="end")])
            await self._ask_all([Asked(op="info")])

    async def ask(
        self,
        op: str,
        fields: Mapping[str, JsonValue] | None = None,
        data: bytes = b"",
        *,
        within_s: float | None = ANSWER_S,
        on_event: OnEvent | None = None,
        cancels: bool = False,
    ) -> Reply:
        """As the contract has it. What belongs to one start of the supervisor raises `OtherStart` at another."""
        del cancels  # commands alone are given up, and they have their key
        if op in _OF_A_START:
            return await self._ask_at(op, fields, data, within_s=within_s or ANSWER_S)
        frames = await self._ask_all([Asked(op=op, fields=fields or {}, data=data)], within_s=within_s or ANSWER_S)
        return replies_in(frames, on_event)[-1]

    async def ask_both(self, first: str, then: str) -> tuple[Reply, Reply]:
        one, other = replies_in(await self._ask_all([Asked(op=first), Asked(op=then)]), None)
        return one, other

    async def flush(self) -> None:
        """Nothing: where it is due, the hand does it before it answers."""

    async def _ask_at(
        self, op: str, fields: Mapping[str, JsonValue] | None = None, data: bytes = b"", *, within_s: float = ANSWER_S
    ) -> Reply:
        """Ask the supervisor of the start that is known. Raises `OtherStart`, after which another is known."""
        frames = await self._ask_all(
            [Asked(op=op, fields=fields or {}, data=data)], within_s=within_s, expected=self.start
        )
        return replies_in(frames, None)[-1]

    async def _ask_all(
        self,
        requests: Sequence[Asked],
        *,
        within_s: float = ANSWER_S,
        expected: int | None = None,
        renews: bool = False,
    ) -> Sequence[Frame]:
        self.check()
        keyed = [
            replace(one, fields={**one.fields, "once": uuid.uuid4().hex}) if one.op in _ONCE else one
            for one in requests
        ]
        many = any(one.op == "commit" or _is_large_batch(one) for one in requests)
        try:
            return await self._hand.ask(keyed, within_s=within_s, expected=expected, sync=many, renews=renews)
        except LostMeanwhile:
            raise  # it may have been its supervisor alone
        except SandboxLost:
            self._is_destroyed = True
            raise


def _is_large_batch(one: Asked) -> bool:
    files = one.fields.get("files")
    return one.op == "write" and isinstance(files, list) and len(files) > FLUSHED_FILES


def replies_in(frames: Sequence[Frame], on_event: OnEvent | None) -> Sequence[Reply]:
    """The replies in order, once `on_event` has had their events. Raises the error of the one that was refused."""
    replies: list[Reply] = []
    for frame in frames:
        if "event" in frame.fields:
            if on_event is not None:
                on_event(frame.fields, frame.data)
        elif "error" in frame.fields:
            raise parse_fault(frame.fields.object("error"))
        else:
            replies.append(Reply(frame.fields.object("ok"), frame.data))
    if not replies:
        raise Malformed("no reply")
    return replies
