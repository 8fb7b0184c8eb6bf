"""What only a sandbox without namespaces has: the supervisor acts for commands, on this machine's own loopback."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.inside.supervised import (
    ONLY_INSIDE,
    SUPERVISOR,
    WAIT_S,
    Client,
    Supervised,
    free_port,
    supervise,
    until,
)
from vaporform_mcp.sandboxes.local.fields import JsonValue

pytestmark = pytest.mark.usefixtures("landlock")

KERNELS: dict[str, dict[str, JsonValue]] = {
    "of this kernel": {},
    "without scopes": {"abi": 5},
    "of 6.2": {"abi": 3},
    "without copies of descriptors": {"addfd": True},
    "of an old kernel in a container": {"abi": 4, "addfd": True},
}


@pytest.fixture(params=KERNELS)
def each(request: pytest.FixtureRequest, place: Path) -> Iterator[Supervised]:
    """A sandbox by each of the ways that kernels leave."""
    with supervise(place, level="restricted", restricted=KERNELS[request.param]) as supervised:
        yield supervised


@pytest.fixture
def one(place: Path) -> Iterator[Supervised]:
    with supervise(place, level="restricted") as supervised:
        yield supervised


def python(client: Client, text: str, *arguments: object) -> str:
    """What a program of commands prints."""
    client.write("program.py", text.encode())
    return client.say(" ".join(["python3 program.py", *map(str, arguments)]))


def test_it_starts_as_an_unprivileged_user_without_any_capability(each: Supervised) -> None:
    lines = each.attach().say("cat /proc/self/status").splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
    if os.geteuid() == 0:
        assert (int(status["CapBnd"], 16), status["Groups"]) == (0, "")


# Network -----------------------------------------------------------------------------------------------------------

MEET = """
import os, socket
def meet(server, address, *targets):
    server.bind(address)
    server.listen()
    for target in targets:
        client = socket.create_connection((target, server.getsockname()[1]))
        accepted, _ = server.accept()
        client.sendall(b"hello")
        print(target, server.getsockname()[0], accepted.recv(5).decode())
meet(socket.socket(), ("127.0.0.1", 0), "127.0.0.1", "localhost")
meet(socket.socket(), ("", 0), "127.0.0.1")
meet(socket.socket(socket.AF_INET6), ("::", 0), "127.0.0.1", "::1")
only = socket.socket(socket.AF_INET6)
only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
meet(only, ("::1", 0), "::1")
unbound = socket.socket()
unbound.listen()
print(unbound.getsockname()[0])
"""


def test_programs_of_the_sandbox_meet_on_the_loopback_whatever_they_bind_to(each: Supervised) -> None:
    assert python(each.attach(), MEET).splitlines() == [
        "127.0.0.1 127.0.0.1 hello",
        "localhost 127.0.0.1 hello",
        "127.0.0.1 127.0.0.1 hello",
        "127.0.0.1 ::ffff:127.0.0.1 hello",
        "::1 ::ffff:127.0.0.1 hello",
        "::1 ::1 hello",
        "127.0.0.1",
    ]


FILES = """
import os, socket, sys
os.umask(0o077)
server = socket.socket(socket.AF_UNIX)
server.bind("here")
server.listen()
client = socket.socket(socket.AF_UNIX)
client.connect(os.path.abspath("here"))
accepted, _ = server.accept()
client.sendall(b"hello")
print(os.path.basename(server.getsockname()), oct(os.stat("here").st_mode & 0o777), accepted.recv(5).decode())
for address in (sys.argv[1], "\\0abstract"):
    try:
        socket.socket(socket.AF_UNIX).connect(address)
        print("reached", address)
    except OSError as error:
        print(error.strerror)
"""


def test_a_socket_that_is_a_file_is_the_sandboxs_own_or_refused(each: Supervised) -> None:
    each.path.chmod(0o777)
    assert python(each.attach(), FILES, each.path).splitlines() == [
        "here 0o700 hello",
        "Permission denied",
        "Connection refused",
    ]


REACH = """
import socket, sys
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
        print("reached", target)
    except OSError as error:
        print(error.strerror)
"""


def test_nothing_else_of_the_machine_or_the_net_is_reached(each: Supervised) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        targets = [f"127.0.0.1:{four.getsockname()[1]}", f"::ffff:127.0.0.1:{four.getsockname()[1]}"]
        targets += [f"0.0.0.0:{four.getsockname()[1]}", f"::1:{six.getsockname()[1]}"]
        far = ["192.0.2.1:80", "169.254.169.254:80", "10.0.0.1:22", f"192.0.2.1:{each.egress_port}"]
        said = python(each.attach(), REACH, *targets, *far, f"127.0.0.1:{each.egress_port}").splitlines()
    assert said[:4] == ["Connection refused"] * 4
    assert said[4:] == ["Network is unreachable"] * 4 + [f"reached 127.0.0.1:{each.egress_port}"]


REFUSED = """
import errno, socket
def tell(what):
    try:
        what()
        print("done")
    except OSError as error:
        print(errno.errorcode[error.errno])
