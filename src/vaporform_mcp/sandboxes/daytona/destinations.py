"""Where the API key may go: to the service's address, to what belongs to it, and to hosts that a person named."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from vaporform_mcp.errors import NotSupported

__all__ = ["Destinations"]

_CLOUD = "daytona.io"
_LEAST_PARTS = 3
"""Of a domain that hosts beside the service's are trusted in. One of two parts, as co.uk, may be anybody's."""


class Destinations:
    """The service says itself where its sandboxes are reached, and every request there carries the account's key.

    Trusted are the host of `api_url`, hosts below it, and those beside it in a domain of three parts or the cloud's
    own; `named` adds hosts (`proxy.example.org`) and all hosts below one (`*.example.org`). A key that came by HTTPS
    does not go on without.
    """

    def __init__(self, api_url: str, named: Sequence[str] = ()) -> None:
        parts = urlsplit(api_url)
        self._is_secure = parts.scheme == "https"
        self._own = _plain(parts.hostname or "")
        below = [self._own, _domain_of(self._own)]
        self._hosts = {self._own} | {_plain(each) for each in named if not each.startswith("*.")}
        self._below = tuple(
            f".{each}" for each in [*below, *(_plain(each[2:]) for each in named if each.startswith("*."))] if each
        )

    def check(self, url: str) -> None:
        """Raises `NotSupported` for an address that the key does not go to."""
        parts = urlsplit(url)
        host = _plain(parts.hostname or "")
        if parts.scheme not in {"https", "wss"} and (self._is_secure or parts.scheme not in {"http", "ws"}):
            raise NotSupported(
                f"Daytona sends on to {host[:200]!r} without encryption, so the API key was not sent there",
                hint="A person has to set VAPORFORM_DAYTONA__API_URL to the address that the service really has.",
            )
        if host not in self._hosts and (_is_address(host) or not host.endswith(self._below)):
            raise NotSupported(
                f"Daytona sends on to {host[:200]!r}, which does not belong to {self._own}, so the API key was not "
                "sent there",
                hint="Where that host is the service's own, a person has to name it in "
                "VAPORFORM_DAYTONA__TOOLBOX_HOSTS.",
            )


def _plain(host: str) -> str:
    return host.strip().rstrip(".").lower()


def _domain_of(host: str) -> str:
    """What the hosts beside it have in common with it; empty where that may be anybody's."""
    domain = host.partition(".")[2]
    if _is_address(host) or (domain != _CLOUD and domain.count(".") + 1 < _LEAST_PARTS):
        return ""
    return domain


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
