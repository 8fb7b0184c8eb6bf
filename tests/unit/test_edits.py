"""SEARCH/REPLACE edits and the diffs that show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaporform_mcp.edits import Block, Edited, apply, parse, unified
from vaporform_mcp.errors import Ambiguous, InvalidArgument, NotFound, VaporformError


def diff(*changes: tuple[str, str]) -> str:
    """Each text is whole lines, ended or not; an empty one is no line at all."""
    blocks = [["------- SEARCH", *_body(old), "=======", *_body(new), "+++++++ REPLACE"] for old, new in changes]
    return "\n".join(line for block in blocks for line in block) + "\n"


def _body(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def edit(text: str, *changes: tuple[str, str]) -> str:
    return apply(text, parse(diff(*changes)), path="src/app.py").text


# Parsing ---------------------------------------------------------------------------------------------------------


def test_a_block_is_its_search_and_its_replacement() -> None:
    assert parse(diff(("a\nb", "c"))) == [Block(search=("a", "b"), replace=("c",))]


@pytest.mark.parametrize(
    ("opening", "cut", "closing"),
    [
        ("------- SEARCH", "=======", "+++++++ REPLACE"),
        ("--- SEARCH", "===", "+++ REPLACE"),
        ("---------- SEARCH>", "=========", "++++++++ REPLACE>"),
        ("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"),
        ("<<<< SEARCH>", "====", ">>> REPLACE>"),
        ("------- SEARCH", "=======", ">>>>>>> REPLACE"),
        ("------- SEARCH  ", "======= ", "+++++++ REPLACE\t"),
    ],
)
def test_each_usual_spelling_of_the_markers_is_understood(opening: str, cut: str, closing: str) -> None:
    assert parse("\n".join([opening, "a", cut, "b", closing])) == [Block(search=("a",), replace=("b",))]


def test_words_and_fences_around_the_blocks_are_ignored() -> None:
    blocks = parse("Here it is:\n```diff\n" + diff(("a", "b")) + "\nand\n" + diff(("c", "d")) + "```\n")
    assert [block.search for block in blocks] == [("a",), ("c",)]


def test_windows_line_endings_in_the_diff_are_no_part_of_the_lines() -> None:
    assert parse(diff(("a", "b")).replace("\n", "\r\n")) == [Block(search=("a",), replace=("b",))]


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "just words",
        "------- SEARCH\na\n=======\nb\n",
        "------- SEARCH\na\n+++++++ REPLACE\n",
        "a\n=======\nb\n+++++++ REPLACE\n",
        "------- SEARCH\na\n=======\nb\n------- SEARCH\nc\n=======\nd\n+++++++ REPLACE\n",
        diff(("a", "b")) + "=======\nc\n+++++++ REPLACE\n",
        "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
    ],
)
def test_a_malformed_diff_is_refused_with_the_right_form(malformed: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse(malformed)
    assert "nothing was changed" in str(refused.value)
    assert parse(refused.value.hint.split(":\n", 1)[1])


# Exact matches ---------------------------------------------------------------------------------------------------


def test_exact_lines_are_replaced() -> None:
    edited = apply("a\nb\nc\n", parse(diff(("b", "B\nBB"))))
    assert edited == Edited(text="a\nB\nBB\nc\n", replacements=1)


def test_an_empty_replacement_removes_the_lines() -> None:
    assert edit("a\nb\nc\n", ("b", "")) == "a\nc\n"
    assert edit("a\n", ("a", "")) == ""


def test_only_whole_lines_match() -> None:
    with pytest.raises(NotFound):
        edit("total = max(a, b)\n", ("b)", "c)"))


def test_of_several_equal_places_the_first_is_taken_and_the_result_says_so() -> None:
    edited = apply("x\na\nx\n", parse(diff(("x", "y"))))
    assert edited.text == "y\na\nx\n"
    assert edited.notes == ("block 1 of 1 matched line 1, one of several equal places",)


def test_the_first_place_after_the_previous_block_is_taken() -> None:
    assert edit("x\nhere\nx\nx\n", ("here", "here"), ("x", "y")) == "x\nhere\ny\nx\n"


def test_equal_blocks_replace_one_place_each() -> None:
    assert edit("x\na\nx\n", ("x", "1"), ("x", "2")) == "1\na\n2\n"


def test_blocks_out_of_order_are_found_from_the_start() -> None:
    assert edit("a\nb\nc\n", ("c", "C"), ("a", "A")) == "A\nb\nC\n"


def test_a_block_is_compared_with_the_file_as_it_was() -> None:
    with pytest.raises(NotFound):
        edit("a\n", ("a", "b"), ("b", "c"))


def test_two_blocks_for_the_same_lines_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"block 2 of 2: .* at lines 2-3 .* earlier block"):
        edit("a\nb\nc\n", ("a\nb", "x"), ("b\nc", "y"))


# Endings, marks, empty files -------------------------------------------------------------------------------------


def test_windows_line_endings_stay() -> None:
    assert edit("a\r\nb\r\nc\r\n", ("b", "B\nBB")) == "a\r\nB\r\nBB\r\nc\r\n"


def test_in_a_mixed_file_each_line_keeps_its_ending() -> None:
    assert edit("a\r\nb\nc\r\n", ("b", "B")) == "a\r\nB\nc\r\n"


def test_a_missing_final_newline_stays_missing() -> None:
    assert edit("a\nb", ("b", "c\nd")) == "a\nc\nd"
    assert edit("a\r\nb", ("b", "c\nd")) == "a\r\nc\r\nd"
    assert edit("a\nb", ("b", "")) == "a"
    assert edit("a", ("a", "b")) == "b"


def test_a_byte_order_mark_stays_and_is_not_doubled() -> None:
    assert edit("\ufeffa\nb\n", ("a", "A")) == "\ufeffA\nb\n"
    assert edit("\ufeffa\nb\n", ("\ufeffa", "\ufeffA")) == "\ufeffA\nb\n"


def test_characters_that_only_look_like_line_ends_are_content() -> None:
    assert edit("a\x0c\u2028b\x85\nc\n", ("c", "d")) == "a\x0c\u2028b\x85\nd\n"


@pytest.mark.parametrize("empty", ["", "\n", "  \n"])
def test_an_empty_search_gives_an_empty_file_its_content(empty: str) -> None:
    assert edit(empty, ("", "a\nb")) == "a\nb\n"
    assert edit(empty, ("\n", "a\nb")) == "a\nb\n"


def test_an_empty_search_keeps_the_mark_of_an_empty_file() -> None:
    assert edit("\ufeff", ("", "a")) == "\ufeffa\n"


@pytest.mark.parametrize("search", ["", "\n", "  \n\t"])
def test_an_empty_search_in_a_file_with_content_is_refused(search: str) -> None:
    with pytest.raises(InvalidArgument, match=r"SEARCH is empty, but src/app\.py is not") as refused:
        edit("a\n\nb\n", (search, "c"))
    assert "write_to_file" in refused.value.hint


# Separators inside content ---------------------------------------------------------------------------------------


def test_headings_underlined_with_the_separator_can_be_edited() -> None:
    text = "Title\n=======\n\nwords\n"
    assert edit(text, ("Title\n=======", "New\n=======")) == "New\n=======\n\nwords\n"
    assert edit(text, ("words", "Part\n=======\nwords")) == "Title\n=======\n\nPart\n=======\nwords\n"
    assert edit("Title\n=====\n", ("Title\n=====", "New\n===")) == "New\n===\n"


def test_a_new_file_may_hold_the_separator() -> None:
    assert edit("", ("", "Title\n=======\nwords")) == "Title\n=======\nwords\n"


def test_a_merge_conflict_can_be_resolved() -> None:
    conflict = "<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> branch"
    assert edit(f"a\n{conflict}\nb\n", (conflict, "both")) == "a\nboth\nb\n"


def test_markers_of_the_other_style_are_content() -> None:
    inner = "<<<<<<< SEARCH\na\n>>>>>>> REPLACE"
    assert edit(f"{inner}\n", (inner, "b")) == "b\n"


# Tolerance -------------------------------------------------------------------------------------------------------


def test_whitespace_at_line_ends_does_not_hide_a_match() -> None:
    edited = apply("a  \nb\t\nc\n", parse(diff(("a\nb ", "x"))))
    assert edited.text == "x\nc\n"
    assert edited.notes == ("block 1 of 1 matched lines 1-2 but for whitespace at line ends",)


def test_a_match_but_for_indentation_takes_the_indentation_of_the_file() -> None:
    text = "class A:\n    def f(self):\n        return 1\n"
    assert (
        edit(text, ("def f(self):\n    return 1", "def f(self):\n    if x:\n        return 2\n\n    return 1"))
        == "class A:\n    def f(self):\n        if x:\n            return 2\n\n        return 1\n"
    )


def test_a_first_line_that_lost_its_indentation_is_put_right() -> None:
    text = "def f():\n    a = 1\n    b = 2\n"
    assert (
        edit(text, ("a = 1\n    b = 2", "a = 3\n    b = 4\n    c = 5")) == "def f():\n    a = 3\n    b = 4\n    c = 5\n"
    )


def test_too_much_indentation_is_taken_away() -> None:
    text = "if a:\n    b()\nc()\n"
    wanted = "        if a:\n            b()"
    assert edit(text, (wanted, wanted + "\n            d()")) == "if a:\n    b()\n    d()\nc()\n"


def test_a_replacement_shallower_than_the_search_moves_as_far() -> None:
    assert edit("if a:\n        b()\n", ("    b()", "c()")) == "if a:\n    c()\n"


def test_spaces_become_the_tabs_of_the_file() -> None:
    text = "func f() {\n\tif a {\n\t\tb()\n\t}\n}\n"
    old = "    if a {\n        b()\n    }"
    new = "    if a {\n        for {\n            b()\n        }\n    }"
    assert edit(text, (old, new)) == "func f() {\n\tif a {\n\t\tfor {\n\t\t\tb()\n\t\t}\n\t}\n}\n"


def test_a_replacement_stays_as_it_is_where_the_lines_moved_differently() -> None:
    text = "  a\n    b\n"
    assert edit(text, ("a\nb", "c\n  d")) == "c\n  d\n"


def test_places_that_differ_in_whitespace_only_are_ambiguous() -> None:
    with pytest.raises(Ambiguous, match=r"fits line 1, line 3; nothing was changed"):
        edit("  x = 1\ny\n    x = 1\n", ("x = 1", "x = 2"))


def test_a_place_that_an_earlier_block_took_is_not_counted() -> None:
    assert edit("  x\ny\n    x\n", ("  x", "  1"), ("x", "2")) == "  1\ny\n    2\n"


def test_equal_first_and_last_lines_find_a_block_that_is_nearly_right() -> None:
    text = "def f(a):\n    total = a + 1\n    return total\n"
    edited = apply(text, parse(diff(("def f(a):\n    total = a + 2\n    return total", "def f(a):\n    return a"))))
    assert edited.text == "def f(a):\n    return a\n"
    assert edited.notes == ("block 1 of 1 matched lines 1-3 by its first and last line",)


def test_equal_first_and_last_lines_are_not_enough_where_the_rest_is_another_text() -> None:
    with pytest.raises(NotFound):
        edit("{\n  something: else_entirely()\n}\n", ("{\n  12345\n}", "{}"))


def test_two_nearly_right_blocks_are_ambiguous() -> None:
    with pytest.raises(Ambiguous, match="lines 1-3, lines 4-6"):
        edit("begin\n  value 1\nend\nbegin\n  value 2\nend\n", ("begin\n  value 3\nend", "x"))


# Failures --------------------------------------------------------------------------------------------------------


def failure(text: str, *changes: tuple[str, str]) -> VaporformError:
    with pytest.raises(VaporformError) as failed:
        edit(text, *changes)
    return failed.value


def test_a_miss_shows_the_nearest_lines_and_what_differs() -> None:
    text = "import os\n\ndef add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n"
    message = str(failure(text, ("def add(a, b):\n    return a + c", "x")))
    assert "block 1 of 1: its SEARCH text is not in src/app.py; nothing was changed" in message
    assert "lines 3-4" in message
    assert "      -     return a + c\n     4 +     return a + b" in message


def test_a_miss_names_characters_that_look_alike() -> None:
    assert "the file has U+2019 where SEARCH has U+0027" in str(failure("say(\u2019x\u2019)\n", ("say('x')", "y")))


def test_a_miss_says_when_nothing_is_like_it() -> None:
    assert "Nothing in the file is much like it" in str(failure("a\nb\n", ("entirely different", "y")))
    assert "Nothing in the file is much like it" in str(failure("", ("entirely different", "y")))


def test_a_change_that_was_already_made_is_recognised() -> None:
    assert "already there, at line 2" in str(failure("a\nnew = 1\n", ("old = 1", "new = 1")))


def test_line_numbers_copied_into_the_search_are_recognised() -> None:
    message = str(failure("alpha beta\ngamma\n", ("1 | alpha beta\n2 | gamma", "x")))
    assert "line numbers, which are not part of the file" in message


def test_several_failing_blocks_are_told_at_once_and_nothing_is_applied() -> None:
    message = str(failure("a\nb\n", ("a", "A"), ("none of it", "x"), ("b", "B"), ("nor that", "y")))
    assert "block 2 of 4" in message
    assert "block 4 of 4" in message
    assert "block 1" not in message


def test_messages_stay_short_whatever_the_block_and_the_file_are() -> None:
    long_line = "word " * 5_000
    text = "\n".join(f"{number} {long_line}" for number in range(300))
    wanted = "\n".join(f"{number} {long_line}x" for number in range(200, 500))
    changes = [(wanted + str(number), "x") for number in range(10)]
    error = failure(text, *changes)
    assert len(str(error)) < 15_000
    assert "the blocks after it were not looked for" in str(error)


# Properties ------------------------------------------------------------------------------------------------------

line = st.text(alphabet="ab {}\t=-é", max_size=6)
ending = st.sampled_from(["\n", "\r\n"])


@given(st.lists(st.tuples(line, ending), min_size=1, max_size=12), st.booleans(), st.data())
def test_replacing_lines_changes_those_lines_alone(
    numbered: list[tuple[str, str]], ended: bool, data: st.DataObject
) -> None:
    lines = [f"{number}:{text}" for number, (text, _) in enumerate(numbered)]  # unique, so the place is certain
    ends = [end for _, end in numbered]
    start = data.draw(st.integers(0, len(lines) - 1))
    stop = data.draw(st.integers(start + 1, len(lines)))
    new = data.draw(st.lists(line.map(lambda text: f"new {text}"), max_size=4))

    def text_of(parts: list[tuple[str, str]]) -> str:
        whole = "".join(text + end for text, end in parts)
        return whole if ended or not parts else whole.removesuffix("\n").removesuffix("\r")

    before = text_of(list(zip(lines, ends, strict=True)))
    only_unended_line = start == len(lines) - 1 and not ended
    end = ends[start] if not only_unended_line else max(ends[:-1] or ["\n"], key=ends[:-1].count)
    parts = [*zip(lines[:start], ends[:start], strict=True), *((text, end) for text in new)]
    expected = text_of([*parts, *zip(lines[stop:], ends[stop:], strict=True)])
    block = Block(search=tuple(lines[start:stop]), replace=tuple(new))
    assert apply(before, [block]).text == expected


@given(
    st.lists(st.text(alphabet="ab", max_size=2), max_size=10).map("\n".join),
    st.lists(st.tuples(line, line), max_size=3),
)
def test_an_edit_gives_a_text_or_one_of_our_errors(text: str, changes: list[tuple[str, str]]) -> None:
    blocks = [Block(search=tuple(old.split("\n")), replace=tuple(new.split("\n"))) for old, new in changes]
    try:
        outcome = apply(text, blocks).replacements == len(blocks)
    except VaporformError as error:
        outcome = bool(error.hint)
    assert outcome


@given(st.text(alphabet="ab\n\r=-+<> SEARCHPLACE", max_size=80))
def test_any_diff_is_parsed_or_refused(text: str) -> None:
    try:
        outcome = bool(parse(text))
    except InvalidArgument as error:
        outcome = bool(error.hint)
    assert outcome


# Unified diffs ---------------------------------------------------------------------------------------------------


def test_equal_texts_have_no_diff() -> None:
    assert unified("a\n", "a\n", "x") == ""


def test_a_diff_shows_the_change_with_its_context() -> None:
    before = "".join(f"{number}\n" for number in range(1, 11))
    assert unified(before, before.replace("5\n", "five\n"), "n.txt") == (
        "--- n.txt\n+++ n.txt\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8"
    )


def test_a_diff_tells_of_a_final_newline() -> None:
    assert unified("a", "a\n", "x") == "--- x\n+++ x\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a"


def test_a_new_file_is_all_added() -> None:
    assert unified("", "a\nb\n", "x") == "--- x\n+++ x\n@@ -0,0 +1,2 @@\n+a\n+b"


def test_a_long_diff_is_cut_at_a_line_and_says_how_much_is_missing() -> None:
    cut = unified("", "line\n" * 2_000, "x")
    assert 7_900 < len(cut) <= 8_040
    assert cut.splitlines()[-1].endswith("more lines of diff)")


def test_a_rewritten_large_file_is_not_compared() -> None:
    before = "".join(f"{number}\n" for number in range(5_000))
    after = "".join(f"{number}x\n" for number in range(5_000))
    assert unified(before, after, "x").splitlines()[2:] == ["@@ -1,5000 +1,5000 @@ (too many changed lines to show)"]


def test_a_small_change_in_a_large_file_is_shown() -> None:
    before = "".join(f"{number}\n" for number in range(50_000))
    assert "\n-40000\n+x\n" in unified(before, before.replace("\n40000\n", "\nx\n"), "x")


@given(*[st.lists(st.sampled_from(["a\n", "b\n", "c\n"]), max_size=30).map("".join)] * 2)
def test_applying_the_diff_gives_the_new_text(before: str, after: str) -> None:
    shown = unified(before, after, "x").splitlines()
    assert bool(shown) is (before != after)
    assert _patched(before.splitlines(keepends=True), shown) == after


def _patched(lines: list[str], rows: list[str]) -> str:
    """Apply a unified diff by its own numbers, as `patch` would."""
    result: list[str] = []
    at = 0
    for row in rows[2:]:
        if row.startswith("@@"):
            first, _, size = row.split()[1][1:].partition(",")
            start = int(first) - (0 if size == "0" else 1)
            result += lines[at:start]
            at = start
        elif row.startswith("+"):
            result.append(row[1:] + "\n")
        else:
            assert lines[at] == row[1:] + "\n"
            result += lines[at : at + 1] if row.startswith(" ") else []
            at += 1
    return "".join(result + lines[at:])
