"""Without namespaces only the sandbox's own files can be touched, or so much as have their modes changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.inside.supervised import (
    Supervised,
    supervise,
)
from vaporform_mcp.sandboxes.supervised.fields import JsonValue

pytestmark = pytest.mark.usefixtures("landlock")


CHANGE = """
import os, sys
def tell(what):
    try:
        what()
        print("done")
    except OSError as error:
        print(error.strerror)
for path in sys.argv[1:]:
    tell(lambda: os.chmod(path, 0o640))
    tell(lambda: os.utime(path, (1, 1)))
    tell(lambda: os.chown(path, -1, os.getgid()))
    tell(lambda: os.setxattr(path, "user.x", b"x"))
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError as error:
        print(error.strerror)
        continue
    tell(lambda: os.chmod(opened, 0o600))
    tell(lambda: os.utime(opened, (2, 2)))
    tell(lambda: os.chmod(f"/proc/self/fd/{opened}", 0o600))
"""


def test_attributes_are_changed_of_the_sandboxs_own_files_alone(place: Path) -> None:
    shown = place / "shown"
    shown.mkdir(mode=0o755)
    (shown / "file").write_text("x")
    read: JsonValue = [*([path, "x"] for path in ("/usr", "/bin", "/lib", "/lib64")), [str(shown), "r"]]
    with supervise(place, level="restricted", restricted={"read": read}) as supervised:
        client = supervised.attach()
        client.say("touch mine; ln -s mine link")
        before = (shown / "file").stat()
        own, linked, outside = (client.python(CHANGE, path).splitlines() for path in ("mine", "link", shown / "file"))
        assert own == linked == ["done", "done", "done", "Operation not supported", "done", "done", "done"]
        assert client.say("stat -c '%a %Y' mine; umask 0; chmod -R u=rwX,go= .; stat -c %a mine") == "600 2\n600"
        assert "done" not in outside
        after = (shown / "file").stat()
        assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)


def test_files_outside_are_neither_read_nor_changed(each: Supervised) -> None:
    outside = each.folder.parent / "outside"
    outside.write_text("secret")
    outside.chmod(0o666)
    client = each.attach()
    for attempt in ("cat ../outside", "echo x > ../outside", "rm ../outside", "mv ../outside .", "ln ../outside a"):
        assert client.run(attempt).exit_code == 1, attempt
    assert client.run(f"truncate -s 0 {outside}").exit_code == 1
    assert client.run("ls /root /home / /tmp").exit_code == 2
    assert outside.read_text() == "secret"


BY_REQUEST = """
import errno, fcntl, struct
with open("own", "w+") as own:
    for request in (0x40086602, 0x401C5820, 0x40087602, 0x40086604, 0x40806685, 0x800C6613):
        try:
            fcntl.ioctl(own, request, struct.pack("7I", *[0] * 7))
            print("done")
        except OSError as error:
            print(errno.errorcode[error.errno])
"""


def test_no_request_changes_attributes_of_a_file_that_may_only_be_readable(one: Supervised) -> None:
    assert one.attach().python(BY_REQUEST).splitlines() == ["EPERM"] * 6


def test_temporary_files_that_a_command_removed_cost_nothing(one: Supervised) -> None:
    client = one.attach()
    client.run("seq 100000")
    client.run("rm -rf $SPOOL $SPOOL/../tmp/* $SPOOL/.??*; true")
    reply = client.run("seq 100000; chmod 0 .")
    assert (reply.state, reply.ok.number("omitted_bytes") > 0) == ("exited", True)
    assert client.run("true").code in {"", "permission_denied"}
