"""A workspace that the real server made comes back, byte for byte, to somebody who has docs/storage-format.md alone."""

from __future__ import annotations

import base64
import os
import random
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.durability.machine import a_machine, in_time, run
from tests.e2e.stdio_client import StdioServer

SCRIPT = Path(__file__).with_name("restore_from_sqlite.py")
WHOLE_PAGE = (Path(__file__).parents[2] / "docs" / "storage-format.md").read_text(encoding="utf-8")
PAGE = WHOLE_PAGE.partition("## The MongoDB store")[0]
MIB = 1024 * 1024
NAMES = (
    'a b\'s "c".txt',
    "-rf",
    "--help",
    "*",
    "$(date)`id`;",
    "back\\slash",
    " leading and trailing ",
    ".hidden",
    "...",
    "häuser/straße/日本語/العربية/🚀.md",
    "cafe\u0301",
    "café",
    "100%s%n",
    "latest",
    "n" * 255,
    "/".join(["deep"] * 40) + "/file",
    "workspace/in/a/folder/of/that/name",
    "CON.txt",
)
SIZES = (1, 511, MIB - 1, MIB, MIB + 1, 3 * MIB + 17, 9 * MIB + 1)
TREE = r"""
set -e
mkdir -p modes links kept
for mode in 400 444 600 640 644 700 755 777; do echo $mode > modes/$mode; chmod $mode modes/$mode; done
: > empty; : > kept/also-empty; chmod 600 kept/also-empty
ln -s modes/644 links-to-a-file; ln -s ../modes links/to-a-folder; ln -s /etc/passwd links/absolute
ln -s nowhere/at/all links/dangling; ln -s "$(printf 'odd\ntarget \303\274')" links/odd; ln -s . links/itself
echo twice > same; cp same kept/same-again
echo first > changes; echo gone > goes; echo was a file > turns; mkdir was; echo x > was/folder
"""
CHANGES = r"""
set -e
echo second > changes; chmod 755 changes; rm goes; rm turns; mkdir turns; echo now a folder > turns/file
rm -r was; ln -s same was; mv same moved; : > late; chmod 4755 modes/755
"""

