"""Values as agents send them, understood where what is meant is beyond doubt."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TypeGuard, TypeVar

__all__ = ["as_flag", "as_mapping", "as_number", "as_text", "as_whole", "between", "excerpt", "shown"]

T = TypeVar("T")

_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


def as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"must be a string, not {_kind(value)}")


def as_whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    raise ValueError(f"must be a whole number, not {excerpt(value)}")


def as_number(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _finite(value)
    if isinstance(value, str) and len(value) <= 40:
        try:
            return _finite(float(value.strip()))
        except ValueError:
            pass
    raise ValueError(f"must be a number, not {excerpt(value)}")


def _finite(value: float) -> float:
    # A whole number can be too large for a float, and JSON as Python reads it has NaN and infinities.
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def between(convert: Callable[[object], T], minimum: float, maximum: float) -> Callable[[object], T]:
    def bounded(value: object) -> T:
        number = convert(value)
        if not (isinstance(number, int | float) and minimum <= number <= maximum):
            limits = f"at least {minimum:g}" if maximum >= 2**53 else f"between {minimum:g} and {maximum:g}"
            raise ValueError(f"must be {limits}, not {excerpt(value)}")
        return number

    return bounded


def as_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    said = str(value).strip().lower() if isinstance(value, str | int) else ""
    if said in _TRUE:
        return True
    if said in _FALSE:
        return False
    raise ValueError(f"must be true or false, not {excerpt(value)}")


def as_mapping(value: object) -> Mapping[str, str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("must be an object of strings, not a string") from None
    if not _is_object(value):
        raise ValueError(f"must be an object of strings, not {_kind(value)}")
    return {str(key): _member(str(key), each) for key, each in value.items()}


def _is_object(value: object) -> TypeGuard[Mapping[object, object]]:
    return isinstance(value, dict)


def _member(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        said = as_text(value)
        key.encode()
        said.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode text") from None
    except ValueError as error:
        raise ValueError(f"{error} (in {shown(key)})") from None
    return said


def shown(key: str) -> str:
    return key[:60].encode("ascii", "backslashreplace").decode()


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"


def excerpt(value: object) -> str:
    return shown(repr(value)) if isinstance(value, str | int | float) else _kind(value)
