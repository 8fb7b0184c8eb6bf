"""The C library, and system calls that it or Python has no function for."""

from __future__ import annotations

import ctypes
import os

from .calls import numbers

__all__ = ["call", "checked", "library", "prctl"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    Argument = int | bytes | ctypes.Array[ctypes.c_char] | None

library = ctypes.CDLL(None, use_errno=True)
_numbers: dict[str, int] = {}


def call(name: str, *arguments: Argument) -> int:
    """Make a system call by its name. Raises `OSError`, and `KeyError` on a machine that we do not know."""
    if not _numbers:
        _numbers.update(numbers(os.uname().machine))
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return checked(library.syscall(ctypes.c_long(_numbers[name]), *words))


def prctl(option: int, value: int) -> int:
    return checked(library.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def checked(result: int) -> int:
    """What a call answered; `OSError` where it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
