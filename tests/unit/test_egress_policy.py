"""What commands in a sandbox may connect to, decided on resolved addresses."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.sandboxes.local import interfaces
from vaporform_mcp.sandboxes.local.addresses import IPAddress
from vaporform_mcp.sandboxes.local.policy import ALLOW, PRIVATE, EgressPolicy, Refusal, parse


def policy(*private: str, allow: tuple[str, ...] = (), own: frozenset[str] = frozenset()) -> EgressPolicy:
    """With no address of this computer's own but those given, so that a test means the same everywhere."""

    def is_own(address: IPAddress) -> bool:
        return str(address) in own

    return replace(parse(allow, private), is_own=is_own)


def decided(by: EgressPolicy, host: str, port: int = 443, address: str = "") -> Refusal | None:
    return by.decide(host, port, ip_address(address or host))


PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.18.0.1",
    "203.0.113.80",
    "223.255.255.255",
    "2606:4700::1111",
    "2001:db8::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::808:808",
    "2002:808:808::1",
]

REFUSED = {
    "0.0.0.0": "unspecified",  # noqa: S104  # not bound to
    "0.1.2.3": "unspecified",
    "10.0.0.0": "private",
    "10.255.255.255": "private",
    "100.64.0.0": "private",
    "100.127.255.255": "private",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "169.254.1.1": "link-local",
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "192.0.0.192": "metadata",
    "172.16.0.0": "private",
    "172.31.255.255": "private",
    "192.168.0.0": "private",
    "192.168.255.255": "private",
    "192.0.0.8": "reserved",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::5": "unspecified",
    "fe80::1": "link-local",
    "febf::1": "link-local",
    "fec0::1": "private",
    "fc00::1": "private",
    "fdff::1": "private",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "ff02::1": "multicast",
    "100::1": "reserved",
    # IPv4 inside IPv6: mapped, compatible, translated, 6to4, Teredo (server, client), NAT64.
    "::ffff:127.0.0.1": "loopback",
    "::ffff:169.254.169.254": "metadata",
    "::10.0.0.1": "private",
    "::ffff:0:10.0.0.1": "private",
    "2002:7f00:1::": "loopback",
    "2002:a00:1::5": "private",
    "2001:0:a00:1::ffff:ffff": "private",
    "2001:0:808:808::f5ff:fffe": "private",
    "64:ff9b::10.0.0.1": "private",
    "64:ff9b::169.254.169.254": "metadata",
    "64:ff9b:1:a00:0:100::": "private",
    "64:ff9b:1:a:0:1::": "private",
    "64:ff9b:1:0:a:0:100::": "private",
    "64:ff9b:1::a00:1": "private",
    "64:ff9b:1::": "unspecified",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted_on_every_port(address: str) -> None:
    assert [decided(policy(), "example.com", port, address) for port in (1, 22, 80, 443, 65535)] == [None] * 5


@pytest.mark.parametrize(("address", "reason"), REFUSED.items())
def test_an_address_that_is_not_public_is_refused_with_its_kind(address: str, reason: str) -> None:
    refusal = decided(policy(), "example.com", 443, address)
    assert refusal is not None
    assert (refusal.setting, reason in refusal.reason) == (PRIVATE, True)


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_ipv4_address_is_judged_alike_in_every_disguise(address: IPv4Address) -> None:
    number = int(address)
    disguises = [
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x64_FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | (number << 80) | 1),
    ]
    bare = policy().decide("example.com", 443, address)
    assert [policy().decide("example.com", 443, each) for each in disguises] == [bare] * 3


def test_an_address_of_this_computer_is_refused_also_in_disguise() -> None:
    home = policy(own=frozenset({"203.0.113.9", "2001:db8::9"}))
    for address in ("203.0.113.9", "2001:db8::9", "::ffff:203.0.113.9"):
        refusal = decided(home, "example.com", 443, address)
        assert refusal is not None
        assert "computer that runs the server" in refusal.reason
    assert decided(home, "example.com", 443, "203.0.113.10") is None


def test_this_computers_own_addresses_are_seen_as_they_are_now() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            pytest.skip("no network but the loopback")
        mine = ip_address(probe.getsockname()[0])
    assert interfaces.is_own(mine)
    assert interfaces.is_own(ip_address("127.0.0.1"))
    assert not interfaces.is_own(ip_address("203.0.113.1"))
    assert parse([], []).decide("example.com", 443, mine) is not None


def test_a_refusal_names_host_reason_and_what_to_add_to_which_setting() -> None:
    assert str(decided(policy(), "db.corp", 5432, "10.1.2.3")) == (
        "vaporform does not let the sandbox connect to db.corp:5432: its name resolves to a private address. "
        "The person who runs the server can permit it by adding db.corp:5432 to VAPORFORM_LOCAL__EGRESS_PRIVATE."
    )
    assert "adding [fd00::1]:80 to" in str(decided(policy(), "fd00::1", 80))


def test_a_refusal_of_a_name_does_not_tell_what_it_resolves_to() -> None:
    assert "10.1.2.3" not in str(decided(policy(), "db.corp", 5432, "10.1.2.3"))


