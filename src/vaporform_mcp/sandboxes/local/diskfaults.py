"""What the host's file system refuses, as errors that name no path of it."""

from __future__ import annotations

import errno
import logging
from collections.abc import Generator
from contextlib import contextmanager

from vaporform_mcp.errors import LimitReached, SandboxUnavailable

__all__ = ["disk_faults"]

log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def disk_faults(what: str) -> Generator[None]:
    """Let an OSError within come out as one of ours. `what` says, as a sentence, what then did not happen.

    Raises:
        LimitReached: the disk is full.
        SandboxUnavailable: anything else.
    """
    try:
        yield
    except OSError as error:
        log.warning("%s: %s", what, error)
        if error.errno in _FULL:
            raise LimitReached(
                f"{what}: no space is left on the disk of this machine",
                hint="Free some space on the disk that VAPORFORM_DATA_DIR is on, and repeat the call.",
            ) from error
        raise SandboxUnavailable(
            f"{what} ({error.strerror})",
            hint="Check that VAPORFORM_DATA_DIR is a folder of yours, on a disk that is not read-only.",
        ) from error
