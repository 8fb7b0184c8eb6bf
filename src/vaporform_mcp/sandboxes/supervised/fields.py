"""Typed access to the JSON that came out of a sandbox, none of which is to be believed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from vaporform_mcp import errors
from vaporform_mcp.errors import SandboxUnavailable, VaporformError
from vaporform_mcp.types import EntryKind, Stat

__all__ = ["Fields", "JsonValue", "Malformed", "parse_fault", "parse_fields", "parse_object", "parse_stat"]

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

_MAX_MESSAGE = 2_000
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_MAX_NUMBER = 2**63 - 1
_KINDS = {"f": EntryKind.FILE, "d": EntryKind.DIRECTORY, "l": EntryKind.SYMLINK, "o": EntryKind.OTHER}
_BY_CODE: Mapping[str, type[VaporformError]] = {
    kind.code: kind
    for kind in (getattr(errors, name) for name in errors.__all__)
    if kind not in {VaporformError, errors.Unavailable}
}


class Malformed(SandboxUnavailable):
    """The sandbox sent what the protocol does not have."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the sandbox answered with something this server does not understand ({what})",
            hint="Repeat the call. If it goes on, end the sandbox with `vaporform-mcp stop` and try again.",
        )


class Fields:
    """One JSON object. Every getter raises `Malformed` where the member is absent or of another type."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str):
            raise Malformed(name)
        return value

    def number(self, name: str) -> int:
        return _number(self._values.get(name), name)

    def real(self, name: str) -> float:
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Malformed(name)
        return float(value)

    def flag(self, name: str) -> bool:
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise Malformed(name)
        return value

    def is_object(self, name: str) -> bool:
        return isinstance(self._values.get(name), dict)

    def is_null(self, name: str) -> bool:
        return self._values.get(name) is None

    def items(self, name: str) -> Sequence[object]:
        value = self._values.get(name)
        if not isinstance(value, list):
            raise Malformed(name)
        return cast("list[object]", value)

    def objects(self, name: str) -> Sequence[Fields]:
        return [Fields(_mapping(item, name)) for item in self.items(name)]

    def object(self, name: str) -> Fields:
        return Fields(_mapping(self._values.get(name), name))

    def rows(self, name: str) -> Iterator[tuple[str, Sequence[object]]]:
        """Of an array of arrays that each begin with a text: that, and the rest."""
        for row in self.items(name):
            if not isinstance(row, list) or not row:
                raise Malformed(name)
            first, *rest = cast("list[object]", row)
            if not isinstance(first, str):
                raise Malformed(name)
            yield first, rest

    def texts(self, name: str) -> Sequence[str]:
        values = self.items(name)
        return [value for value in values if isinstance(value, str)]

    def ports(self, name: str) -> frozenset[int]:
        values = self.items(name)
        return frozenset(
            value for value in values if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536
        )


def parse_fields(raw: bytes) -> Fields:
    """Raises `Malformed` for anything but one JSON object."""
    try:
        value: object = json.loads(raw)
    # Deep nesting ends in a RecursionError, an endless number in a ValueError, as bad UTF-8 does.
    except (ValueError, RecursionError):
        raise Malformed("no JSON") from None
    return Fields(_mapping(value, "no object"))


def parse_object(value: object, name: str) -> Fields:
    """One item of an array of this and that; `name` is the array's."""
    return Fields(_mapping(value, name))


def parse_stat(value: object) -> Stat:
    """The wire's *stat*."""
    match value:
        case [str() as kind, int() as size, int() as mode, int() as mtime, int() as ctime, int() as inode]:
            if kind in _KINDS and size >= 0:
                return Stat(
                    kind=_KINDS[kind], size=size, mode=mode & 0o7777, mtime_ns=mtime, ctime_ns=ctime, inode=inode
                )
        case _:
            pass
    raise Malformed("stat")


def parse_fault(fault: Fields) -> VaporformError:
    """The error that the supervisor reports, as one of ours."""
    kind = _BY_CODE.get(fault.text("code"))
    if kind is None:
        return Malformed("error code")
    hint = fault.text("hint") if "hint" in fault else ""
    return kind(_printable(fault.text("message")), hint=_printable(hint))


def _mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Malformed(name)
    return cast("dict[str, object]", value)


def _number(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MAX_NUMBER:
        raise Malformed(name)
    return value


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("�", text[:_MAX_MESSAGE])
