"""kill -9, again and again, at any moment of what is being done; and what must hold of a store after each."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from tests.e2e.stdio_client import LIMIT_S

__all__ = ["LONG", "LONG_ROUNDS", "Moments", "assert_is_sound", "killed", "rounds"]

LONG = os.environ.get("TEST_LONG", "") not in ("", "0")
LONG_ROUNDS = 200
POLL_S = 0.001

# What is derived must be what it is derived from, however the writers ended. Of a workspace that was deleted, some may
# be left for the next prune.
_DERIVED = {
    "the latest entries": """
        SELECT * FROM (SELECT workspace, path, max(number), kind, mode, size, digest, mime_type FROM changes
            WHERE workspace IN (SELECT key FROM workspaces) GROUP BY workspace, path)
        EXCEPT SELECT workspace, path, number, kind, mode, size, digest, mime_type FROM latest
    """,
    "no others": """
        SELECT workspace, path, number FROM latest WHERE workspace IN (SELECT key FROM workspaces)
        EXCEPT SELECT workspace, path, number FROM changes
    """,
    "the heads": """
        SELECT workspace, number, files, size_bytes FROM heads EXCEPT
        SELECT key, (SELECT ifnull(max(number), 0) FROM revisions WHERE workspace = key),
            (SELECT count(kind) FROM latest WHERE workspace = key),
            (SELECT total(size) FROM latest WHERE workspace = key) FROM workspaces
    """,
    "the uses": """
        SELECT digest, uses FROM blobs WHERE digest IS NOT NULL EXCEPT
        SELECT blobs.digest, ifnull(times, 0) FROM blobs
            LEFT JOIN (SELECT digest, count(*) AS times FROM changes GROUP BY digest) AS used USING (digest)
    """,
    "the sizes": """
        SELECT id, size FROM blobs WHERE digest IS NOT NULL EXCEPT
        SELECT id, (SELECT ifnull(sum(length(content)), 0) FROM chunks WHERE blob = blobs.id) FROM blobs
    """,
    "the chunks": "SELECT blob FROM chunks EXCEPT SELECT id FROM blobs",
    "the contents": """
        SELECT digest FROM changes WHERE digest IS NOT NULL EXCEPT SELECT digest FROM blobs WHERE NOT damaged
    """,
}


def assert_is_sound(database: Path) -> None:
    """The file is whole, and everything derived in it is right."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for name, sql in _DERIVED.items():
            assert connection.execute(sql).fetchall() == [], name


def rounds(short: int) -> Iterator[tuple[int, random.Random]]:
    """The number of each round, and choices that are the same for the same round of every run."""
    for number in range(LONG_ROUNDS if LONG else short):
        yield number, random.Random(number)  # noqa: S311  # nothing secret is made with it


class Moments:
    """When to kill: spread over what the work takes on this machine, which its own runs teach."""

    def __init__(self, last_s: float) -> None:
        self._last_s = last_s
        self.in_time = 0
        self.too_late = 0

    def choose(self, chance: random.Random) -> float:
        return chance.uniform(0, self._last_s)

    def missed(self, took_s: float) -> None:
        """The work had ended after `took_s`: the next kills come earlier."""
        self.too_late += 1
        self._last_s = 0.8 * self._last_s + 0.2 * took_s

    def met(self) -> None:
        """It was killed while it worked; so it may take longer than was thought."""
        self.in_time += 1
        self._last_s *= 1.05

    def assert_some_in_time(self) -> None:
        """Of many rounds; a few on a busy machine may all have come too late."""
        assert self.in_time or not LONG


def killed(
    command: Sequence[str],
    environment: Mapping[str, str],
    moments: Moments,
    chance: random.Random,
    *,
    begins: Callable[[], bool],
) -> bool:
    """Run `command` and kill it at some moment after `begins` is true, which tells that the work itself has begun.

    Answers False where it had ended, which must have been well, before that.
    """
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        deadline = time.monotonic() + LIMIT_S
        while process.poll() is None and not begins():
            assert time.monotonic() < deadline, "it did not begin"
            time.sleep(POLL_S)
        begun = time.monotonic()
        try:
            process.wait(timeout=moments.choose(chance))
        except subprocess.TimeoutExpired:
            process.kill()
        output, _ = process.communicate(timeout=LIMIT_S)
    if process.returncode < 0:
        moments.met()
        return True
    assert process.returncode == 0, output.decode()
    moments.missed(time.monotonic() - begun)
    return False
