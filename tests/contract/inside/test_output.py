"""Output in bounded memory, however much there is."""

from __future__ import annotations

from pathlib import Path

from tests.contract.inside.supervised import WAIT_S, Client, Supervised, supervise, until
from vaporform_mcp.sandboxes.supervised.inside.wire import INLINE_BYTES, SPOOL_BYTES

# 8 bytes a line, so that an offset tells what must be there.
NUMBERED = "seq -f %07.0f 0 {last}"


def numbered(start: int, end: int) -> bytes:
    text = b"".join(b"%07d\n" % line for line in range(start // 8, end // 8 + 1))
    return text[start - start // 8 * 8 :][: end - start]


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def test_output_up_to_twice_what_a_reply_holds_is_whole(client: Client) -> None:
    reply = client.run(NUMBERED.format(last=9_000) + f" | head -c {2 * INLINE_BYTES}")
    assert reply.ok.number("omitted_bytes") == 0
    assert reply.data == numbered(0, 2 * INLINE_BYTES)


def test_of_more_the_ends_are_answered_and_the_rest_is_counted(client: Client) -> None:
    total = 70_000 * 8
    reply = client.run(NUMBERED.format(last=69_999))
    head = reply.ok.number("head_bytes")
    assert head == INLINE_BYTES
    assert reply.data[:head] == numbered(0, head)
    assert reply.data[head:] == numbered(total - INLINE_BYTES, total)
    assert reply.ok.number("omitted_bytes") == total - 2 * INLINE_BYTES


def test_more_of_it_is_in_a_file(client: Client) -> None:
    reply = client.run(NUMBERED.format(last=69_999))
    path = reply.ok.text("output_file")
    assert client.say(f"wc -c < {path}") == str(70_000 * 8)


def test_short_output_has_no_file(client: Client) -> None:
    assert client.run("echo short").ok.is_null("output_file")


def test_output_is_read_from_any_offset_and_says_what_is_missing(client: Client) -> None:
    total = SPOOL_BYTES + 2_000_000
    process = client.run(NUMBERED.format(last=9_999_999) + f" | head -c {total}").process_id

    def read(offset: int, limit: int) -> tuple[int, int, int, bytes]:
        reply = client.ask("output", process=process, offset=offset, limit=limit)
        ok = reply.ok
        return ok.number("offset"), ok.number("next_offset"), ok.number("omitted_bytes"), reply.data

    at_seam = INLINE_BYTES - 10
    assert read(at_seam, 20) == (at_seam, at_seam + 20, 0, numbered(at_seam, at_seam + 20))
    assert read(5_000_000, 9) == (5_000_000, 5_000_009, 0, numbered(5_000_000, 5_000_009))
    offset, following, omitted, data = read(SPOOL_BYTES + 5, 100)
    assert omitted == offset - (SPOOL_BYTES + 5) > 0
    assert (following, data) == (offset + 100, numbered(offset, offset + 100))
    assert read(total - 5, 100) == (total - 5, total, 0, numbered(total - 5, total))
    assert read(total, 100) == (total, total, 0, b"")
    assert read(total + 50, 100) == (total, total, 0, b"")


def test_a_gigabyte_is_read_without_memory_or_standing_in_others_way(plain: Supervised) -> None:
    client = plain.attach()
    before = resident_bytes(plain.process.pid)
    run = client.begin("head -c 1000000000 /dev/zero", timeout_s=100)
    answered = 0
    while client.ask("list").ok.objects("processes")[0].text("state") == "running":
        answered += 1
    assert answered > 10
    assert client.answer(run).ok.object("process").number("output_bytes") == 1_000_000_000
    assert resident_bytes(plain.process.pid) - before < 20_000_000


def test_output_is_streamed_in_order_until_the_answer(client: Client) -> None:
    reply = client.run("for i in 1 2 3; do echo $i; sleep 0.05; done", stream=True)
    assert b"".join(data for fields, data in reply.events if fields.text("event") == "output") == b"1\n2\n3\n"


def test_of_a_flood_only_some_is_streamed(client: Client) -> None:
    reply = client.run("head -c 50000000 /dev/zero", stream=True)
    assert 0 < sum(len(data) for _, data in reply.events) < 25_000_000


def test_a_file_that_cannot_be_made_is_done_without(place: Path) -> None:
    (place / "spool").write_text("in the way")
    with supervise(place, level="plain") as supervised:
        reply = supervised.attach().run(NUMBERED.format(last=69_999))
        assert reply.ok.is_null("output_file")
        assert reply.data.startswith(b"0000000\n")


def test_a_full_disk_only_ends_the_file(isolated: Supervised) -> None:
    client = isolated.attach()
    client.say("mkdir -p $SPOOL && ln -s /dev/full $SPOOL/2.log")
    reply = client.run(NUMBERED.format(last=699_999))
    assert reply.ok.object("process").number("output_bytes") == 700_000 * 8
    assert reply.data.endswith(b"0699999\n")


def test_a_file_that_a_command_tampered_with_costs_no_more_than_its_content(plain: Supervised) -> None:
    client = plain.attach()
    reply = client.run(NUMBERED.format(last=699_999))
    Path(reply.ok.text("output_file")).write_bytes(b"")
    read = client.ask("output", process=reply.process_id, offset=1_000_000, limit=100)
    assert read.ok.number("omitted_bytes") > 0
    assert read.data == numbered(read.ok.number("offset"), read.ok.number("next_offset"))


def test_files_of_old_output_are_removed(plain: Supervised) -> None:
    client = plain.attach()
    spool = plain.folder.parent / "spool"
    for _ in range(25):
        client.run(NUMBERED.format(last=9_999))
    until(lambda: len(list(spool.iterdir())) <= 20)


def test_what_a_background_child_prints_is_kept_with_its_command(client: Client) -> None:
    process = client.run("(for i in $(seq 20000); do echo line $i; done; echo last) & true").process_id
    until(lambda: client.ask("list").ok.objects("processes")[0].number("output_bytes") > 200_000)
    total = client.ask("wait", process=process, wait_s=WAIT_S, offset=None).ok.object("process")
    end = client.ask("output", process=process, offset=total.number("output_bytes") - 5, limit=5)
    until(lambda: client.output(process)[:7] == b"line 1\n")
    assert end.ok.number("next_offset") == total.number("output_bytes")
