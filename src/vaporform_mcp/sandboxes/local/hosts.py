"""Names of hosts: one spelling for each, and patterns over them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vaporform_mcp.sandboxes.local.addresses import literal

__all__ = ["NamePattern", "authority", "is_loopback_name", "normal_host", "parse_port"]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_NAME = 253
# A longer one has no ASCII form of that length; to work out that form takes time in the square of the length.
_MAX_WRITTEN = 4 * _MAX_NAME


def normal_host(host: str) -> str:
    """The one spelling of a host: lower case, in its ASCII form, without the root's dot or an address's brackets.

    Raises:
        ValueError: it is neither a name nor an address; one with a zone means an interface of whoever connects.
    """
    if len(host) > _MAX_WRITTEN or "%" in host:
        raise ValueError("not a host")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError("only IPv6 addresses are written in brackets")
    if (address := literal(host)) is not None:
        return str(address)
    name = host.removesuffix(".")
    if not name.isascii():
        name = name.encode("idna").decode("ascii")
    name = name.lower()
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise ValueError("not a host name")
    return name


def authority(host: str, port: int) -> str:
    """Host and port as they are written together in URLs and settings."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback_name(host: str) -> bool:
    """Whether the name means the computer that asks, by RFC 6761, whatever a resolver says."""
    return host == "localhost" or host.endswith(".localhost")


def parse_port(text: str) -> int:
    """Raises `ValueError` for what is not 1 to 65535 in plain digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise ValueError("not a port")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePattern:
    """`name` alone, everything below it (``*.example.com``), or both (``.example.com``)."""

    name: str
    itself: bool
    below: bool

    @classmethod
    def parse(cls, text: str) -> NamePattern:
        """Raises `ValueError` for what is no name, an address among them."""
        name = text.removeprefix("*").removeprefix(".")
        below = name != text
        if text.startswith("*") and not text.startswith("*."):
            raise ValueError("a star stands for whole labels")
        name = normal_host(name)
        # No top-level domain is a number (RFC 3696): this is an address with a part missing.
        if literal(name) is not None or name.rpartition(".")[2].isdigit():
            raise ValueError("an address, not a name")
        return cls(name=name, itself=not text.startswith("*"), below=below)

    def matches(self, host: str) -> bool:
        """`host` as `normal_host` gives it."""
        return (self.itself and host == self.name) or (self.below and host.endswith("." + self.name))
