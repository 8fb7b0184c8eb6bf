"""Which private services appear on which ports inside a sandbox."""

from __future__ import annotations

from vaporform_mcp.sandboxes.local.forwarding import Forward, forwards
from vaporform_mcp.sandboxes.local.policy import parse
from vaporform_mcp.sandboxes.supervised.inside.wire import EGRESS_PORT


def test_a_private_host_with_a_port_that_is_not_http_has_a_forward() -> None:
    assert forwards(parse([], ["db.corp:5432", "10.0.0.5:6379", "[fd00::5]:27017"])) == [
        Forward(port=5432, host="db.corp", target_port=5432),
        Forward(port=6379, host="10.0.0.5", target_port=6379),
        Forward(port=27017, host="fd00::5", target_port=27017),
    ]


def test_what_is_no_single_host_names_no_port_or_speaks_http_has_none() -> None:
    private = [
        "10.0.0.0/8:5432",
        "*.corp:5432",
        ".corp:5432",
        "db.corp",
        "10.0.0.5",
        "registry.corp:443",
        "app.corp:8080",
    ]
    assert forwards(parse([], private)) == []


def test_a_port_that_is_privileged_or_taken_is_moved_up_by_ten_thousands() -> None:
    found = forwards(parse([], ["a.corp:5432", "b.corp:5432", "c.corp:5432", "ldap.corp:389", f"x.corp:{EGRESS_PORT}"]))
    assert [each.port for each in found] == [5432, 15432, 25432, 10389, EGRESS_PORT + 10_000]


def test_a_host_listed_twice_has_one_forward() -> None:
    assert len(forwards(parse([], ["db.corp:5432", "DB.corp:5432"]))) == 1


def test_a_port_for_which_no_other_is_left_is_left_out() -> None:
    assert len(forwards(parse([], ["a.corp:60000", "b.corp:60000"]))) == 1


def test_a_forward_says_where_it_leads() -> None:
    (forward,) = forwards(parse([], ["db.corp:5432"]))
    assert str(forward) == "127.0.0.1:5432 leads to db.corp:5432"
