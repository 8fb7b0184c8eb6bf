"""What commands in a sandbox may connect to: the settings, and the decision on one resolved address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.sandboxes.local import interfaces
from vaporform_mcp.sandboxes.local.addresses import IPAddress, IPNetwork, Kind, kind_of, literal, meant
from vaporform_mcp.sandboxes.local.hosts import NamePattern, authority, parse_port

__all__ = ["ALLOW", "PRIVATE", "EgressPolicy", "PrivateHost", "Refusal", "parse"]

ALLOW = "VAPORFORM_LOCAL__EGRESS_ALLOW"
PRIVATE = "VAPORFORM_LOCAL__EGRESS_PRIVATE"

# A name that is listed may stand for these. Nobody has a service at the others, but a resolver can be made to answer
# with them: they must be listed as addresses.
_OPENED_BY_NAME = frozenset({Kind.PRIVATE, Kind.LOOPBACK, Kind.OWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a connection is not made, and what a person can add to which setting to permit it."""

    host: str
    port: int
    reason: str
    setting: str
    addition: str

    def __str__(self) -> str:
        return (
            f"vaporform does not let the sandbox connect to {authority(self.host, self.port)}: {self.reason}. "
            f"The person who runs the server can permit it by adding {self.addition} to {self.setting}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateHost:
    """One host or network that is reachable although private; exactly one of `name`, `network`. `port` None: any."""

    name: NamePattern | None = None
    network: IPNetwork | None = None
    port: int | None = None

    @property
    def single_host(self) -> str | None:
        """The one host that this names, if it does not stand for several."""
        if self.name is not None:
            return self.name.name if self.name.itself and not self.name.below else None
        if self.network is not None and self.network.num_addresses == 1:
            return str(self.network.network_address)
        return None

    def names(self, host: str, port: int) -> bool:
        """Whether this lists the host as it is written."""
        if not self._has_port(port):
            return False
        address = literal(host)
        if address is not None:
            return self.network is not None and address in self.network
        return self.name is not None and self.name.matches(host)

    def opens(self, host: str, port: int, address: IPAddress, kind: Kind) -> bool:
        """Whether this makes an address of that kind, which `host` resolved to, reachable."""
        if not self._has_port(port):
            return False
        if self.network is not None:
            return address in self.network
        return self.name is not None and kind in _OPENED_BY_NAME and self.name.matches(host)

    def _has_port(self, port: int) -> bool:
        return self.port is None or self.port == port


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPolicy:
    """`allow` empty: every public host. `private` is reachable beside it. All ports of what is public are allowed.

    `is_own` tells the addresses of this computer itself, at the moment of the decision.
    """

    allow: tuple[NamePattern, ...] = ()
    private: tuple[PrivateHost, ...] = ()
    is_own: Callable[[IPAddress], bool] = field(default=interfaces.is_own, compare=False, repr=False)

    def decide_name(self, host: str, port: int) -> Refusal | None:
        """Whether the host may be looked up at all. A look-up of its own can carry data out.

        `host` is a name or an address as `normal_host` gives it.
        """
        if not self.allow or any(pattern.matches(host) for pattern in self.allow):
            return None
        if any(each.names(host, port) for each in self.private):
            return None
        reason = "it is not among the domains that are allowed"
        if literal(host) is not None:
            return Refusal(host=host, port=port, reason=reason, setting=PRIVATE, addition=authority(host, port))
        return Refusal(host=host, port=port, reason=reason, setting=ALLOW, addition=host)

    def decide(self, host: str, port: int, address: IPAddress) -> Refusal | None:
        """Whether a connection may be made to the very address that `host` is, or has resolved to."""
        if (refusal := self.decide_name(host, port)) is not None:
            return refusal
        if any(each.network is not None and each.opens(host, port, address, Kind.PUBLIC) for each in self.private):
            return None
        for each in meant(address):
            kind = kind_of(each)
            if kind is Kind.PUBLIC and self.is_own(each):
                kind = Kind.OWN
            if kind is Kind.PUBLIC or any(entry.opens(host, port, each, kind) for entry in self.private):
                continue
            return _refuse(host, port, kind)
        return None


def _refuse(host: str, port: int, kind: Kind) -> Refusal:
    if literal(host) is not None:
        reason, addition = f"it is {kind}", authority(host, port)
    else:
        # Without the address: what the computer's own resolver knows is not for the sandbox.
        reason = f"its name resolves to {kind}"
        addition = authority(host, port) if kind in _OPENED_BY_NAME else "its address"
    return Refusal(host=host, port=port, reason=reason, setting=PRIVATE, addition=addition)


def parse(allow: Sequence[str], private: Sequence[str]) -> EgressPolicy:
    """The policy of the two settings.

    `allow`: domains, ``example.com`` (alone), ``*.example.com`` (what is below it) or ``.example.com`` (both).
    `private`: such domains, addresses and networks, each with an optional port: ``db.corp:5432``, ``10.1.0.0/16``,
    ``192.168.1.5:8080``, ``[fd00::5]:443``, ``[fd00::/8]:443``. A listed name may resolve to a private address, to
    the loopback or to an address of this computer; anything else must be listed by its address.

    Raises:
        InvalidArgument: an entry has none of these forms. It names the setting.
    """
    return EgressPolicy(
        allow=tuple(_parse_domain(each) for each in allow), private=tuple(_parse_private(each) for each in private)
    )


def _parse_domain(text: str) -> NamePattern:
    try:
        return NamePattern.parse(text.strip())
    except ValueError:
        raise InvalidArgument(
            f"{ALLOW}: {text[:200]!r} is not a domain",
            hint="Write domains without scheme, port or path, separated by commas, such as "
            f"packages.example.org,*.example.com (addresses belong into {PRIVATE}).",
        ) from None


def _parse_private(text: str) -> PrivateHost:
    try:
        host, port = _split_port(text.strip())
        number = None if port is None else parse_port(port)
        if (network := _parse_network(host)) is not None:
            return PrivateHost(network=network, port=number)
        return PrivateHost(name=NamePattern.parse(host), port=number)
    except ValueError:
        raise InvalidArgument(
            f"{PRIVATE}: {text[:200]!r} is not a host, an address or a network",
            hint="Write hosts without scheme or path, separated by commas, each with a port if only that is meant, "
            "such as db.corp:5432,10.1.0.0/16,[fd00::5]:443.",
        ) from None


def _split_port(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or ":" not in host or (rest and not rest.startswith(":")):
            raise ValueError("brackets hold an IPv6 address, and only a port follows them")
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _parse_network(host: str) -> IPNetwork | None:
    """None for a name. Raises `ValueError` for a network with bits set beside its prefix."""
    if "/" in host or literal(host) is not None:
        return ip_network(host)
    return None
