"""What is done once, however often it is asked: whoever changes something and lost the answer may ask again."""

from __future__ import annotations

__all__ = ["Once"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .request import Request

MAX_KEPT = 256
MAX_BYTES = 8 * 1024 * 1024
"""Of answers that are kept for whoever lost them; the oldest go first."""


class Once:
    def __init__(self) -> None:
        self._deeds: dict[str, _Deed] = {}

    def is_first(self, request: Request) -> bool:
        """Whether it has to be done. Where it was, or is being, it is answered as its first asking is."""
        key = request.text("once", "")
        if not key:
            return True
        if (known := self._deeds.get(key)) is not None:
            known.tell(request)
            return False
        deed = self._deeds[key] = _Deed()

        def answered(fields: Mapping[str, object], data: bytes, size: int) -> None:
            deed.answer(fields, data, size)
            self._forget_old()

        request.on_answer = answered
        return True

    def _forget_old(self) -> None:
        size = sum(deed.size for deed in self._deeds.values())
        ended = [key for key, deed in self._deeds.items() if deed.is_answered]
        for key in ended[:-1]:
            if len(self._deeds) <= MAX_KEPT and size <= MAX_BYTES:
                return
            size -= self._deeds.pop(key).size


class _Deed:
    def __init__(self) -> None:
        self.size = 0
        self.is_answered = False
        self._fields: Mapping[str, object] = {}
        self._data = b""
        self._waiting: list[Request] = []

    def tell(self, request: Request) -> None:
        if self.is_answered:
            request.answer(self._fields, self._data)
        else:
            self._waiting.append(request)

    def answer(self, fields: Mapping[str, object], data: bytes, size: int) -> None:
        self._fields, self._data, self.size = fields, data, size
        self.is_answered = True
        for request in self._waiting:
            self.tell(request)
        self._waiting.clear()
