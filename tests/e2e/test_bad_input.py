"""Paths, contents, commands and names that no tool should be given: each is refused clearly, and nothing is harmed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.durability.machine import Machine, a_machine, digest, digests_inside, in_time, run
from tests.e2e.judging import assert_fit, assert_refused
from tests.e2e.stdio_client import StdioServer, result_of
from vaporform_mcp.types import WorkspaceName

BLOCK = "------- SEARCH\nold\n=======\nnew\n+++++++ REPLACE\n"
PREPARE = r"""
mkdir dir && echo kept > dir/file && echo old > file.txt && mkfifo fifo
ln -s /etc/passwd outside && ln -s /dev/zero device && ln -s / root && ln -s loop loop && ln -s dir alias
python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('socket')"
python3 -c "open(b'latin-\xe9.txt', 'w').write('x'); open('new\nline.txt', 'w').write('y')"
printf 'caf\351\n' > latin.txt && printf 'a\0b' > binary.bin
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with a_machine(tmp_path_factory.mktemp("bad"), SECRET_TOKEN="sEcReT-77") as made:
        yield made


@pytest.fixture(scope="module")
def server(machine: Machine) -> Iterator[StdioServer]:
    with machine.server() as started:
        run(started, PREPARE)
        yield started


@pytest.fixture
def unchanged(machine: Machine, server: StdioServer) -> Iterator[None]:
    """For tests after which the sandbox must be as it was."""
    server.call("open_workspace", name="default")
    before = digests_inside(machine)
    yield
    assert digests_inside(machine) == before


PATHS = [
    ("", "invalid_path"),
    (" ", "not_found"),
    (".", "invalid_path"),
    ("/", "invalid_path"),
    ("/workspace", "invalid_path"),
    ("/etc/passwd", "invalid_path"),
    ("/workspace/../etc/passwd", "invalid_path"),
    ("../outside.txt", "invalid_path"),
    ("dir/../../outside.txt", "invalid_path"),
    ("nul\0byte", "invalid_path"),
    ("new\nline.txt", "invalid_path"),
    ("dir/" + "x" * 256, "invalid_path"),
    ("d/" * 2_200 + "x", "invalid_path"),
    ("\ud800", "invalid_argument"),
    ("dir", "is_directory"),
    ("dir/", "is_directory"),
    ("alias", "is_directory"),
    ("fifo", "invalid_argument"),
    ("socket", "invalid_argument"),
    ("outside", "invalid_path"),
    ("device", "invalid_path"),
    ("root/etc/passwd", "invalid_path"),
    ("loop", "invalid_path"),
    ("file.txt/below", "not_a_directory"),
]


@pytest.mark.parametrize(("path", "code"), PATHS, ids=[ascii(path)[:30] for path, _ in PATHS])
@pytest.mark.usefixtures("unchanged")
def test_a_path_that_names_no_file_of_the_workspace_is_refused(
    machine: Machine, server: StdioServer, path: str, code: str
) -> None:
    calls: list[tuple[str, Mapping[str, str]]] = [("read_file", {}), ("replace_in_file", {"diff": BLOCK})]
    if path != " ":
        calls.append(("write_to_file", {"content": "x"}))
    for tool, arguments in calls:
        assert_refused(server.call(tool, path=path, **arguments), code, machine.data_dir)


@pytest.mark.parametrize("tool", ["list_files", "search_files"])
@pytest.mark.parametrize("path", ["/etc", "../", "nul\0", "root", "nowhere"])
@pytest.mark.usefixtures("unchanged")
def test_a_folder_outside_the_workspace_is_neither_listed_nor_searched(
    machine: Machine, server: StdioServer, tool: str, path: str
) -> None:
    code = "not_found" if path == "nowhere" else "invalid_path"
    assert_refused(server.call(tool, path=path, regex="x"), code, machine.data_dir)


