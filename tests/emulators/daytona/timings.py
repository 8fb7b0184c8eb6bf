"""How long a sandbox stays in each state that it only passes through."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["QUICK", "REAL"]

# As seen of the service by those who measured it: created in 1.2 to 1.7 s, started in 0.7 to 0.8 s, brought back from
# the archive in 33 to 66 s. What nobody has measured is a guess and marked so.
REAL: Mapping[str, float] = {
    "pending_build": 2.0,  # a guess
    "building_snapshot": 60.0,  # a guess; minutes for an image that is used for the first time
    "pulling_snapshot": 0.4,  # a guess
    "creating": 1.0,
    "starting": 0.7,
    "stopping": 1.0,  # a guess
    "pausing": 1.0,  # a guess
    "resuming": 0.5,  # a guess
    "archiving": 20.0,  # a guess
    "restoring": 45.0,
    "snapshotting": 5.0,  # a guess
    "forking": 5.0,  # a guess
    "resizing": 1.0,  # a guess
    "destroying": 1.0,  # a guess
}

QUICK: Mapping[str, float] = {
    "pending_build": 0.02,
    "building_snapshot": 0.05,
    "pulling_snapshot": 0.01,
    "creating": 0.02,
    "starting": 0.02,
    "stopping": 0.02,
    "pausing": 0.02,
    "resuming": 0.02,
    "archiving": 0.05,
    "restoring": 0.1,
    "snapshotting": 0.05,
    "forking": 0.05,
    "resizing": 0.02,
    "destroying": 0.02,
}
