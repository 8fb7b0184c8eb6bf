"""Without namespaces the supervisor connects, binds and listens for commands, on this machine's own loopback."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.contract.inside.supervised import (
    WAIT_S,
    Supervised,
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