def test_names_that_are_no_paths_are_told_and_the_rest_is_mirrored(machine: Machine, server: StdioServer) -> None:
    completed = server.call("attempt_completion", result="x")
    assert completed.facts["mirrored"]
    assert "latin-\\xe9.txt" in completed.text
    assert "new\\x0aline.txt" in completed.text
    assert {"file.txt", "dir/file"} <= machine.stored().keys()
    assert not any("line.txt" in path for path in machine.stored())
    assert_fit(completed, machine.data_dir)


def test_what_is_not_text_is_not_read_as_text(machine: Machine, server: StdioServer) -> None:
    assert_refused(server.call("replace_in_file", path="binary.bin", diff=BLOCK), "not_text", machine.data_dir)
    for path in ("binary.bin", "latin.txt"):
        read = server.call("read_file", path=path)
        assert_fit(read, machine.data_dir)
        assert "\ufffd" not in read.text


@pytest.mark.usefixtures("unchanged")
def test_a_file_that_nobody_may_read_is_refused_with_the_reason(machine: Machine, server: StdioServer) -> None:
    run(server, "mkdir closed && echo kept > closed/file && chmod 0 closed/file && chmod 555 closed")
    try:
        assert_refused(server.call("read_file", path="closed/file"), "permission_denied", machine.data_dir)
        refused = server.call("write_to_file", path="closed/other", content="x")
        assert_refused(refused, "permission_denied", machine.data_dir)
    finally:
        run(server, "chmod -R u+rwX closed && rm -r closed")


@pytest.mark.usefixtures("unchanged")
def test_content_over_the_limit_is_refused_whole(server: StdioServer) -> None:
    """Such a message is not read to its end, so it has no result but an error of the protocol, as clients show too."""
    for path in ("file.txt", "larger"):
        request = server.begin_call("write_to_file", {"path": path, "content": "x" * 65 * 1024 * 1024})
        assert "larger than" in server.answer(request)["error"]["message"]
    assert not server.call("read_file", path="file.txt").is_error


def test_a_file_over_the_limit_is_not_read_whole_and_its_name_stays_what_it_is(
    machine: Machine, server: StdioServer
) -> None:
    run(server, "head -c 9000000 /dev/zero | tr '\\0' a > large")
    try:
        refused = server.call("read_file", path="large")
        assert_refused(refused, "too_large", machine.data_dir)
        assert "Large" not in refused.text
    finally:
        run(server, "rm large")


COMMANDS: list[tuple[str, Mapping[str, object], str]] = [
    ("empty", {"command": ""}, "invalid_argument"),
    ("blank", {"command": " \n\t"}, "invalid_argument"),
    ("over-long", {"command": "x" * 200_000}, "invalid_argument"),
    ("NUL", {"command": "echo a\0b"}, "invalid_argument"),
    ("NUL in environment", {"command": "ls", "env": {"A": "\0"}}, "invalid_argument"),
    ("no variable", {"command": "ls", "env": {"A=B": "x"}}, "invalid_argument"),
    ("environment over-long", {"command": "ls", "env": {"A": "x" * 3_000_000}}, "too_large"),
    ("cwd missing", {"command": "ls", "cwd": "nowhere"}, "not_found"),
    ("cwd a file", {"command": "ls", "cwd": "file.txt"}, "not_a_directory"),
    ("cwd NUL", {"command": "ls", "cwd": "a\0b"}, "invalid_argument"),
    ("timeout negative", {"command": "ls", "timeout": -1}, "invalid_argument"),
    ("timeout zero", {"command": "ls", "timeout": 0}, "invalid_argument"),
    ("timeout absurd", {"command": "ls", "timeout": 1e12}, "invalid_argument"),
    ("timeout no number", {"command": "ls", "timeout": "soon"}, "invalid_argument"),
    ("wait negative", {"command": "ls", "wait": -0.5}, "invalid_argument"),
    ("surrogate", {"command": "echo \ud800"}, "invalid_argument"),
]


