"""Without namespaces commands reach no process but their own, and none of them is left over."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.contract.inside.supervised import (
    ONLY_INSIDE,
    SUPERVISOR,
    WAIT_S,
    Supervised,
    children,
    supervise,
    until,
)

pytestmark = pytest.mark.usefixtures("landlock")


def test_it_starts_as_an_unprivileged_user_without_any_capability(each: Supervised) -> None:
    lines = each.attach().say("cat /proc/self/status").splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
    if os.geteuid() == 0:
        assert (int(status["CapBnd"], 16), status["Groups"]) == (0, "")


def test_neither_the_supervisor_nor_a_thread_of_it_can_be_signalled(each: Supervised) -> None:
    client = each.attach()
    tries = f"for t in /proc/{SUPERVISOR}/task/*; do kill -0 ${{t##*/}} && echo reached; done 2>&1; true"
    said = client.say(tries).splitlines()
    assert len(said) > 4
    assert "reached" not in said


BY_FOLDER = """
import os, signal, sys
for number in sys.argv[1:]:
    try:
        signal.pidfd_send_signal(os.open(f"/proc/{number}", os.O_RDONLY | os.O_DIRECTORY), signal.SIGKILL)
        print("reached")
    except OSError as error:
        print(error.strerror)
"""


def test_a_folder_of_proc_signals_neither_the_supervisor_nor_its_threads(each: Supervised) -> None:
    client = each.attach()
    threads = client.say(f"ls /proc/{SUPERVISOR}/task").split()
    assert set(client.python(BY_FOLDER, *threads).splitlines()) == {"Function not implemented"}
    assert client.say("echo alive") == "alive"


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


def test_with_its_guard_everything_dies(each: Supervised) -> None:
    kill_the_supervisor(each, "true", guard=True)


RACING = """
import os, signal, sys
supervisor = int(sys.argv[1])
def state(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[:2]
    except OSError:
        return ["X", "0"]
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
for each in range(3):
    os.close(each)
keepers = [int(name) for name in os.listdir("/proc") if name.isdigit() and state(name)[1] == str(supervisor)]
open("pids", "w").write(f"{os.getpid()}\\n" * 4)
while state(supervisor)[0] not in "ZX":
    pass
for keeper in keepers:
    try:
        os.kill(keeper, signal.SIGKILL)
    except OSError:
        pass
signal.pause()
"""


def test_with_the_supervisor_dies_even_what_waits_for_that_to_kill_every_keeper(each: Supervised) -> None:
    (each.folder / "racing.py").write_text(RACING)
    kill_the_supervisor(each, f"env -i /usr/bin/env python3 -I racing.py {SUPERVISOR}")


def test_with_the_supervisor_dies_even_what_has_just_lost_its_keeper(one: Supervised) -> None:
    kill_the_supervisor(one, "kill -KILL $PPID")


def kill_the_supervisor(each: Supervised, first: str, *, guard: bool = False) -> None:
    """With commands that hide, one of which does `first`; and see that nothing is left."""
    client = each.attach()
    hidden = "(env -i setsid sleep 777 &) ; (trap '' HUP TERM; setsid sleep 777 &)"
    for _ in range(2):
        client.run(f"echo $$ >> ../workspace/pids; {hidden}; pgrep -s 0 >> pids; sleep 777", wait_s=0)
    client.run("sleep 777 & echo $! >> pids; setsid sleep 777 & echo $! >> pids; " + first, wait_s=0)
    pids = each.folder / "pids"
    until(lambda: pids.exists() and pids.read_text().count("\n") >= 4)
    (supervisor,) = children(each.process.pid)
    keepers = children(int(supervisor))
    os.kill(each.process.pid if guard else int(supervisor), signal.SIGKILL)
    for pid in [*pids.read_text().split(), *keepers, supervisor]:
        until(lambda pid=pid: is_gone(pid))


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
    assert one.attach().python(text) == "[-1]"
    assert one.attach().run("ls /dev/pts /dev/shm").exit_code == 2


def test_what_programs_need_is_there(one: Supervised) -> None:
    text = "import multiprocessing as m; print(m.Pool(2).map(abs, [-1, 2]), m.Lock())"
    assert one.attach().python(text).startswith("[1, 2]")
    assert one.attach().say("mkdir a b; touch a/x; ln a/x b/y; mv a/x b/x; mkfifo f; ls b; cat <(echo z)") == "x\ny\nz"


def test_a_kernel_that_cannot_is_told_in_one_line(place: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root's sandboxes are kept from others' files by their user")
    with (
        pytest.raises(AssertionError, match="restricted: landlock: version 2 is too old, 3 is needed"),
        supervise(place, level="restricted", restricted={"abi": 2}) as supervised,
    ):
        until(supervised.has_ended)
