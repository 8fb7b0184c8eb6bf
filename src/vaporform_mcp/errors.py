"""Everything we raise on purpose.

VaporformError              str() and hint are shown to the model: no host path, no secret
  InvalidArgument           the caller's fault; another argument helps
    InvalidPath, IsDirectory, NotADirectory, NotText, Ambiguous, TooLarge
  NotFound                  the thing named is not there
  PermissionDenied          the sandbox's own file permissions refuse it
  NotSupported              this provider or store cannot do it
  Conflict                  lost a race, or the name is taken; look again and repeat
  LimitReached              a bound was met; the hint says what frees it
  Unavailable               nobody's fault here; waiting or the mend in the hint helps
    SandboxUnavailable, SandboxLost, StoreUnavailable
  Internal                  a bug of ours, named without its details
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "Ambiguous",
    "Conflict",
    "Internal",
    "InvalidArgument",
    "InvalidPath",
    "IsDirectory",
    "LimitReached",
    "NotADirectory",
    "NotFound",
    "NotSupported",
    "NotText",
    "PermissionDenied",
    "SandboxLost",
    "SandboxUnavailable",
    "StoreUnavailable",
    "TooLarge",
    "Unavailable",
    "VaporformError",
]


class VaporformError(Exception):
    """An intended failure. `str()` says what happened and to what; `hint` says what to do next."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidArgument(VaporformError):
    code = "invalid_argument"


class InvalidPath(InvalidArgument):
    code = "invalid_path"


class IsDirectory(InvalidArgument):
    code = "is_directory"


class NotADirectory(InvalidArgument):
    code = "not_a_directory"


class NotText(InvalidArgument):
    code = "not_text"


class Ambiguous(InvalidArgument):
    code = "ambiguous"


class TooLarge(InvalidArgument):
    code = "too_large"


class NotFound(VaporformError):
    code = "not_found"


class PermissionDenied(VaporformError):
    code = "permission_denied"


class NotSupported(VaporformError):
    code = "not_supported"


class Conflict(VaporformError):
    code = "conflict"
    retryable = True


class LimitReached(VaporformError):
    code = "limit"


class Unavailable(VaporformError):
    retryable = True


class SandboxUnavailable(Unavailable):
    """A sandbox cannot be had (now, or on this machine at all)."""

    code = "sandbox_unavailable"


class SandboxLost(Unavailable):
    """The sandbox that this handle stood for is gone. Acquire it anew; what it ran has ended."""

    code = "sandbox_lost"


class StoreUnavailable(Unavailable):
    code = "store_unavailable"


class Internal(VaporformError):
    code = "internal"