@pytest.mark.parametrize(
    ("entry", "host", "port", "address"),
    [
        ("10.0.0.0/8", "db.corp", 5432, "10.1.2.3"),
        ("10.0.0.0/8:5432", "db.corp", 5432, "10.1.2.3"),
        ("10.1.2.3", "10.1.2.3", 80, "10.1.2.3"),
        ("10.1.2.3:80", "10.1.2.3", 80, "::ffff:10.1.2.3"),
        ("db.corp", "db.corp", 1, "10.1.2.3"),
        ("DB.Corp.:5432", "db.corp", 5432, "192.168.1.1"),
        ("*.corp", "db.corp", 5432, "10.1.2.3"),
        (".corp", "corp", 5432, "fd00::1"),
        ("localhost:5432", "localhost", 5432, "127.0.0.1"),
        ("127.0.0.1:8000", "127.0.0.1", 8000, "127.0.0.1"),
        ("fd00::1", "fd00::1", 443, "fd00::1"),
        ("[fd00::1]:443", "fd00::1", 443, "fd00::1"),
        ("[fd00::/8]:443", "db.corp", 443, "fd00::1"),
        ("fd00::/8", "db.corp", 443, "fd00::1"),
        ("169.254.169.254", "169.254.169.254", 80, "169.254.169.254"),
        ("bücher.corp", "xn--bcher-kva.corp", 443, "10.0.0.1"),
    ],
)
def test_a_listed_private_host_is_reached(entry: str, host: str, port: int, address: str) -> None:
    assert decided(policy(entry), host, port, address) is None


@pytest.mark.parametrize(
    ("entry", "host", "port", "address"),
    [
        ("10.0.0.0/8:5432", "db.corp", 5433, "10.1.2.3"),
        ("10.0.0.0/8", "db.corp", 5432, "192.168.1.1"),
        ("db.corp:5432", "db.corp", 80, "10.1.2.3"),
        ("db.corp", "other.corp", 80, "10.1.2.3"),
        ("db.corp", "db.corp.evil.com", 80, "10.1.2.3"),
        ("*.corp", "corp", 80, "10.1.2.3"),
        (".corp", "evilcorp", 80, "10.1.2.3"),
        # A resolver that answers for a listed name does not open what no service lies at.
        ("db.corp", "db.corp", 80, "169.254.169.254"),
        ("db.corp", "db.corp", 80, "0.0.0.0"),  # noqa: S104  # not bound to
        ("127.0.0.2", "localhost", 80, "127.0.0.1"),
    ],
)
def test_what_is_not_listed_stays_refused(entry: str, host: str, port: int, address: str) -> None:
    assert decided(policy(entry), host, port, address) is not None


def test_a_name_listed_but_answered_with_metadata_is_to_be_listed_by_address() -> None:
    assert "adding its address to" in str(decided(policy("db.corp"), "db.corp", 80, "169.254.169.254"))


def test_with_domains_allowed_only_they_are_looked_up_and_reached() -> None:
    only = policy("10.0.0.0/8", "db.corp:5432", allow=("Packages.example.org", "*.example.com", ".mirror.example.net"))
    for host in (
        "packages.example.org",
        "a.example.com",
        "a.b.example.com",
        "mirror.example.net",
        "files.mirror.example.net",
    ):
        assert only.decide_name(host, 443) is None
        assert decided(only, host, 443, "8.8.8.8") is None
    for host in (
        "example.com",
        "evilpackages.example.org",
        "packages.example.org.evil.com",
        "sub.packages.example.org",
        "8.8.8.8",
    ):
        assert only.decide_name(host, 443) is not None
    assert only.decide_name("db.corp", 5432) is None
    assert only.decide_name("db.corp", 5433) is not None
    assert only.decide_name("10.0.0.9", 1) is None


def test_a_domain_that_is_not_allowed_is_refused_by_that_setting() -> None:
    only = policy(allow=("packages.example.org",))
    refusal = only.decide_name("example.com", 443)
    assert refusal is not None
    assert str(refusal).endswith(f"by adding example.com to {ALLOW}.")
    literal = only.decide_name("8.8.8.8", 443)
    assert literal is not None
    assert str(literal).endswith(f"by adding 8.8.8.8:443 to {PRIVATE}.")


def test_an_allowed_domain_may_not_resolve_to_a_private_address() -> None:
    refusal = decided(policy(allow=("packages.example.org",)), "packages.example.org", 443, "10.0.0.1")
    assert refusal is not None
    assert refusal.setting == PRIVATE


@pytest.mark.parametrize(
    "entry",
    [
        *(
            "",
            " ",
            "*",
            "*.",
            ".",
            "https://packages.example.org",
            "packages.example.org/simple",
            "packages.example.org:443",
            "a b",
            "10.0.0.1",
        ),
        *(
            "10.0.0.0/8",
            "exa*mple.com",
            "*example.com",
            "-a.com",
            "a..b",
            "::1",
            "[::1]",
            "1.2.3",
            "user@packages.example.org",
        ),
        "a" * 64 + ".com",
    ],
)
def test_what_is_not_a_domain_is_refused_by_the_settings_name(entry: str) -> None:
    with pytest.raises(InvalidArgument, match=ALLOW) as caught:
        parse([entry], [])
    assert "packages.example.org" in caught.value.hint


@pytest.mark.parametrize(
    "entry",
    [
        *("", ":80", "db.corp:", "db.corp:0", "db.corp:65536", "db.corp:http", "db.corp:-1", "http://db.corp"),
        *("10.0.0.1/8", "10.0.0.0/33", "10.0.0", "10.0.0.256", "[::1", "[::1]80", "[10.0.0.1]:80", "[db.corp]:80"),
        *("fd00::1/8", "db.corp:٣", "fd00::g", "db.corp/x", "*"),
    ],
)
def test_what_is_not_a_private_host_is_refused_by_the_settings_name(entry: str) -> None:
    with pytest.raises(InvalidArgument, match=PRIVATE) as caught:
        parse([], [entry])
    assert "db.corp:5432" in caught.value.hint


@given(st.text(max_size=40))
def test_any_text_is_either_understood_or_refused(text: str) -> None:
    for allow, private in (([text], []), ([], [text])):
        with suppress(InvalidArgument):
            parse(allow, private)
