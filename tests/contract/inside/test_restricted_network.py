"""Without namespaces the supervisor connects, binds and listens for commands, on this machine's own loopback."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.contract.inside.supervised import (
    WAIT_S,
    Supervised,
    children,
    free_port,
    supervise,
)

pytestmark = pytest.mark.usefixtures("landlock")


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
    assert each.attach().python(MEET).splitlines() == [
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
    assert each.attach().python(FILES, each.path).splitlines() == [
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
        said = each.attach().python(REACH, *targets, *far, f"127.0.0.1:{each.egress_port}").splitlines()
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
    assert one.attach().python(REFUSED).splitlines() == [
        *("EPERM", "EPERM", "EPROTONOSUPPORT", "EPROTONOSUPPORT", "EPROTONOSUPPORT", "EAFNOSUPPORT", "ENOTSUP"),
        *("EADDRNOTAVAIL", "EACCES"),
    ]


OPTIONS = """
import errno, socket
for family, level, option in (
    *((socket.AF_INET, 1, option) for option in (25, 62)),
    *((socket.AF_INET, 0, option) for option in (4, 50)),
    *((socket.AF_INET, 6, option) for option in (19, 30)),
    *((socket.AF_INET6, 41, option) for option in (5, 6, 57, 76)),
):
    try:
        socket.socket(family).setsockopt(level, option, b"lo\\0\\0")
        print("set", level, option)
    except OSError as error:
        print(errno.errorcode[error.errno])
with socket.socket() as ordinary:
    ordinary.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ordinary.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
"""


def test_no_option_of_a_socket_leads_it_elsewhere(one: Supervised) -> None:
    assert set(one.attach().python(OPTIONS).splitlines()) == {"ENOPROTOOPT"}


SHARE = """
import socket, sys
version, port = sys.argv[1:]
family, host = (socket.AF_INET6, "::1") if version == "6" else (socket.AF_INET, "127.0.0.1")
with socket.socket(family) as one:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        one.bind((host, int(port)))
        print("bound")
    except OSError as error:
        print(error.strerror)
"""


def test_no_port_is_shared_with_another_program_of_the_user(one: Supervised) -> None:
    client = one.attach()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert {client.python(SHARE, version, port).strip() for version in "46"} == {"Address already in use"}


WASTE = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
nowhere = ctypes.c_void_p(8)
regular = os.open("/usr/bin/env", os.O_RDONLY)
for _ in range(2000):
    assert libc.listen(regular, 1) == -1
    if platform.machine() == "x86_64":  # utimes and futimesat, which others do not have
        assert libc.syscall(235, b"own", nowhere) == -1
        assert libc.syscall(261, -100, b"own", nowhere) == -1
"""


def test_calls_that_fail_leave_nothing_open_in_the_supervisor(one: Supervised) -> None:
    client = one.attach()
    client.say("touch own")
    client.python(WASTE)
    assert client.say("echo alive") == "alive"
    (supervisor,) = children(one.process.pid)
    if os.geteuid() == 0:
        assert len(list(Path(f"/proc/{supervisor}/fd").iterdir())) < 100


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
            assert client.python(FLIP, good, victim.getsockname()[1]) == "held"
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
        reached = client.python(REACH, f"127.0.0.1:{server.getsockname()[1]}").startswith("reached")
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
    assert one.attach().python(FILL) == "all came"
