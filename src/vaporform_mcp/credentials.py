"""Credentials of git repositories, each for a host or a part of it, and which of them a repository is cloned with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = ["Credential", "Credentials", "parse_credential"]

_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """`path` is empty, or begins with a slash: for what lies at it or below."""

    scheme: str
    host: str
    port: int
    path: str
    username: str
    password: str = field(repr=False)

    def is_for(self, url: SplitResult) -> bool:
        """Never for the same host over a connection of another kind."""
        if (url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)) != (self.scheme, self.host, self.port):
            return False
        return url.path.rstrip("/") == self.path or url.path.startswith(f"{self.path}/")


class Credentials:
    def __init__(self, credentials: Iterable[Credential] = ()) -> None:
        # The one that says most of where it belongs is meant.
        self._all = sorted(credentials, key=lambda each: len(each.path), reverse=True)

    def of(self, url: str) -> Credential | None:
        """The one for the repository at this URL; None where there is none."""
        parts = urlsplit(url)
        return next((each for each in self._all if each.is_for(parts)), None)


def parse_credential(raw: str) -> Credential:
    """As git's own file of credentials has them: `https://user:password@host`, with a path where it is for less.

    Raises:
        ValueError: it is none. What is said has nothing of it.
    """
    try:
        parts = urlsplit(raw.strip())
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        raise ValueError("it is no URL") from None
    if port is None or not host:
        raise ValueError("it does not begin with https://user:password@host")
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not username or not password:
        raise ValueError("it lacks a user name or a password: a token is the password of whatever name its host wants")
    if _CONTROL.search(username + password) or parts.query or parts.fragment:
        raise ValueError("what is special in its user name or password has to be written as %xx, a comma as %2C")
    return Credential(
        scheme=parts.scheme,
        host=host,
        port=port,
        path=parts.path.rstrip("/"),
        username=username,
        password=password,
    )
