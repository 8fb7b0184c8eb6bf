"""One request, with typed access to its arguments and its answers."""

from __future__ import annotations

import math
import sys

from .faults import Refused, refusal
from .frames import encode_frame

__all__ = ["Request"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .connection import Connection

MAX_INTEGER = 2**63 - 1


class Request:
    """One request. The getters refuse, as invalid_argument, what is absent or of another type than asked for.

    `on_answer` gets what it is answered with, also where nobody listens any more, and how many bytes that takes.
    """

    def __init__(self, connection: Connection, fields: object, data: bytes) -> None:
        if not isinstance(fields, dict):
            raise TypeError("a request is an object")
        self._fields: dict[str, object] = fields
        number, op = self._fields.get("id"), self._fields.get("op")
        if not isinstance(number, int) or not isinstance(op, str):
            raise TypeError("a request has an id and an op")
        self.connection = connection
        self.number = number
        self.op = op
        self.data = data
        self.on_answer: Callable[[Mapping[str, object], bytes, int], None] | None = None

    # Answers ---------------------------------------------------------------------------------------------------

    def reply(self, ok: Mapping[str, object], data: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        fields: dict[str, object] = {"ok": ok}
        if descriptors:
            fields["fds"] = len(descriptors)
        try:
            self.answer(fields, data, descriptors)
        except OSError as error:
            self.refuse(refusal(error, "the socket"))

    def refuse(self, error: Refused) -> None:
        self.answer({"error": error.fields()})

    def answer(self, fields: Mapping[str, object], data: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        frame = encode_frame({"id": self.number, **fields}, data)
        self.connection.send(frame, descriptors)
        if self.on_answer is not None:
            self.on_answer(fields, data, len(frame))

    def fail(self, error: Exception) -> None:
        """It went wrong by a mistake of ours: that is told to the log, and that it did to who asked."""
        sys.excepthook(type(error), error, error.__traceback__)
        self.refuse(Refused("internal", f"the sandbox failed at {self.op[:40]!r}"))

    def event(self, name: str, data: bytes) -> None:
        self.connection.send(encode_frame({"id": self.number, "event": name}, data))

    # Arguments -------------------------------------------------------------------------------------------------

    def text(self, name: str, default: str | None = None) -> str:
        value = self._fields.get(name, default)
        if not isinstance(value, str):
            raise _wrong(name)
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        value = self._fields.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_INTEGER:
            raise _wrong(name)
        return value

    def optional_integer(self, name: str) -> int | None:
        return None if self._fields.get(name) is None else self.integer(name)

    def seconds(self, name: str) -> float | None:
        """A duration that is not negative, or None where there is none."""
        value = self._fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise _wrong(name)
        return float(value)

    def size(self, name: str) -> tuple[int, int] | None:
        """A terminal's, as columns and rows, or None where there is none."""
        values = self.optional_items(name)
        if values is None:
            return None
        found = [value for value in values if isinstance(value, int)]
        if len(found) != 2 or len(values) != 2:
            raise _wrong(name)
        return found[0], found[1]

    def flag(self, name: str) -> bool:
        return self._fields.get(name, False) is True

    def texts(self, name: str) -> list[str]:
        values = self._items(name)
        found = [value for value in values if isinstance(value, str)]
        if len(found) != len(values):
            raise _wrong(name)
        return found

    def records(self, name: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for value in self._items(name):
            if not isinstance(value, dict):
                raise _wrong(name)
            found.append(value)  # pyright: ignore[reportUnknownArgumentType]  # JSON's keys are text
        return found

    def pairs(self, name: str) -> dict[str, str]:
        value = self._fields.get(name)
        found: dict[str, str] = {}
        if value is None:
            return found
        if not isinstance(value, dict):
            raise _wrong(name)
        for key, each in _object(value).items():  # pyright: ignore[reportUnknownArgumentType]  # it holds anything
            if not isinstance(each, str):
                raise _wrong(name)
            found[key] = each
        return found

    def optional_items(self, name: str) -> list[object] | None:
        return None if self._fields.get(name) is None else self._items(name)

    def _items(self, name: str) -> list[object]:
        value = self._fields.get(name)
        if not isinstance(value, list):
            raise _wrong(name)
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # it holds anything


def _wrong(name: str) -> Refused:
    return Refused("invalid_argument", f"the request's {name!r} is missing or of the wrong type")


def _object(value: dict[str, object]) -> dict[str, object]:
    """JSON's objects have text for keys, which the type of what it parsed does not say."""
    return value