tell(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
tell(lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW))
tell(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
tell(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
tell(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
tell(lambda: socket.socket(socket.AF_VSOCK))
tell(lambda: socket.socket().sendto(b"x", 0x20000000, ("127.0.0.1", 9)))
tell(lambda: socket.socket().bind(("192.0.2.1", 0)))
tell(lambda: socket.socket(socket.AF_UNIX).bind("\\0name"))
"""


def test_what_says_by_itself_where_it_goes_is_no_way_out(one: Supervised) -> None:
    assert python(one.attach(), REFUSED).splitlines() == [
        *("EPERM", "EPERM", "EPROTONOSUPPORT", "EPROTONOSUPPORT", "EPROTONOSUPPORT", "EAFNOSUPPORT", "ENOTSUP"),
        *("EADDRNOTAVAIL", "EACCES"),
    ]


FLIP = """
import ctypes, errno, socket, struct, sys, threading, time
good, bad = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
address = ctypes.create_string_buffer(struct.pack("=H", 2) + struct.pack("!H", good) + bytes([127, 0, 0, 1]) + bytes(8))
ports = [struct.pack("!H", port) for port in (good, bad)]
ended = False
def flip():
    while not ended:
        for port in ports:
            address[2:4] = port
threading.Thread(target=flip).start()
until = time.monotonic() + 2
tries = connected = 0
while time.monotonic() < until:
    with socket.socket() as one:
        tries += 1
        if libc.connect(one.fileno(), address, 16) == 0:
            connected += 1
            assert one.getpeername()[1] == good, "reached"
ended = True
assert connected
print("held")
"""


@pytest.mark.parametrize("addfd", [False, True])
def test_an_address_that_changes_while_it_is_connected_to_gains_nothing(place: Path, addfd: bool) -> None:
    with supervise(place, level="restricted", restricted={"addfd": addfd}) as supervised:
        client = supervised.attach()
        good = free_port()
        client.run(f"exec python3 -m http.server {good} --bind 127.0.0.1", until_port=True, wait_s=WAIT_S)
        with socket.create_server(("127.0.0.1", 0)) as victim:
            assert python(client, FLIP, good, victim.getsockname()[1]) == "held"
            victim.setblocking(False)
            with pytest.raises(BlockingIOError):
                victim.accept()


def test_a_port_of_another_program_is_none_of_the_sandbox(one: Supervised) -> None:
    client = one.attach()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        assert port not in client.ask("ports").ok.items("ports")
        reply = client.ask("connect", port=port)
        assert (reply.code, str(port) in reply.message) == ("not_found", True)
        assert client.run(f"python3 -m http.server {port} --bind 127.0.0.1").exit_code == 1


@pytest.mark.parametrize("network", ["none", "host"])
def test_of_another_network_there_is_what_it_says(place: Path, network: str) -> None:
    with (
        supervise(place, level="restricted", restricted={"network": network, "egress": None}) as supervised,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        client = supervised.attach()
        reached = python(client, REACH, f"127.0.0.1:{server.getsockname()[1]}").startswith("reached")
        assert reached == (network == "host")
        assert client.run(f"python3 -m http.server {free_port()}", until_port=True, wait_s=WAIT_S).state == "running"
        assert client.ask("listen", port=3128, kind="egress").code == "not_supported"


FILL = """
import socket, threading
server = socket.socket(socket.AF_UNIX)
server.bind("full")
server.listen(0)
clients = [socket.socket(socket.AF_UNIX) for _ in range(12)]
for each in clients:
    threading.Thread(target=each.connect, args=("full",), daemon=True).start()
tcp = socket.socket()
tcp.bind(("127.0.0.1", 0))
tcp.listen(0)
for _ in range(12):
    threading.Thread(target=socket.create_connection, args=(tcp.getsockname(),), daemon=True).start()
other = socket.create_server(("127.0.0.1", 0))
socket.create_connection(other.getsockname()).close()
for _ in clients:
    server.accept()
print("all came", flush=True)
import os
os._exit(0)
"""


def test_connections_that_wait_hold_up_no_others_and_come_in_their_turn(one: Supervised) -> None:
    assert python(one.attach(), FILL) == "all came"


# Files -------------------------------------------------------------------------------------------------------------

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
        own, linked, outside = (python(client, CHANGE, path).splitlines() for path in ("mine", "link", shown / "file"))
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


def test_temporary_files_that_a_command_removed_cost_nothing(one: Supervised) -> None:
    client = one.attach()
    client.run("seq 100000")
    client.run("rm -rf $SPOOL $SPOOL/../tmp/* $SPOOL/.??*; true")
    reply = client.run("seq 100000; chmod 0 .")
    assert (reply.state, reply.ok.number("omitted_bytes") > 0) == ("exited", True)
    assert client.run("true").code in {"", "permission_denied"}


# Processes ---------------------------------------------------------------------------------------------------------


def test_neither_the_supervisor_nor_a_thread_of_it_can_be_signalled(each: Supervised) -> None:
    client = each.attach()
    tries = f"for t in /proc/{SUPERVISOR}/task/*; do kill -0 ${{t##*/}} && echo reached; done 2>&1; true"
    said = client.say(tries).splitlines()
    assert len(said) > 4
    assert "reached" not in said


def test_commands_signal_each_other(each: Supervised) -> None:
    client = each.attach()
    process = client.run("echo $$; exec sleep 777", wait_s=0).process_id
    client.ask("wait", process=process, wait_s=WAIT_S, offset=0)
    client.say(f"kill -TERM {client.output(process).decode().strip()}")
    until(lambda: client.state(process) == "exited")


def test_the_priority_of_own_processes_alone_is_changed(each: Supervised) -> None:
    client = each.attach()
    assert client.say("sleep 777 & renice -n 5 $! >/dev/null; ps -o ni= -p $!; kill $!").strip() == "5"
    for attempt in (f"renice -n 5 {SUPERVISOR}", f"taskset -p 1 {SUPERVISOR}", f"prlimit --nofile=9 -p {SUPERVISOR}"):
        assert client.run(attempt).exit_code == 1, attempt
    assert client.run(f"renice -n 5 {os.getpid()}").exit_code == 1


@pytest.mark.parametrize("how", ["-KILL -1", "-STOP -1", "-KILL $PPID", "-STOP $PPID"])
def test_killing_all_that_can_be_killed_leaves_the_sandbox(each: Supervised, how: str) -> None:
    client = each.attach()
    client.run(f"{ONLY_INSIDE} (setsid sleep 777 &); kill {how}; sleep 777", timeout_s=2)
    # One that was being started at that moment may have been stopped too.
    until(lambda: client.run("echo alive", timeout_s=5).data == b"alive\n")


@pytest.mark.parametrize("first", ["true", "kill -STOP $PPID"])
def test_with_the_supervisor_everything_dies(each: Supervised, first: str) -> None:
    kill_the_supervisor(each, first)


def test_with_the_supervisor_dies_even_what_has_just_lost_its_keeper(one: Supervised) -> None:
    kill_the_supervisor(one, "kill -KILL $PPID")


def kill_the_supervisor(each: Supervised, first: str) -> None:
    """With commands that hide, one of which does `first`; and see that nothing is left."""
    client = each.attach()
    hidden = "(env -i setsid sleep 777 &) ; (trap '' HUP TERM; setsid sleep 777 &)"
    for _ in range(2):
        client.run(f"echo $$ >> ../workspace/pids; {hidden}; pgrep -s 0 >> pids; sleep 777", wait_s=0)
    client.run("sleep 777 & echo $! >> pids; setsid sleep 777 & echo $! >> pids; " + first, wait_s=0)
    pids = each.folder / "pids"
    until(lambda: pids.exists() and pids.read_text().count("\n") >= 4)
    keepers = children(each.process.pid)
    each.process.send_signal(signal.SIGKILL)
    for pid in [*pids.read_text().split(), *keepers]:
        until(lambda pid=pid: is_gone(pid))


def children(pid: int) -> list[str]:
    """Of all its threads."""
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [child for some in found for child in some]


def is_gone(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    "attempt", ["exec 1>&- 2>&- 0<&-; sleep 0.2", "yes | head -c 3000000", "exec >/dev/full; echo x"]
)
def test_closed_and_filled_pipes_end_nothing(one: Supervised, attempt: str) -> None:
    client = one.attach()
    assert client.run(attempt).state == "exited"
    assert client.say("echo alive") == "alive"


def test_what_the_kernel_does_not_divide_is_not_there(one: Supervised) -> None:
    text = "import ctypes; print([ctypes.CDLL(None, use_errno=True).shmget(0, 4096, 0o1600)])"
    assert python(one.attach(), text) == "[-1]"
    assert one.attach().run("ls /dev/pts /dev/shm").exit_code == 2


def test_what_programs_need_is_there(one: Supervised) -> None:
    text = "import multiprocessing as m; print(m.Pool(2).map(abs, [-1, 2]), m.Lock())"
    assert python(one.attach(), text).startswith("[1, 2]")
    assert one.attach().say("mkdir a b; touch a/x; ln a/x b/y; mv a/x b/x; mkfifo f; ls b; cat <(echo z)") == "x\ny\nz"


def test_a_kernel_that_cannot_is_told_in_one_line(place: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root's sandboxes are kept from others' files by their user")
    with (
        pytest.raises(AssertionError, match="restricted: landlock: version 2 is too old, 3 is needed"),
        supervise(place, level="restricted", restricted={"abi": 2}) as supervised,
    ):
        until(supervised.has_ended)
