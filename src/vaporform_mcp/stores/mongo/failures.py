"""What MongoDB and its driver say when the database cannot be used, in words that name the mend and no address."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from vaporform_mcp.errors import StoreUnavailable

__all__ = ["NEWER", "too_slow", "translated"]

_Told = tuple[str, str]

_SETTING = "VAPORFORM_MONGO__URI (or MONGODB_URI)"

_UNREACHED = (
    "the MongoDB server cannot be reached",
    f"Check that it runs, that this machine may connect to it, and {_SETTING}; `vaporform-mcp doctor` tries it.",
)
_TLS = (
    "the MongoDB server cannot be reached: the TLS handshake failed",
    f"Check the certificate and the tls options in {_SETTING}, and that this machine's address is on its access list.",
)
_NAME = (
    "the MongoDB server cannot be reached: its name cannot be resolved",
    f"Check the host in {_SETTING} and this machine's DNS.",
)
_SLOW = (
    "the MongoDB server did not answer in time",
    "Repeat the call; if it goes on, look at the server's load and at the connection to it.",
)
_BROKEN = ("the connection to the MongoDB server broke", "Repeat the call.")
_NO_PRIMARY = (
    "the MongoDB server has no primary that takes writes at the moment",
    "Repeat the call; if it goes on, look at the replica set's members with rs.status().",
)
_LOGIN = (
    "the MongoDB server refused the user or the password",
    f"Check both in {_SETTING} (special characters percent-encoded) and its authSource.",
)
_RIGHTS = (
    "the MongoDB user may not do that in this database",
    "Grant it the role readWrite on the database of VAPORFORM_MONGO__DATABASE.",
)
_FULL = (
    "there is no space left in the MongoDB database",
    "Free space or raise its quota, or remove old revisions with `vaporform-mcp prune`; then repeat the call.",
)
_READ_ONLY = (
    "the MongoDB database is read-only at the moment",
    "Look why (a full disk, a maintenance, a secondary that the URI connects to directly), then repeat the call.",
)
_OPTIONS = ("the driver cannot use the MongoDB URI", f"Check the options in {_SETTING}.")
_UNCONFIRMED = (
    "the MongoDB server did not confirm that a majority of its members has the data on disk",
    "Repeat the call; if it goes on, look at the replica set's members with rs.status().",
)
NEWER = "Upgrade vaporform-mcp, and restart the servers that still run the old one."

_BY_CODE: dict[int, _Told] = {
    13: _RIGHTS,
    18: _LOGIN,
    50: _SLOW,  # MaxTimeMSExpired
    64: _UNCONFIRMED,  # WriteConcernFailed
    89: _SLOW,  # NetworkTimeout
    91: _NO_PRIMARY,  # ShutdownInProgress
    100: _UNCONFIRMED,  # UnsatisfiableWriteConcern
    189: _NO_PRIMARY,  # PrimarySteppedDown
    202: _SLOW,  # NetworkInterfaceExceededTimeLimit
    262: _SLOW,  # ExceededTimeLimit
    10107: _NO_PRIMARY,  # NotWritablePrimary
    11600: _NO_PRIMARY,  # InterruptedAtShutdown
    11602: _NO_PRIMARY,  # InterruptedDueToReplStateChange
    12501: _FULL,  # quota exceeded
    13435: _NO_PRIMARY,  # NotPrimaryNoSecondaryOk
    13436: _NO_PRIMARY,  # NotPrimaryOrSecondary
    14031: _FULL,  # OutOfDiskSpace
}

# Hosted servers say several things with one code of their own (8000) and tell them apart in the text alone.
_BY_TEXT: tuple[tuple[str, _Told], ...] = (
    ("quota", _FULL),
    ("no space left", _FULL),
    ("disk space", _FULL),
    ("read-only", _READ_ONLY),
    ("read only", _READ_ONLY),
    ("readonly", _READ_ONLY),
    ("match selector", _NO_PRIMARY),  # there are servers, and none is a primary
    ("notprimary", _NO_PRIMARY),
    ("not primary", _NO_PRIMARY),
    ("auth failed", _LOGIN),
    ("authentication failed", _LOGIN),
    ("not authorized", _RIGHTS),
    ("not allowed", _RIGHTS),
    ("certificate", _TLS),
    ("ssl", _TLS),
    ("name or service not known", _NAME),
    ("getaddrinfo", _NAME),
    ("nodename", _NAME),
    ("dns", _NAME),
)


@contextmanager
def translated() -> Generator[None]:
    """Turn the failures of the server and the way to it into `StoreUnavailable`; a bug of ours passes as it is."""
    try:
        yield
    except (ConfigurationError, ConnectionFailure, OperationFailure) as error:
        message, hint = _told(error)
        raise StoreUnavailable(message, hint=hint) from error


def too_slow() -> StoreUnavailable:
    message, hint = _SLOW
    return StoreUnavailable(message, hint=hint)


def _told(error: PyMongoError) -> _Told:
    text = str(error).lower()
    match error:
        case ServerSelectionTimeoutError():
            return _in_text(text) or _UNREACHED
        case NotPrimaryError():
            return _NO_PRIMARY
        case NetworkTimeout() | ExecutionTimeout():
            return _SLOW
        case AutoReconnect():
            return _in_text(text) or _BROKEN
        case WTimeoutError() | WriteConcernError():
            return _UNCONFIRMED
        case BulkWriteError():
            return _bulk(error)
        case OperationFailure():
            return _BY_CODE.get(error.code or 0) or _in_text(text) or _refused(error.code)
        case ConfigurationError():
            return _in_text(text) or _OPTIONS
        case _:
            return _SLOW if error.timeout else _BROKEN


def _bulk(error: BulkWriteError) -> _Told:
    """One of a batch was refused, or nothing was and the confirmation failed."""
    details = error.details or {}
    for each in (*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())):
        if each.get("code") != 11000:
            text = str(each.get("errmsg", "")).lower()
            return _BY_CODE.get(each.get("code", 0)) or _in_text(text) or _refused(each.get("code"))
    return _UNCONFIRMED


def _in_text(text: str) -> _Told | None:
    return next((told for sign, told in _BY_TEXT if sign in text), None)


def _refused(code: int | None) -> _Told:
    return (
        f"the MongoDB server refused a command (code {code})",
        "The server's log has the details; `vaporform-mcp doctor` tries the store.",
    )
