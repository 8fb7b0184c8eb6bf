"""Which credential, if any, a repository is cloned with."""

from __future__ import annotations

import pytest

from vaporform_mcp.credentials import Credentials, parse_credential


@pytest.mark.parametrize(
    ("url", "username"),
    [
        ("https://host.example/any/where.git", "all"),
        ("https://HOST.example:443/any/where.git", "all"),
        ("https://host.example/team/app.git", "team"),
        ("https://host.example/team", "team"),
        ("https://host.example/teams/app.git", "all"),
        ("http://host.example/any/where.git", None),
        ("https://host.example:8443/any/where.git", None),
        ("https://sub.host.example/any/where.git", None),
        ("https://host.example.evil.example/any/where.git", None),
        ("http://plain.example:8080/a.git", "plain"),
    ],
)
def test_it_is_the_one_that_says_most_of_that_very_host_port_and_scheme(url: str, username: str | None) -> None:
    lines = ["https://all:x@host.example", "https://team:x@host.example/team/", "http://plain:x@plain.example:8080"]
    found = Credentials(map(parse_credential, lines)).of(url)
    assert (found.username if found else None) == username


def test_what_is_special_in_it_is_written_as_in_gits_own_file() -> None:
    found = parse_credential("https://a%40b:c%2Cd%3A@host.example")
    assert (found.username, found.password) == ("a@b", "c,d:")
    assert "c,d" not in repr(found)


@pytest.mark.parametrize(
    "line",
    [
        "s3cret",
        "s3cret@host.example",
        "https://s3cret@host.example",
        "https://:s3cret@host.example",
        "https://me:s3cret%0Aquit=1@host.example",
        "ssh://me:s3cret@host.example",
        "https://me:s3cret@host.example:port",
        "https://me:s3#cret@host.example",
    ],
)
def test_what_is_none_is_refused_without_being_repeated(line: str) -> None:
    with pytest.raises(ValueError, match=r"^(it|what) ") as told:
        parse_credential(line)
    assert "s3" not in str(told.value)
