"""Heads of HTTP/1.1 messages, parsed so strictly that no two readers can understand them differently (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from vaporform_mcp.sandboxes.local.hosts import authority, normal_host, parse_port

__all__ = [
    "Destination",
    "Framing",
    "Headers",
    "Rejected",
    "RequestHead",
    "ResponseHead",
    "end_to_end",
    "parse_request",
    "parse_response",
    "render",
]

Headers = tuple[tuple[str, str], ...]
"""In order, as spelt; Latin-1 stands for bytes."""

Framing = int | Literal["chunked", "until-close"]
"""How a body ends: after so many bytes, with its last chunk, or with its connection."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # the grammar's word
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~\x80-\xff]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_FIELD = re.compile(rf"({_TOKEN}):[\t ]*([\t -~\x80-\xff]*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(/[^#]*|\?[^#]*)?")
_MAX_FIELDS = 512

_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
        *("te", "trailer", "transfer-encoding", "upgrade", "http2-settings"),
    }
)
_SET_ANEW = frozenset({"host", "content-length"})


class Rejected(Exception):
    """A message that is not passed on. Answered with `status` and the text, which is one line for a model."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """`host` as `normal_host` gives it. `path` is empty for a tunnel."""

    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """As in a URL of http, whose own port is left out."""
        return (
            authority(self.host, self.port).removesuffix(":80") if self.port == 80 else authority(self.host, self.port)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    method: str
    target: str
    minor: int
    headers: Headers
    length: int | None
    framing: Framing

    @property
    def upgrade(self) -> str:
        """The protocol that it asks to go on with, lower case; empty for none."""
        if self.minor == 0 or "upgrade" not in _listed(self.headers, "connection"):
            return ""
        return ",".join(_listed(self.headers, "upgrade"))

    def tunnel(self) -> Destination:
        """Where CONNECT leads to."""
        host, colon, port = self.target.rpartition(":")
        if not colon:
            raise Rejected(HTTPStatus.BAD_REQUEST, "CONNECT needs a host and a port, such as example.com:443.")
        return Destination(host=_host(host), port=_port(port))

    def absolute(self) -> Destination:
        """Where a request in absolute form leads to."""
        if self.target.startswith("/") or self.target == "*":
            raise Rejected(
                HTTPStatus.BAD_REQUEST,
                "This is the sandbox's way out, an HTTP proxy: send it http:// URLs in absolute form, or CONNECT.",
            )
        match = _ABSOLUTE.fullmatch(self.target)
        if match is None:
            raise Rejected(HTTPStatus.BAD_REQUEST, "The request's URL is malformed.")
        scheme, where, path = match.group(1).lower(), match.group(2), match.group(3) or ""
        if scheme != "http":
            raise Rejected(HTTPStatus.NOT_IMPLEMENTED, f"The proxy takes {scheme[:20]}:// URLs only through CONNECT.")
        host, port = _split_authority(where)
        if path.startswith("?") or not path:
            path = "*" if self.method == "OPTIONS" and not path else f"/{path}"
        return Destination(host=host, port=port, path=path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHead:
    """`length` is the Content-Length, which an answer without a body may have too."""

    status: int
    reason: str
    headers: Headers
    length: int | None
    framing: Framing


def parse_request(head: bytes) -> RequestHead:
    """Of a head without the empty line that ends it. Raises `Rejected`."""
    first, headers = _split(head, HTTPStatus.BAD_REQUEST)
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise Rejected(HTTPStatus.BAD_REQUEST, "The request line is malformed.")
    if line.group(1) == "TRACE":
        # Whoever answers it sends back what came, with what was added on the way: the credentials of another proxy.
        raise Rejected(HTTPStatus.METHOD_NOT_ALLOWED, "The proxy does not pass TRACE on.")
    if len(_values(headers, "host")) > 1:
        raise Rejected(HTTPStatus.BAD_REQUEST, "The request has more than one Host header.")
    length, coding = _framing(headers, HTTPStatus.BAD_REQUEST)
    if coding and (length is not None or line.group(3) == "0"):
        raise Rejected(HTTPStatus.BAD_REQUEST, "The request's length is given in two ways, or in one it cannot have.")
    if coding not in {"", "chunked"}:
        raise Rejected(HTTPStatus.NOT_IMPLEMENTED, "The proxy knows no transfer coding but chunked.")
    return RequestHead(
        method=line.group(1),
        target=line.group(2),
        minor=int(line.group(3)),
        headers=headers,
        length=length,
        framing="chunked" if coding else length or 0,
    )


def parse_response(head: bytes, *, method: str) -> ResponseHead:
    """Of a head without the empty line that ends it, in answer to `method`. Raises `Rejected`."""
    first, headers = _split(head, HTTPStatus.BAD_GATEWAY)
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        raise Rejected(HTTPStatus.BAD_GATEWAY, "The server's answer is not HTTP/1.1.")
    status = int(line.group(2))
    length, coding = _framing(headers, HTTPStatus.BAD_GATEWAY)
    framing: Framing
    if method == "HEAD" or status < 200 or status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        framing = 0
    elif coding:
        if coding != "chunked":
            raise Rejected(HTTPStatus.BAD_GATEWAY, "The server's answer has a transfer coding that was not asked for.")
        # The length beside it is not passed on: it must not be believed (RFC 9112, 6.3).
        framing, length = "chunked", None
    else:
        framing = "until-close" if length is None else length
    return ResponseHead(status=status, reason=line.group(3) or "", headers=headers, length=length, framing=framing)


def end_to_end(headers: Headers) -> list[tuple[str, str]]:
    """The headers that are meant for the far end: without those for one connection only, Host and Content-Length."""
    dropped = _HOP_BY_HOP | _SET_ANEW | set(_listed(headers, "connection"))
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def render(first: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A whole head, with the empty line that ends it."""
    lines = [first, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _split(head: bytes, status: HTTPStatus) -> tuple[str, Headers]:
    first, *rest = head.decode("latin-1").split("\r\n")
    if len(rest) > _MAX_FIELDS:
        raise Rejected(status, f"The head has more than {_MAX_FIELDS} fields.")
    headers: list[tuple[str, str]] = []
    for line in rest:
        # Neither a bare CR, LF or NUL nor a continuation line gets through this.
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Rejected(status, "A header line is malformed.")
        headers.append((field.group(1), field.group(2).rstrip("\t ")))
    return first, tuple(headers)


def _framing(headers: Headers, status: HTTPStatus) -> tuple[int | None, str]:
    """What Content-Length and Transfer-Encoding say."""
    lengths = _values(headers, "content-length")
    if len(set(lengths)) > 1 or any(not _LENGTH.fullmatch(each) for each in lengths):
        raise Rejected(status, "The Content-Length is malformed.")
    return int(lengths[0]) if lengths else None, ",".join(_listed(headers, "transfer-encoding"))


def _values(headers: Headers, name: str) -> list[str]:
    return [value for each, value in headers if each.lower() == name]


def _listed(headers: Headers, name: str) -> list[str]:
    words = ",".join(_values(headers, name)).lower().split(",")
    return [word for each in words if (word := each.strip("\t "))]


def _split_authority(text: str) -> tuple[str, int]:
    if "@" in text:
        raise Rejected(HTTPStatus.BAD_REQUEST, "Send credentials in an Authorization header, not in the URL.")
    if text.endswith("]"):
        return _host(text), 80
    host, colon, port = text.rpartition(":")
    if not colon:
        return _host(text), 80
    return _host(host), _port(port) if port else 80


def _host(text: str) -> str:
    try:
        # A literal IPv6 address without brackets could be split at the wrong colon.
        return normal_host("" if ":" in text and not text.startswith("[") else text)
    except ValueError:
        raise Rejected(HTTPStatus.BAD_REQUEST, "The request's host is neither a name nor an address.") from None


def _port(text: str) -> int:
    try:
        return parse_port(text)
    except ValueError:
        raise Rejected(HTTPStatus.BAD_REQUEST, "The request's port is not 1 to 65535.") from None
