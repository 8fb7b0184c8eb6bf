"""What the supervisor promises of runs that have a key: begun once, asked for often, held by no connection."""

from __future__ import annotations

from tests.contract.inside.supervised import Client, Supervised, until


def run(client: Client, command: str, key: str = "one", **fields: float | str | bool | None) -> int:
    terms: dict[str, float | str | bool | None] = {"wait_s": 20, "last": True, **fields}
    return client.send("run", b"", command=command, key=key, **terms)


def test_a_run_asked_for_twice_runs_once_and_answers_twice(client: Client) -> None:
    first = client.answer(run(client, "echo x >> file; cat file"))
    again = client.answer(run(client, "echo x >> file; cat file"))
    assert (first.data, again.data) == (b"x\n", b"x\n")
    assert first.process_id == again.process_id
    assert client.run("cat file").data == b"x\n"


def test_an_answer_that_was_lost_is_had_by_another_connection(plain: Supervised, client: Client) -> None:
    run(client, "sleep 0.2; echo said")
    client.close()
    answer = plain.attach().ask("join", key="one", wait_s=20, last=True)
    assert (answer.state, answer.data) == ("exited", b"said\n")


def test_a_wait_that_is_not_the_last_answers_that_it_runs_and_nothing_more(client: Client) -> None:
    answer = client.answer(run(client, "echo said; sleep 50", wait_s=1.2, last=False))
    assert (answer.state, answer.ok.flag("full"), answer.data) == ("running", False, b"")


def test_output_is_answered_from_where_the_server_has_read(client: Client) -> None:
    first = client.answer(run(client, "echo one; sleep 0.3; echo two; sleep 50", offset=0, settle_s=0))
    assert first.data == b"one\n"
    second = client.ask("join", key="one", wait_s=20, offset=first.ok.number("next_offset"), settle_s=0)
    assert (second.data, second.ok.flag("full")) == (b"two\n", False)


def test_a_run_that_nobody_asks_for_any_more_is_killed(client: Client) -> None:
    started = client.answer(run(client, "sleep 431", wait_s=0, last=False, lease_s=0.1))
    until(lambda: client.ask("wait", process=started.process_id, wait_s=0, offset=None).state == "killed")


def test_a_run_whose_wait_has_ended_goes_on(plain: Supervised, client: Client) -> None:
    started = client.answer(run(client, "sleep 432", wait_s=0, lease_s=None))
    client.close()
    assert plain.attach().ask("wait", process=started.process_id, wait_s=0.3, offset=None).state == "running"


def test_a_run_that_cannot_start_says_so_to_all_who_ask(client: Client) -> None:
    for _ in range(2):
        assert client.answer(run(client, "true", cwd="nowhere", wait_s=0)).code == "not_found"
    assert client.ask("list").ok.objects("processes") == []


def test_a_run_is_cancelled_by_its_key(client: Client) -> None:
    number = run(client, "sleep 433")
    assert client.ask("cancel", key="one").code == ""
    assert client.answer(number).state == "killed"


def test_a_run_that_was_cancelled_before_it_came_does_not_begin(client: Client) -> None:
    assert client.ask("cancel", key="one").code == ""
    assert client.answer(run(client, "touch begun")).code == "not_found"
    assert client.run("ls").data == b""


def test_a_run_whose_last_answer_nobody_got_is_killed_and_one_that_was_told_in_full_goes_on(
    plain: Supervised, client: Client
) -> None:
    told = client.answer(run(client, "sleep 434", "told", wait_s=0, lease_s=0.1)).process_id
    run(client, "sleep 435", "untold", lease_s=0.1)
    other = plain.attach()
    until(lambda: len(other.ask("list").ok.objects("processes")) == 2)
    client.close()

    def states() -> set[tuple[str, str]]:
        return {(each.text("command"), each.text("state")) for each in other.ask("list").ok.objects("processes")}

    until(lambda: ("sleep 435", "killed") in states())
    assert other.ask("wait", process=told, wait_s=0.3, offset=None).state == "running"


def test_a_key_that_is_not_known_cannot_be_waited_for(client: Client) -> None:
    assert client.ask("join", key="never", wait_s=0, last=True).code == "not_found"