@pytest.mark.parametrize(("arguments", "code"), [row[1:] for row in COMMANDS], ids=[row[0] for row in COMMANDS])
@pytest.mark.usefixtures("unchanged")
def test_a_command_that_cannot_be_run_is_refused(
    machine: Machine, server: StdioServer, arguments: Mapping[str, object], code: str
) -> None:
    refused = result_of(server.answer(server.begin_call("execute_command", arguments)))
    assert_refused(refused, code, machine.data_dir)


def test_a_gigabyte_of_output_costs_no_memory_and_leaves_its_begin_and_end(
    machine: Machine, server: StdioServer
) -> None:
    printed = server.call("execute_command", command="echo begin; head -c 1G /dev/zero | tr '\\0' x; echo; echo end")
    if printed.facts["state"] == "running":  # on a slow machine
        printed = server.call("check_process", process_id=printed.facts["process_id"], wait=40)
    assert printed.facts["exit_code"] == 0
    assert len(printed.text) <= 40_000
    assert printed.text.rstrip().endswith("end")
    assert printed.facts["omitted_bytes"] > 1_000_000_000
    assert memory_peak_mb(server) < 400
    assert_fit(printed, machine.data_dir, known=machine.files().parent)


MINE = "find /proc -maxdepth 1 -name '[0-9]*' -user $(id -u) | wc -l"


def test_a_fork_bomb_ends_with_its_deadline_and_the_next_command_runs(machine: Machine, server: StdioServer) -> None:
    ended = server.call("execute_command", command="bomb() { bomb | bomb & }; bomb; sleep 60", timeout=3)
    assert ended.facts["state"] == "timed_out"
    assert_fit(ended, machine.data_dir, known=machine.files().parent)
    in_time(lambda: "only" in server.call("execute_command", command="echo only", timeout=5).text)
    in_time(lambda: int(run(server, MINE).text.splitlines()[1]) < 50)


def test_a_command_that_closes_its_pipes_is_waited_for(server: StdioServer) -> None:
    ended = server.call("execute_command", command="exec <&- >&- 2>&-; sleep 1; touch made-late; exit 3")
    assert (ended.facts["state"], ended.facts["exit_code"]) == ("exited", 3)
    run(server, "rm made-late")


def test_one_that_ignores_every_signal_dies_at_its_deadline_with_what_it_started(server: StdioServer) -> None:
    stubborn = "trap '' TERM INT HUP; setsid sh -c \"trap '' TERM HUP; exec sleep 4711\" & while :; do sleep 1; done"
    ended = server.call("execute_command", command=stubborn, timeout=1)
    assert ended.facts["state"] == "timed_out"
    assert server.call("execute_command", command="pgrep -f '[s]leep 4711'").facts["exit_code"] == 1


def test_one_that_ignores_sigterm_is_stopped(server: StdioServer) -> None:
    begun = server.call("execute_command", command="trap '' TERM; echo up; while :; do sleep 1; done", wait=0.5)
    stopped = server.call("stop_process", process_id=begun.facts["process_id"])
    assert stopped.facts["state"] == "killed"


@pytest.mark.parametrize("process_id", ["", "99999", "../1", "1; ls", "x" * 10_000])
def test_a_process_that_there_is_not_is_an_error(machine: Machine, server: StdioServer, process_id: str) -> None:
    for tool in ("check_process", "stop_process"):
        assert_refused(server.call(tool, process_id=process_id), "not_found", machine.data_dir)


@pytest.mark.parametrize("port", [0, -1, 65_536, "web"])
def test_a_port_that_is_none_is_refused(machine: Machine, server: StdioServer, port: object) -> None:
    assert_refused(server.call("get_preview_url", port=port), "invalid_argument", machine.data_dir)


@pytest.mark.parametrize("name", ["", "Upper", "two--hyphens", "-a", "a-", "a" * 41, "a b", "../x", "nul\0", "ü"])
def test_a_workspace_name_that_is_none_is_refused_and_makes_nothing(
    machine: Machine, server: StdioServer, name: str
) -> None:
    for result in (server.call("open_workspace", name=name), server.call("read_file", path="a", workspace=name or "-")):
        assert_refused(result, "invalid_argument", machine.data_dir)
    assert [each["name"] for each in server.call("list_workspaces").facts["workspaces"]] == ["default"]


