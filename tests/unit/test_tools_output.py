"""What a command printed, as it is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaporform_mcp.tools.output import MAX_OUTPUT_CHARS, clean, fit, last_line, show


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;196mred\x1b[m", "red"),
        ("\x1b[2K\x1b[1Gline", "line"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://example.com\x1b\\a link\x1b]8;;\x1b\\", "a link"),
        ("\x1b(Btext\x1b7\x1b8", "text"),
        ("10 %\r20 %\r100 %\nready", "100 %\nready"),
        ("working\r", "working"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("ab\x08c", "ac"),
        ("b\x08bo\x08ol\x08ld\x08d", "bold"),
        ("a\x00b\x07c", "abc"),
        ("tab\tand ünïcode ✓", "tab\tand ünïcode ✓"),
        ("a lone \x1b", "a lone "),
    ],
)
def test_terminal_controls_are_not_shown(printed: str, shown: str) -> None:
    assert clean(printed) == shown


@given(st.text(alphabet=st.sampled_from("\x1b[]0123;mK\x07\\\r\n\x08ab ")))
def test_nothing_that_controls_a_terminal_is_left(printed: str) -> None:
    assert not set(clean(printed)) & {"\x1b", "\r", "\x08", "\x07"}


def test_a_short_output_is_shown_whole() -> None:
    shown = show(b"one\n", b"two\n", 0)
    assert (shown.head, shown.tail, shown.omitted_bytes) == ("one\ntwo\n", "", 0)


def test_a_character_on_the_seam_of_head_and_tail_is_whole() -> None:
    encoded = "héllo".encode()
    assert show(encoded[:2], encoded[2:], 0).head == "héllo"


def test_half_characters_beside_a_gap_are_dropped() -> None:
    encoded = "é".encode()
    shown = show(b"a" + encoded[:1], encoded[1:] + b"z", 10)
    assert (shown.head, shown.tail, shown.omitted_bytes) == ("a", "z", 10)


@pytest.mark.parametrize("omitted", [0, 1000])
def test_an_output_over_the_limit_keeps_its_ends_and_counts_what_it_lost(omitted: int) -> None:
    shown = show(b"a" * 50_000, b"z" * 50_000, omitted)
    assert len(shown.head) + len(shown.tail) == MAX_OUTPUT_CHARS
    assert shown.head == "a" * 10_000
    assert shown.tail == "z" * 20_000
    assert shown.omitted_bytes == omitted + 70_000


def test_bytes_that_are_no_text_are_shown_as_replacements() -> None:
    assert show(b"a\xff\xfeb", b"", 0).head == "a\ufffd\ufffdb"


def test_the_last_line_is_the_last_with_something_on_it() -> None:
    assert last_line(b"one\n\x1b[32mtwo\x1b[0m\n\n  \n") == "two"
    assert last_line(b"") == ""
    assert last_line(b"50 %\r60 %") == "60 %"


@given(st.text(max_size=3000), st.integers(min_value=200, max_value=1000))
def test_fitted_text_is_never_over_its_limit(text: str, limit: int) -> None:
    fitted = fit(text, limit)
    assert len(fitted) <= limit
    assert fitted == text or "characters left out" in fitted
