"""Servers that come and go, what they share, and what the wire accepts."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.contract.inside.supervised import (
    ONLY_INSIDE,
    WAIT_S,
    Client,
    Gone,
    Level,
    Supervised,
    free_port,
    supervise,
    until,
)
from vaporform_mcp.sandboxes.supervised.inside.wire import (
    EGRESS_PORT,
    HEADER,
    MAX_FRAME_BYTES,
    MAX_JSON_BYTES,
    PROTOCOL,
)


def serve(port: int, host: str = "127.0.0.1") -> str:
    return f"{ONLY_INSIDE} exec python3 -m http.server {port} --bind {host}"


def test_a_greeting_says_what_it_is(plain: Supervised) -> None:
    first, second = plain.attach(), plain.attach()
    assert first.hello.number("hello") == PROTOCOL
    assert (first.hello.text("workspace"), first.hello.number("epoch")) == ("w1", 3)
    assert first.hello.text("config") == "digest"
    assert (first.hello.number("attached"), second.hello.number("attached")) == (1, 2)
    info = first.ask("info").ok
    assert (info.number("attached"), info.number("processes")) == (2, 0)


def test_alone_for_its_time_it_ends_with_everything_in_it(place: Path, level: Level) -> None:
    with supervise(place, level=level, linger_s=0.5) as supervised:
        client = supervised.attach()
        client.run("(setsid sleep 777 &) ; sleep 777", wait_s=0)
        client.close()
        until(supervised.has_ended)


def test_it_ends_too_if_nobody_ever_comes(place: Path) -> None:
    with supervise(place, level="plain", linger_s=0.2) as supervised:
        until(supervised.has_ended)


def test_it_goes_on_while_somebody_is_attached(place: Path) -> None:
    with supervise(place, level="plain", linger_s=0.2) as supervised:
        first, second = supervised.attach(), supervised.attach()
        first.close()
        assert second.run("sleep 1").state == "exited"


def test_a_server_that_comes_back_in_time_finds_what_it_left(place: Path) -> None:
    with supervise(place, level="plain", linger_s=30) as supervised:
        first = supervised.attach()
        process = first.run("echo here; sleep 777", wait_s=0).process_id
        first.close()
        second = supervised.attach()
        second.ask("wait", process=process, wait_s=WAIT_S, offset=0)
        assert second.output(process) == b"here\n"


def test_a_client_meets_either_a_greeting_or_the_end(place: Path) -> None:
    for number in range(10):
        folder = place / str(number)
        folder.mkdir()
        with supervise(folder, level="plain", linger_s=0.05) as supervised:
            greeted = 0
            while True:
                try:
                    client = Client(supervised.path)
                except (Gone, ConnectionError):
                    break
                greeted += 1
                client.close()
                if greeted > 3:
                    until(supervised.has_ended)
                    break


def test_a_command_cannot_attach(place: Path, level: Level) -> None:
    with supervise(place, level=level) as supervised:
        client = supervised.attach()
        # A command is given the listening socket's name on purpose, which no real sandbox does.
        (supervised.folder / "socket").hardlink_to(supervised.path)
        supervised.path.chmod(0o777)
        text = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('socket'); print(s.recv(10))"
        assert client.say(f'{ONLY_INSIDE} python3 -c "{text}"') == "b''"
        assert client.ask("info").ok.number("attached") == 1


@pytest.mark.parametrize(
    "raw",
    [
        HEADER.pack(MAX_JSON_BYTES + 1, 0),
        HEADER.pack(100, MAX_FRAME_BYTES),
        HEADER.pack(4, 0) + b"true",
        HEADER.pack(3, 0) + b"{{{",
        HEADER.pack(2, 0) + b"{}",
        HEADER.pack(2, 0) + b"\xff\xff",
        HEADER.pack(20_000, 0) + b"[" * 20_000,
        HEADER.pack(10, 0) + b'{"id": "1"',
    ],
    ids=range(8),
)
def test_what_is_no_request_ends_that_connection_alone(plain: Supervised, raw: bytes) -> None:
    good, bad = plain.attach(), plain.attach()
    bad.send_bytes(raw)
    with pytest.raises(Gone):
        bad.answer(1)
    assert good.say("echo fine") == "fine"


OPERATIONS = ["run", "read", "range", "write", "open", "append", "commit", "remove", "stat", "scan", "output", "listen"]
ARGUMENTS = ["command", "paths", "max_bytes", "path", "offset", "length", "files", "upload", "prune", "limit", "port"]


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, [None], [{}], True, -(2**70)], ids=repr)
def test_wrong_arguments_are_answered_and_end_nothing(client: Client, value: object) -> None:
    for number, op in enumerate(OPERATIONS, start=1):
        encoded = json.dumps({"id": number, "op": op, **dict.fromkeys(ARGUMENTS, value)}).encode()
        client.send_bytes(HEADER.pack(len(encoded), 0) + encoded)
        assert client.answer(number).code != "internal", op


def test_an_unknown_request_is_not_supported(client: Client) -> None:
    assert client.ask("dance").code == "not_supported"


def test_requests_may_come_in_pieces_and_in_crowds(client: Client) -> None:
    one = json.dumps({"id": 1, "op": "info"}).encode()
    for byte in HEADER.pack(len(one), 0) + one:
        client.send_bytes(bytes([byte]))
    assert client.answer(1).code == ""
    crowd = b""
    for number in range(2, 2_000):
        encoded = json.dumps({"id": number, "op": "info"}).encode()
        crowd += HEADER.pack(len(encoded), 0) + encoded
    client.send_bytes(crowd)
    assert all(client.answer(number).code == "" for number in range(2, 2_000))


def test_a_server_that_does_not_read_is_not_answered_without_end(plain: Supervised) -> None:
    client = plain.attach()
    client.write("file", b"x" * 4_000_000)
    requests = [client.send("read", paths=["file"], max_bytes=5_000_000, follow=True) for _ in range(50)]
    other = plain.attach()
    assert other.say("echo meanwhile") == "meanwhile"
    status = Path(f"/proc/{plain.process.pid}/status").read_text()
    assert int(status.split("VmRSS:")[1].split()[0]) < 130_000
    assert [len(client.answer(request).data) for request in requests] == [4_000_000] * 50


# Ports -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104  # in its own network
def test_a_port_is_found_and_connected_to_whatever_address_it_is_bound_to(inner: Client, host: str) -> None:
    port = free_port()
    reply = inner.run(serve(port, host), until_port=True, wait_s=WAIT_S)
    assert (reply.state, reply.ok.items("ports")) == ("running", [port])
    assert inner.ask("ports").ok.items("ports") == [port]
    (connected,) = inner.ask("connect", port=port).sockets
    with connected:
        connected.settimeout(WAIT_S)
        connected.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connected.recv(12) == b"HTTP/1.0 200"


def test_a_port_that_was_there_before_is_not_what_a_run_waits_for(inner: Client) -> None:
    first, second = free_port(), free_port()
    inner.run(serve(first), until_port=True, wait_s=WAIT_S)
    assert inner.run("sleep 0.5", until_port=True).state == "exited"
    reply = inner.run(serve(second), until_port=True, wait_s=WAIT_S)
    assert (reply.state, reply.ok.items("ports")) == ("running", sorted([first, second]))


def test_where_nothing_listens_there_is_nothing_to_connect_to(inner: Client) -> None:
    assert inner.ask("connect", port=9).code == "not_found"
    assert inner.ask("connect", port=0).code == "invalid_argument"
    assert inner.ask("connect", port=65536).code == "invalid_argument"


def test_a_port_that_accepts_nothing_is_given_up(inner: Client) -> None:
    port = free_port()
    text = f"import socket, time; s = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen(0); time.sleep(777)"
    inner.run(f'python3 -c "{text}"', until_port=True, wait_s=WAIT_S)
    replies = [inner.ask("connect", port=port) for _ in range(3)]
    assert replies[-1].code == "not_found"
    for reply in replies:
        for connected in reply.sockets:
            connected.close()


def test_a_listener_is_not_a_port_of_the_workspace_and_is_accepted_on_outside(isolated: Supervised) -> None:
    client = isolated.attach()
    (listening,) = client.ask("listen", port=EGRESS_PORT, kind="egress").sockets
    with listening:
        assert client.ask("ports").ok.items("ports") == []
        listening.settimeout(WAIT_S)
        run = client.begin(f"exec 3<>/dev/tcp/127.0.0.1/{isolated.egress_port}; cat <&3")
        accepted, _ = listening.accept()
        accepted.sendall(b"from outside")
        accepted.close()
        assert client.answer(run).data == b"from outside"


def test_servers_share_a_listener(isolated: Supervised) -> None:
    first, second = isolated.attach(), isolated.attach()
    (one,) = first.ask("listen", port=EGRESS_PORT, kind="egress").sockets
    (other,) = second.ask("listen", port=EGRESS_PORT, kind="egress").sockets
    with one, other:
        first.close()
        other.settimeout(WAIT_S)
        run = second.begin(f"exec 3<>/dev/tcp/127.0.0.1/{isolated.egress_port}; cat <&3")
        accepted, _ = other.accept()
        accepted.close()
        assert second.answer(run).exit_code == 0


@pytest.mark.parametrize(("kind", "said"), [("egress", "HTTP/1.1 503 "), ("forward", "")])
def test_with_no_server_a_listener_refuses_at_once(isolated: Supervised, kind: str, said: str) -> None:
    first, second = isolated.attach(), isolated.attach()
    port = EGRESS_PORT if kind == "egress" else free_port()
    (listening,) = first.ask("listen", port=port, kind=kind).sockets
    listening.close()
    first.close()
    until(lambda: second.ask("info").ok.number("attached") == 1)
    there = isolated.egress_port if kind == "egress" else port
    ask = f"exec 3<>/dev/tcp/127.0.0.1/{there}; printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3"
    reply = second.run(f"{{ {ask}; }} 2>/dev/null; true", timeout_s=WAIT_S)
    assert reply.state == "exited"
    assert reply.data.decode()[: len(said) or None] == said


def test_a_port_in_use_cannot_be_listened_on(inner: Client) -> None:
    port = free_port()
    inner.run(serve(port), until_port=True, wait_s=WAIT_S)
    assert inner.ask("listen", port=port, kind="forward").code == "conflict"
    assert inner.ask("listen", port=3129, kind="other").code == "invalid_argument"


def test_a_socket_that_was_handed_out_is_an_internet_one(inner: Client) -> None:
    (listening,) = inner.ask("listen", port=EGRESS_PORT, kind="egress").sockets
    with listening:
        assert (listening.family, listening.type) == (socket.AF_INET, socket.SOCK_STREAM)
