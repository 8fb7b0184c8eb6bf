"""Becoming a user without any privilege, for good."""

from __future__ import annotations

import os

from .libc import prctl

__all__ = ["become", "forbid_new_privileges"]

_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_MAX_CAPABILITIES = 64


def become(uid: int) -> None:
    """From root become the user and the group of that number, in no other group and with no capability.

    Raises:
        OSError: this root may not.
        PermissionError: something of root was left.
    """
    for capability in range(_MAX_CAPABILITIES):
        try:
            prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            break  # the first that the kernel does not know
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    with open("/proc/self/status", "rb") as status:
        kept = [line for line in status.read().splitlines() if line.startswith((b"CapPrm:", b"CapEff:", b"CapBnd:"))]
    if os.getresuid() != (uid, uid, uid) or os.getgroups() or any(int(line.split()[1], 16) for line in kept):
        raise PermissionError(0, "privileges of root are left")


def forbid_new_privileges() -> None:
    """Setuid programs gain nothing from now on; without this no filter may be installed either."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