def test_an_unknown_workspace_cannot_be_deleted(machine: Machine, tmp_path: Path) -> None:
    with a_machine(tmp_path, VAPORFORM_TOOLS="all") as other, other.server() as server:
        refused = server.call("delete_workspace", name="nobodys", confirm=True)
        assert_refused(refused, "not_found", other.data_dir)
        assert server.call("list_workspaces").facts["workspaces"] == []
    assert machine.store_file.exists()


ORIGINS: list[tuple[Mapping[str, object], str]] = [
    ({"git_url": "nonsense"}, "invalid_argument"),
    ({"git_url": "file:///etc"}, "invalid_argument"),
    ({"git_url": "ext::sh -c id"}, "invalid_argument"),
    ({"git_url": "--upload-pack=id"}, "invalid_argument"),
    ({"git_url": "https://user:sEcReT-77@host.invalid/x.git"}, "invalid_argument"),
    ({"git_url": "https://host.invalid/x.git", "branch": "--exec"}, "invalid_argument"),
    ({"branch": "main"}, "invalid_argument"),
    ({"image": "ubuntu"}, "not_supported"),
    ({"snapshot": "prepared"}, "not_supported"),
    ({"public": True}, "not_supported"),
    ({"git_url": "https://host.invalid/x.git"}, "sandbox_unavailable"),
]


@pytest.mark.parametrize("number", range(len(ORIGINS)), ids=[" ".join(sorted(asked)) for asked, _ in ORIGINS])
def test_a_workspace_that_cannot_be_made_as_asked_leaves_nothing_in_the_way(
    machine: Machine, server: StdioServer, number: int
) -> None:
    name = f"asked-{number}"
    asked, code = ORIGINS[number]
    refused = server.call("open_workspace", name=name, **asked)
    assert_refused(refused, code, machine.data_dir, "sEcReT-77")
    assert name not in [each["name"] for each in server.call("list_workspaces").facts["workspaces"]]
    assert server.call("open_workspace", name=name).facts["state"] == "ready"
    machine.destroy_sandbox(WorkspaceName(name))


def test_two_writers_of_one_file_leave_one_of_both_whole(machine: Machine, server: StdioServer) -> None:
    """Two servers, many writes of different length at once: the file is always one of them, never a mixture."""
    contents = [f"{number}" * (100_000 + number * 7_000) for number in range(8)]
    allowed = {digest(content.encode()) for content in contents}
    seen: set[str] = set()
    with machine.server() as second:
        second.call("open_workspace", name="default")
        calls = [
            (each, each.begin_call("write_to_file", {"path": "both.txt", "content": content}))
            for content in contents
            for each in (server, second)
        ]
        watcher = threading.Thread(target=lambda: seen.update(watched(machine)))
        watcher.start()
        results = [result_of(each.answer(request)) for each, request in calls]
        watcher.join()
    assert [result.text for result in results if not result.facts.get("mirrored")] == []
    assert seen <= allowed
    assert server.call("attempt_completion", result="x").facts["mirrored"]
    assert digest(machine.stored()["both.txt"]) == digests_inside(machine)["both.txt"]


def watched(machine: Machine) -> set[str]:
    path = machine.files() / "both.txt"
    return {digest(path.read_bytes()) for _ in range(100) if path.exists()}


def memory_peak_mb(server: StdioServer) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8")
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return peak_kb / 1024


def test_nothing_of_the_servers_environment_is_seen_by_commands_or_told(machine: Machine, server: StdioServer) -> None:
    shown = run(server, "env; cat /proc/1/environ /proc/self/environ | tr '\\0' '\\n'")
    text = shown.text.replace(str(machine.files().parent), "")  # which commands know where there are no namespaces
    for secret in ("sEcReT-77", str(machine.data_dir), machine.environment["HOME"]):
        assert secret not in text
