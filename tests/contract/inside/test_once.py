"""What the supervisor promises of requests with `once`: done at their first asking, answered at each."""

from __future__ import annotations

from collections.abc import Sequence

from tests.contract.inside.supervised import Client, Supervised, until
from vaporform_mcp.sandboxes.supervised.fields import JsonValue
from vaporform_mcp.sandboxes.supervised.inside.once import MAX_KEPT


def write(client: Client, content: bytes, once: str, expected: Sequence[object] | None = None) -> int:
    stat = None if expected is None else [str(each) if isinstance(each, str) else int(str(each)) for each in expected]
    row: JsonValue = {"path": "file", "mode": None, "kind": "f", "size": len(content), "expected": stat}
    return client.send("write", content, files=[row], once=once)


def test_a_write_asked_anew_is_no_conflict_with_itself(plain: Supervised, client: Client) -> None:
    (made,) = client.answer(write(client, b"one", "a")).ok.objects("files")
    (first,) = client.answer(write(client, b"two", "b", made.items("stat"))).ok.objects("files")
    client.close()
    other = plain.attach()
    (again,) = other.answer(write(other, b"two", "b", made.items("stat"))).ok.objects("files")
    assert again.items("stat") == first.items("stat")


def test_what_its_asker_did_not_wait_for_is_answered_to_whoever_asks_again(plain: Supervised, client: Client) -> None:
    reader = client.ask("run", command="cat > typed", interactive=True, wait_s=0).process_id
    client.send("input", b"once\n", process=reader, eof=True, once="typing")
    client.close()
    other = plain.attach()
    assert other.ask("input", b"once\n", process=reader, eof=True, once="typing").code == ""
    until(lambda: other.run("cat typed").data == b"once\n")


def test_a_refusal_is_the_answer_as_well(client: Client) -> None:
    assert client.answer(write(client, b"one", "a", ["f", 1, 2, 3, 4, 5])).ok.objects("files")[0].object("error")
    client.run("rm -f file")
    assert client.ask("append", b"x", upload=7, once="b").code == "not_found"
    assert client.ask("append", b"x", upload=7, once="b").code == "not_found"


def test_of_the_answers_the_last_are_kept(client: Client) -> None:
    for number in range(MAX_KEPT + 10):
        client.answer(write(client, str(number).encode(), str(number)))
    client.answer(write(client, b"anew", str(MAX_KEPT)))
    assert client.run("cat file").data == str(MAX_KEPT + 9).encode()
    client.answer(write(client, b"anew", "0"))
    assert client.run("cat file").data == b"anew"
