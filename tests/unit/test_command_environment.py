"""The variables that tools in a sandbox work by, and the certificates that they trust."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from vaporform_mcp.sandboxes.local.certificates import INSIDE, combined, host_bundles
from vaporform_mcp.sandboxes.local.environment import command_environment
from vaporform_mcp.sandboxes.supervised.inside.wire import EGRESS_PORT

ONE = "-----BEGIN CERTIFICATE-----\nMIIBone=\n-----END CERTIFICATE-----\n"
TWO = "-----BEGIN CERTIFICATE-----\nMIIBtwo=\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"


def test_with_a_way_out_every_tools_variables_name_the_proxy() -> None:
    found = command_environment(proxy_port=EGRESS_PORT, certificates=None)
    proxy = f"http://127.0.0.1:{EGRESS_PORT}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        assert found[name] == found[name.lower()] == proxy
    assert found["NODE_USE_ENV_PROXY"] == "1"
    assert {"localhost", "127.0.0.1", "::1"} <= set(found["NO_PROXY"].split(","))
    assert found["NO_PROXY"] == found["no_proxy"]


def test_without_a_way_out_nothing_names_a_proxy() -> None:
    found = command_environment(proxy_port=None, certificates=None)
    assert [name for name in found if "proxy" in name.lower()] == []
    assert str(EGRESS_PORT) not in " ".join(found.values())


def test_a_certificate_bundle_is_named_to_every_tool() -> None:
    found = command_environment(proxy_port=EGRESS_PORT, certificates=INSIDE)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "GIT_SSL_CAINFO"):
        assert found[name] == INSIDE
    assert INSIDE not in command_environment(proxy_port=EGRESS_PORT, certificates=None).values()


def test_nothing_changes_what_a_projects_own_tools_do() -> None:
    assert not {"CI", "NODE_ENV", "NO_COLOR", "FORCE_COLOR", "JAVA_TOOL_OPTIONS"} & set(
        command_environment(proxy_port=EGRESS_PORT, certificates=None)
    )


def test_nobody_is_asked_a_question() -> None:
    found = command_environment(proxy_port=None, certificates=None)
    assert (found["GIT_TERMINAL_PROMPT"], found["PIP_NO_INPUT"], found["COREPACK_ENABLE_DOWNLOAD_PROMPT"]) == (
        "0",
        "1",
        "0",
    )


def test_the_computers_own_certificates_are_found_once_each(tmp_path: Path) -> None:
    bundle, link = tmp_path / "ca.pem", tmp_path / "link.pem"
    bundle.write_text(ONE)
    link.symlink_to(bundle)
    environ = {"SSL_CERT_FILE": str(bundle), "PIP_CERT": str(link), "NODE_EXTRA_CA_CERTS": str(bundle)}
    assert host_bundles(environ).count(bundle) == 1


def test_what_is_no_certificate_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "key.pem").write_text(KEY)
    with (tmp_path / "huge.pem").open("w") as huge:
        huge.write(ONE)
        huge.truncate(5 * 1024 * 1024)
    os.mkfifo(tmp_path / "pipe.pem")
    for name in ("empty.pem", "key.pem", "huge.pem", "pipe.pem", "missing.pem", "", "../x.pem", "nul\0.pem"):
        assert host_bundles({"SSL_CERT_FILE": str(tmp_path / name)}) == []
    assert host_bundles({"SSL_CERT_FILE": "relative.pem"}) == []
    assert host_bundles({}) == []
    assert stat.S_ISFIFO((tmp_path / "pipe.pem").stat().st_mode)


def test_a_combined_bundle_holds_each_certificate_once_and_no_key(tmp_path: Path) -> None:
    first, second = tmp_path / "1.pem", tmp_path / "2.pem"
    first.write_text("# a comment\n" + ONE + KEY)
    second.write_bytes((TWO + ONE).replace("\n", "\r\n").encode())
    assert combined([first, second]) == (ONE + TWO).encode()
