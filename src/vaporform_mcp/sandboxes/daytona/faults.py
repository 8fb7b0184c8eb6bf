"""What the service says when it fails, as errors of ours: the one place where that is decided."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vaporform_mcp.errors import (
    Conflict,
    InvalidArgument,
    LimitReached,
    NotFound,
    NotSupported,
    SandboxUnavailable,
    VaporformError,
)

__all__ = ["Failure", "failed", "is_transient", "printable"]

_MAX_SAID = 400
_MARKUP = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_SPACES = re.compile(r"\s+")

_NOT_RUNNING = re.compile(r"is the sandbox started|container ip|no ip address|sandbox is not (?:started|running)", re.I)
_NO_CREDIT = re.compile(r"suspend|credit|billing|payment|balance|depleted", re.I)
_QUOTA = re.compile(r"(?:limit|quota)s?\b.*exceed|exceed.*(?:limit|quota)|maximum|too many|no available runner", re.I)
_DISK_FULL = re.compile(r"no space left|disk (?:is )?full|ENOSPC", re.I)
_SNAPSHOT = re.compile(r"snapshot", re.I)
_IMAGE = re.compile(r"image|manifest|pull access denied|repository does not exist|dockerfile", re.I)
_TOO_LARGE = re.compile(r"\bper sandbox\b", re.I)
_REGION = re.compile(r"\b(?:region|target)\b", re.I)
_NETWORK = re.compile(r"network access is restricted|allow.?list|cidr", re.I)
_ABSENT = re.compile(r"not found|not available|does not exist|denied|unknown|invalid|inactive|not active", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One request that failed. `status` is None where there was no answer: `dropped`, or none in time, or nonsense.

    `said` is the service's own text, made fit to be shown. `retry_after_s` is how long it asks to be left alone.
    """

    status: int | None = None
    said: str = ""
    retry_after_s: float | None = None
    dropped: bool = False

    @property
    def is_limited(self) -> bool:
        return self.status == 429

    @property
    def says_not_running(self) -> bool:
        """Whether the sandbox was not reached since it does not run: nothing was done."""
        return self.status in {400, 409} and _NOT_RUNNING.search(self.said) is not None


def is_transient(failure: Failure) -> bool:
    """Whether the same request may well succeed a moment later; what became of this one is not known."""
    return failure.dropped or failure.status in {408, 425, 500, 502, 503, 504}


def printable(text: str, secret: str = "") -> str:
    """A text from outside, short, in one line, without markup and without the secret."""
    text = text.replace(secret, "…") if secret else text
    text = _SPACES.sub(" ", _UNPRINTABLE.sub(" ", _MARKUP.sub(" ", text))).strip()
    return text if len(text) <= _MAX_SAID else f"{text[:_MAX_SAID]}…"


def failed(failure: Failure, doing: str, sandbox_id: str = "") -> VaporformError:
    """`doing` completes "Daytona …", such as "could not start the sandbox"."""
    said = failure.said
    reason = f": {said}" if said else ""
    which = f" (sandbox {sandbox_id})" if sandbox_id and sandbox_id not in said else ""
    text = f"Daytona {doing}{reason}{which}"
    if failure.status is None or is_transient(failure):
        how = "the connection broke" if failure.dropped else "there was no answer that could be used in time"
        return SandboxUnavailable(
            f"{text}: {f'HTTP status {failure.status}' if failure.status else how}",
            hint="Repeat the call. If it goes on, look at https://status.app.daytona.io, and at "
            "VAPORFORM_DAYTONA__API_URL.",
        )
    if failure.says_not_running:
        return SandboxUnavailable(text, hint="Repeat the call: it is started, if it does not start already.")
    if failure.status == 401:
        return SandboxUnavailable(
            f"Daytona refused the API key{reason}",
            hint="A person has to set VAPORFORM_DAYTONA__API_KEY to a key that is valid "
            "(https://app.daytona.io/dashboard/keys) and restart the server.",
        )
    if failure.is_limited:
        return LimitReached(
            f"Daytona's limit of requests was met{reason}{which}",
            hint=f"Repeat the call in {round(failure.retry_after_s)} s."
            if failure.retry_after_s
            else "Repeat the call in a minute.",
        )
    return _by_text(failure, text)


def _by_text(failure: Failure, text: str) -> VaporformError:
    for kind, applies, hint in _TEXTS:
        if applies(failure):
            return kind(text, hint=hint)
    return InvalidArgument(text, hint="Change what it names; the settings' defaults are a safe choice.")


def _has(*patterns: re.Pattern[str]) -> Callable[[Failure], bool]:
    return lambda failure: all(pattern.search(failure.said) for pattern in patterns)


_TEXTS: Sequence[tuple[type[VaporformError], Callable[[Failure], bool], str]] = (
    (
        SandboxUnavailable,
        lambda failure: failure.status == 402 or (failure.status == 403 and _has(_NO_CREDIT)(failure)),
        "A person has to look at the account's billing: https://app.daytona.io/dashboard/billing.",
    ),
    (LimitReached, _has(_DISK_FULL), "Remove files, or open a workspace with a larger disk."),
    (
        LimitReached,
        _has(_TOO_LARGE),
        "Ask for less, or leave it out; the account's limits are at https://app.daytona.io/dashboard/limits.",
    ),
    (
        LimitReached,
        _has(_QUOTA),
        "See `vaporform-mcp ps`, end one with `vaporform-mcp stop`. Stopped ones take disk until they are archived.",
    ),
    (
        NotSupported,
        _has(_NETWORK),
        "The account's tier allows no network limits of its own: leave VAPORFORM_DAYTONA__NETWORK out.",
    ),
    (
        NotFound,
        lambda failure: _has(_SNAPSHOT)(failure) and (failure.status == 404 or _has(_ABSENT)(failure)),
        "Give the name of a snapshot that the account has and that is active.",
    ),
    (
        InvalidArgument,
        _has(_REGION, _ABSENT),
        "A person has to set VAPORFORM_DAYTONA__TARGET to a region of the account, such as us or eu.",
    ),
    (NotFound, _has(_IMAGE, _ABSENT), "Give an image with its tag, such as debian:12 or python:3.12-slim."),
    (
        SandboxUnavailable,
        lambda failure: failure.status == 403,
        "A person has to give the API key that permission, or use another key.",
    ),
    (NotFound, lambda failure: failure.status == 404, "Repeat the call: what is gone is made anew."),
    (Conflict, lambda failure: failure.status == 409, "Repeat the call."),
)
