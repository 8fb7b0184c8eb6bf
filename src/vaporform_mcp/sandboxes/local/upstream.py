"""The proxy that the computer itself has to use, as its own environment names it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from urllib.parse import SplitResult, unquote, urlsplit

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.sandboxes.local.addresses import IPAddress, IPNetwork, literal
from vaporform_mcp.sandboxes.local.hosts import NamePattern, is_loopback_name, normal_host, parse_port

__all__ = ["Bypass", "ProxyServer", "UpstreamProxy", "parse"]

_DEFAULT_PORT = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyServer:
    """An HTTP proxy. `authorization` is the value of its Proxy-Authorization header: a secret."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """What is reached without the proxy: exactly one of `name`, `network`; `port` None: on any port."""

    name: NamePattern | None = None
    network: IPNetwork | None = None
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        if self.port not in {None, port}:
            return False
        address: IPAddress | None = literal(host)
        if address is not None:
            return self.network is not None and address in self.network
        return self.name is not None and self.name.matches(host)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamProxy:
    """`plain` serves http:// requests, `secure` tunnels; None: that goes out directly."""

    plain: ProxyServer | None
    secure: ProxyServer | None
    bypass: tuple[Bypass, ...] = ()

    def route(self, host: str, port: int, *, secure: bool) -> ProxyServer | None:
        """The proxy to reach the host by, None for none. `host` as `normal_host` gives it."""
        if is_loopback_name(host) or any(each.covers(host, port) for each in self.bypass):
            return None
        return self.secure if secure else self.plain


def parse(environ: Mapping[str, str]) -> UpstreamProxy | None:
    """From HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, of which the lower case spelling wins; None without any.

    Raises:
        InvalidArgument: a proxy's address is not `http://[user:password@]host[:port]`. It names the variable, never
            the value.
    """
    bypass, everything = _bypass(_value(environ, "no_proxy"))
    if everything:
        return None
    plain = _server(environ, "http_proxy", "all_proxy")
    secure = _server(environ, "https_proxy", "all_proxy")
    if plain is None and secure is None:
        return None
    return UpstreamProxy(plain=plain, secure=secure, bypass=bypass)


def _value(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _server(environ: Mapping[str, str], *names: str) -> ProxyServer | None:
    for name in names:
        if value := _value(environ, name):
            try:
                return _parse_server(value)
            except ValueError:
                raise InvalidArgument(
                    f"{name.upper()} names a proxy that cannot be used",
                    hint="Write it as http://host:port or http://user:password@host:port; "
                    "proxies that speak SOCKS or TLS are not supported.",
                ) from None
    return None


def _parse_server(value: str) -> ProxyServer:
    url: SplitResult = urlsplit(value if "://" in value else f"http://{value}")
    if url.scheme != "http" or not url.hostname:
        raise ValueError("not an HTTP proxy")
    authorization = None
    if url.username is not None:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        authorization = "Basic " + b64encode(pair.encode()).decode("ascii")
    return ProxyServer(host=normal_host(url.hostname), port=url.port or _DEFAULT_PORT, authorization=authorization)


def _bypass(value: str) -> tuple[tuple[Bypass, ...], bool]:
    """The entries of NO_PROXY, and whether it names everything. Entries that nobody understands are passed over."""
    found: list[Bypass] = []
    for entry in value.replace(",", " ").split():
        if entry == "*":
            return (), True
        try:
            found.append(_parse_bypass(entry))
        except ValueError:
            continue
    return tuple(found), False


def _parse_bypass(entry: str) -> Bypass:
    bare = entry.removeprefix("[").removesuffix("]")
    if "/" in bare or literal(bare) is not None:
        return Bypass(network=ip_network(bare, strict=False))
    host, colon, text = entry.rpartition(":")
    port = parse_port(text) if colon else None
    host = host if colon else entry
    if (address := literal(host.removeprefix("[").removesuffix("]"))) is not None:
        return Bypass(network=ip_network(address), port=port)
    # Here a domain always stands for what is below it too.
    name = NamePattern.parse(host.removeprefix("*").removeprefix("."))
    return Bypass(name=NamePattern(name=name.name, itself=True, below=True), port=port)