Snapshot = dict[str, tuple[str, int, bytes]]
"""By path: the kind, the permissions (of a link: 0) and the content or target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A store, at rest, and what the sandbox held at its older and newer revision."""

    database: Path
    older: Snapshot
    label: str
    newer: Snapshot

    @property
    def number(self) -> int:
        """That of the older one."""
        with closing(sqlite3.connect(self.database)) as db:
            return db.execute("SELECT number FROM revisions WHERE label = ?", (self.label,)).fetchone()[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Generator[Made]:
    with a_machine(tmp_path_factory.mktemp("store")) as machine:
        with machine.server() as server:
            fill(server)
            run(server, TREE)
            label = completed(server)
            older = snapshot(machine.files())
            run(server, CHANGES)
            completed(server)
            newer = snapshot(machine.files())
            server.call("open_workspace", name="other")
            server.call("write_to_file", workspace="other", path="of-another", content="not to come out")
            server.end_input()
            server.wait()
        yield Made(database=machine.store_file, older=older, label=label, newer=newer)


def fill(server: StdioServer) -> None:
    chance = random.Random(5)  # noqa: S311  # nothing secret is made with it
    for name in NAMES:
        assert server.call("write_to_file", path=name, content=f"{name}\n").facts["mirrored"], name
    for size in SIZES:
        content = base64.b64encode(chance.randbytes(size)).decode()
        written = server.call("write_to_file", path=f"sizes/{size}", content=content, encoding="base64")
        assert written.facts["mirrored"], written.text


def completed(server: StdioServer) -> str:
    """The label of a revision that has all that is in the sandbox now."""
    facts = server.call("attempt_completion", result="made").facts
    assert facts["mirrored"]
    return facts["checkpoint"]


def snapshot(folder: Path) -> Snapshot:
    found: Snapshot = {}
    for path in folder.rglob("*"):
        about = path.lstat()
        name = str(path.relative_to(folder))
        if stat.S_ISLNK(about.st_mode):
            found[name] = ("link", 0, os.fsencode(path.readlink()))
        elif stat.S_ISREG(about.st_mode):
            found[name] = ("file", stat.S_IMODE(about.st_mode), path.read_bytes())
    return found


def restored(database: Path, target: Path, *revision: str, workspace: str = "default") -> Snapshot:
    done = subprocess.run(
        # Isolated: neither this project nor anything else that is installed can be imported.
        [sys.executable, "-I", "-S", str(SCRIPT), str(database), workspace, str(target), *revision],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return snapshot(target)


def differing(one: Snapshot, other: Snapshot) -> list[str]:
    """Paths, since the contents would be megabytes of a failure's text."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def test_the_newest_revision_comes_back_byte_for_byte(made: Made, tmp_path: Path) -> None:
    assert len(made.newer) > len(NAMES) + len(SIZES) + 15
    assert differing(restored(made.database, tmp_path / "out"), made.newer) == []


def test_an_older_revision_comes_back_byte_for_byte_by_its_number_and_by_its_label(made: Made, tmp_path: Path) -> None:
    assert differing(made.older, made.newer) != []
    for number, revision in enumerate((str(made.number), made.label)):
        assert differing(restored(made.database, tmp_path / f"{number}", revision), made.older) == []


def test_a_store_whose_server_was_killed_comes_back_with_what_its_log_holds(tmp_path: Path) -> None:
    with a_machine(tmp_path) as machine, machine.server() as server:
        assert server.call("write_to_file", path="last.txt", content="the last word").facts["mirrored"]
        server.process.kill()
        server.wait()
        assert machine.store_file.with_name(f"{machine.store_file.name}-wal").stat().st_size > 0
        assert restored(machine.store_file, tmp_path / "out") == {"last.txt": ("file", 0o644, b"the last word")}


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 shell")
def test_the_shell_alone_gets_both_revisions_out_byte_for_byte(made: Made, tmp_path: Path) -> None:
    _, _, newest = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (older,) = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    shutil.copy(made.database, tmp_path)
    older = older.replace("<= 2", f"<= {made.number}")
    for line, target, expected in (
        (newest, "restored", made.newer),
        (newest.replace("latest", older).replace("restored/", "older/"), "older", made.older),
    ):
        subprocess.run(line, shell=True, cwd=tmp_path, check=True, capture_output=True, timeout=60)
        # What the shell does not do: the bits beside the permissions proper.
        plain = {path: (kind, mode & 0o777, content) for path, (kind, mode, content) in expected.items()}
        assert differing(snapshot(tmp_path / target), plain) == []


def test_a_git_repository_comes_back_with_the_commits_that_were_nowhere_else(tmp_path: Path) -> None:
    with a_machine(tmp_path) as machine:
        with machine.server() as server:
            run(server, "git init -q -b trunk && git config user.name A && git config user.email a@example.org")
            run(server, "echo 1 > a && git add a && git commit -qm 'the only commit' && git rev-parse HEAD > head")
            in_time(lambda: ".git/vaporform/commits.bundle" in machine.stored())
            in_time(lambda: "head" in machine.stored())
            server.end_input()
            server.wait()
        restored(machine.store_file, tmp_path / "out")
    state = (tmp_path / "out/.git/vaporform/state").read_text(encoding="utf-8")
    said = dict(line.split(" ", 1) for line in state.splitlines())
    assert "origin" not in said
    (commands,) = re.findall(r"^```text\n(git init.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    script = commands.replace(" && git remote add origin URL && git fetch origin", "")
    script = script.replace("heads/NAME", f"heads/{said['branch']}").replace(" ID ", f" {said['commit']} ")
    subprocess.run(["sh", "-ec", script], cwd=tmp_path / "out", check=True, capture_output=True, timeout=60)
    log = subprocess.run(
        ["git", "log", "--format=%s=%H"], cwd=tmp_path / "out", check=True, capture_output=True, text=True, timeout=60
    )
    assert log.stdout == f"the only commit={(tmp_path / 'out/head').read_text('utf-8')}"


def test_a_path_that_leaves_the_folder_is_refused_and_the_rest_comes_back(made: Made, tmp_path: Path) -> None:
    shutil.copy(made.database, tmp_path / "changed.db")
    with closing(sqlite3.connect(tmp_path / "changed.db")) as db:
        sql = """
            INSERT INTO changes SELECT workspace, ?, 1, kind, mode, size, digest, mime_type FROM changes
            WHERE path = 'changes' LIMIT 1
        """
        db.executemany(sql, [("../out-of-it",), ("/tmp/absolute",), ("links/absolute/below",), ("a//b",), ("a\0b",)])
        db.commit()
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(tmp_path / "changed.db"), "default", str(tmp_path / "in" / "out")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("refused") == 5
    assert differing(snapshot(tmp_path / "in" / "out"), made.newer) == []
    assert not (tmp_path / "in" / "out-of-it").exists()


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def shortened(content: bytes) -> bytes:
    return content[:-1]


def emptied(content: bytes) -> bytes:
    return content[:0]


@pytest.mark.parametrize("damage", [flipped, shortened, emptied])
def test_a_damaged_content_is_told_and_the_rest_comes_back(
    made: Made, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    shutil.copy(made.database, tmp_path / "damaged.db")
    digest_sql = "SELECT digest FROM latest WHERE path = ?"
    with closing(sqlite3.connect(tmp_path / "damaged.db")) as db:
        (digest,) = db.execute(digest_sql, (f"sizes/{SIZES[-2]}",)).fetchone()
        where = "seq = 1 AND blob = (SELECT id FROM blobs WHERE digest = ?)"
        (content,) = db.execute(f"SELECT content FROM chunks WHERE {where}", (digest,)).fetchone()  # noqa: S608
        db.execute(f"UPDATE chunks SET content = ? WHERE {where}", (damage(content), digest))  # noqa: S608
        db.commit()
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(tmp_path / "damaged.db"), "default", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"sizes/{SIZES[-2]}" in done.stderr
    assert differing(snapshot(tmp_path / "out"), made.newer) == [f"sizes/{SIZES[-2]}"]


def test_the_page_describes_every_table_and_every_column_that_there_is(made: Made) -> None:
    with closing(sqlite3.connect(made.database)) as db:
        names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        tables = [row[0] for row in db.execute(names)]
        assert sorted(re.findall(r"^\*\*(\w+)\*\*:", PAGE, re.MULTILINE)) == sorted(tables)
        for table in tables:
            said = PAGE.partition(f"**{table}**:")[2].partition("\n\n**")[0].partition("\n### ")[0]
            rows = re.findall(r"^\| ([\w, ]+) \|", said, re.MULTILINE)
            named = {name for row in rows for name in row.split(", ")} | set(re.findall(r"`(\w+)`", said))
            columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
            # Of `latest` the page says that its rows are those of `changes`.
            assert columns <= named | {"workspace"} or table == "latest", (table, columns - named)
        described = [each for each in tables if each in {"changes", "latest"}]
        rows = [[row[1] for row in db.execute(f"PRAGMA table_info({table})")] for table in described]
        assert rows[0] == rows[1]


def test_the_record_of_a_workspace_has_what_the_page_says(made: Made) -> None:
    with closing(sqlite3.connect(made.database)) as db:
        keys = {row[0] for row in db.execute("SELECT each.key FROM workspaces, json_each(record) AS each")}
        spec = {row[0] for row in db.execute("SELECT each.key FROM workspaces, json_each(record, '$.spec') AS each")}
    (said,) = re.findall(r"^\| record \| (.*) \|$", PAGE, re.MULTILINE)
    assert keys | spec == set(re.findall(r"`(\w+)`", said))
