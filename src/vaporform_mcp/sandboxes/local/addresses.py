"""What kind of place an IP address is, read off the address alone."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

__all__ = ["IPAddress", "IPNetwork", "Kind", "kind_of", "literal", "meant"]

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network


class Kind(StrEnum):
    """The value completes the sentence "it is …"."""

    PUBLIC = "a public address"
    LOOPBACK = "the loopback of the computer that runs the server"
    OWN = "an address of the computer that runs the server"
    PRIVATE = "a private address"
    LINK_LOCAL = "a link-local address"
    METADATA = "a cloud's metadata service"
    UNSPECIFIED = "the unspecified address"
    MULTICAST = "a multicast address"
    BROADCAST = "a broadcast address"
    RESERVED = "a reserved address"


# The first that matches counts. A list of what is refused, not `is_global`: the networks that are reserved for
# documentation and benchmarks are in real use behind some package mirrors and virtual network devices.
_KINDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    (
        Kind.METADATA,
        # Most clouds; Alibaba; Oracle; Azure's host agent; Amazon's containers; by IPv6 Amazon's two, Google.
        (
            *("169.254.169.254/32", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32", "169.254.170.2/32"),
            *("fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128"),
        ),
    ),
    (Kind.UNSPECIFIED, ("0.0.0.0/8", "::/128")),
    (Kind.LOOPBACK, ("127.0.0.0/8", "::1/128")),
    (Kind.LINK_LOCAL, ("169.254.0.0/16", "fe80::/10")),
    (
        Kind.PRIVATE,
        ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    ),
    (Kind.MULTICAST, ("224.0.0.0/4", "ff00::/8")),
    (Kind.BROADCAST, ("255.255.255.255/32",)),
    (Kind.RESERVED, ("192.0.0.0/24", "240.0.0.0/4", "100::/64")),
)
_NETWORKS = tuple((kind, tuple(ip_network(each) for each in networks)) for kind, networks in _KINDS)

_TEREDO = IPv6Network("2001::/32")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_LAST_32_BITS = tuple(
    # Compatible, mapped, translated (RFC 2765) and the well-known prefix of NAT64 (RFC 6052).
    IPv6Network(each)
    for each in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
# Where RFC 6052, 2.2 puts the four octets for prefixes of 48, 56, 64 and 96 bits.
_NAT64_OCTETS = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))


def literal(host: str) -> IPAddress | None:
    """The address that `host` is, without brackets; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def kind_of(address: IPAddress) -> Kind:
    """Of one address taken as it is; for IPv4 inside IPv6 ask about each that is `meant`."""
    for kind, networks in _NETWORKS:
        if any(address in network for network in networks):
            return kind
    return Kind.PUBLIC


def meant(address: IPAddress) -> tuple[IPAddress, ...]:
    """The addresses that a packet to this one may reach: the IPv4 addresses embedded in it, otherwise itself.

    Several for Teredo (the server and the client) and for a network's own NAT64 prefix, whose length cannot be seen.
    """
    if isinstance(address, IPv4Address):
        return (address,)
    packed = address.packed
    # Without its zone, which would keep it from being equal to itself.
    plain = IPv6Address(packed)
    if plain.is_unspecified or plain.is_loopback:
        return (plain,)
    if any(plain in network for network in _LAST_32_BITS):
        return (IPv4Address(packed[12:]),)
    if plain in _SIX_TO_FOUR:
        return (IPv4Address(packed[2:6]),)
    if plain in _TEREDO:
        return (IPv4Address(packed[4:8]), IPv4Address(bytes(octet ^ 0xFF for octet in packed[12:])))
    if plain in _LOCAL_NAT64:
        found = {IPv4Address(bytes(packed[at] for at in octets)) for octets in _NAT64_OCTETS}
        # A layout that is not the one in use mostly reads zeros.
        used = tuple(sorted(each for each in found if each.packed[0] != 0))
        return used or (IPv4Address(0),)
    return (plain,)
