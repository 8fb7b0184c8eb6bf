"""What every result has to be, whatever was asked: fit to be shown to a model, in text and in structured content."""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

from tests.e2e.stdio_client import Result

__all__ = ["assert_fit", "assert_refused"]

ROOT = Path(__file__).parents[2]
CODES = {
    "invalid_argument",
    "invalid_path",
    "not_found",
    "is_directory",
    "not_a_directory",
    "permission_denied",
    "too_large",
    "not_text",
    "ambiguous",
    "conflict",
    "limit",
    "denied",
    "not_supported",
    "sandbox_lost",
    "sandbox_unavailable",
    "store_unavailable",
}
"""All that an error may be but `internal`, which is a bug."""


def assert_fit(result: Result, *secrets: str | Path, known: Path | None = None) -> None:
    """No path of this machine, no traceback, none of `secrets`; but what lies in `known`, which commands see so."""
    raw = json.dumps(result.raw, ensure_ascii=False)
    inside = raw.replace("/home/user", "").replace("/root/.npm", "")
    if known is not None:
        inside = inside.replace(str(known), "")
    paths = (ROOT, sys.prefix, sysconfig.get_path("purelib"), Path.home(), "/home/", "site-packages")
    for each in (*paths, "Traceback (most recent call last)", 'File "', *secrets):
        assert str(each) not in inside, f"{each} is in {raw[:2000]}"


def assert_refused(result: Result, code: str, *secrets: str | Path) -> None:
    """An error with this code, which says in its text what to do."""
    assert result.is_error, result.text
    assert result.structured is None
    assert result.facts["code"] == code, result.text
    assert code in CODES
    assert result.facts["hint"]
    assert result.facts["hint"].rstrip(".") in result.text
    assert result.facts["workspace"]
    assert_fit(result, *secrets)
