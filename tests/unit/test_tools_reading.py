"""A file as it is shown: whole, in part, from the mirror, as an image, as base64, or in a statement."""

from __future__ import annotations

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.tools.reading import shown_file
from vaporform_mcp.tools.spec import MAX_RESULT_CHARS, ToolResult
from vaporform_mcp.types import WorkspacePath
from vaporform_mcp.workspace.results import FileText

PATH = WorkspacePath("src/a.txt")


def file(content: bytes, mime_type: str = "text/plain") -> FileText:
    return FileText(path=PATH, content=content, mime_type=mime_type, source="sandbox", revision=None, removed=False)


async def read(text: str, start: int | None = None, end: int | None = None) -> ToolResult:
    return await shown_file(file(text.encode()), start, end)


@pytest.mark.parametrize("content", ["one\ntwo\n", "no newline", "\r\n", "\ufeffbom\n", " \n\n", "é✓\tx"])
async def test_a_whole_file_is_exactly_its_text(content: str) -> None:
    result = await read(content)
    assert result.text == content
    assert result.facts == {
        "path": "src/a.txt",
        "size": len(content.encode()),
        "mime_type": "text/plain",
        "encoding": "utf-8",
        "source": "sandbox",
        "truncated": False,
    }


async def test_an_empty_file_is_said_to_be_empty() -> None:
    result = await read("")
    assert result.text == "(the file is empty)"
    assert result.facts["size"] == 0


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (1, 2, "1\n2\n"),
        (2, None, "2\n3\n4"),
        (None, 1, "1\n"),
        (4, 4, "4"),
        (3, 99, "3\n4"),
        (4, None, "4"),
    ],
)
async def test_a_range_of_lines_counts_from_one_and_includes_its_end(
    start: int | None, end: int | None, shown: str
) -> None:
    result = await read("1\n2\n3\n4", start, end)
    assert result.text == shown
    assert result.facts["truncated"] is False


async def test_a_line_beyond_the_end_is_refused_with_the_number_of_lines() -> None:
    with pytest.raises(InvalidArgument, match="has 2 lines, so there is no line 3"):
        await read("a\nb\n", 3)


async def test_a_long_file_is_cut_after_a_line_and_says_how_to_go_on() -> None:
    lines = [f"line {number}\n" for number in range(1, 20_001)]
    result = await read("".join(lines))
    following = result.facts["next_line"]
    assert isinstance(following, int)
    body, _, last = result.text.rpartition("\n")
    assert body + "\n" == "".join(lines[: following - 1])
    assert last == f"[lines 1-{following - 1} of 20000: go on with start_line={following}]"
    assert len(result.text) <= MAX_RESULT_CHARS


async def test_one_very_long_line_is_cut_and_says_how_to_see_the_rest() -> None:
    result = await read("x" * 100_000 + "\nend\n", 1)
    assert result.facts["truncated"] is True
    assert result.facts["next_line"] == 2
    assert "line 1 goes on for 62,000 characters" in result.text
    assert len(result.text) <= MAX_RESULT_CHARS


@given(st.lists(st.text(alphabet="ab\r é", max_size=30), max_size=40), st.booleans())
async def test_reading_on_from_where_it_was_cut_gives_the_whole_file(lines: list[str], ends: bool) -> None:
    # Lines that are repeated until the file takes several answers.
    content = "\n".join(lines * 60) + ("\n" if ends else "")
    pieces: list[str] = []
    following: int | None = 1
    while following is not None and content:
        result = await read(content, following)
        advice = result.text.rfind("[lines ")
        pieces.append(result.text if advice < 0 else result.text[:advice])
        said = result.facts.get("next_line")
        assert said is None or isinstance(said, int)
        following = said
    assert "".join(pieces) == content


async def test_the_mirrors_copy_of_a_removed_file_begins_by_saying_how_to_have_it_back() -> None:
    gone = FileText(path=PATH, content=b"old\n", mime_type="text/plain", source="mirror", revision=7, removed=True)
    result = await shown_file(gone, None, None)
    first, _, rest = result.text.partition("\n")
    assert "gone from the sandbox" in first
    assert "revision 7" in first
    assert "write_to_file" in first
    assert rest == "old\n"
    assert result.facts["source"] == "mirror"
    assert result.facts["revision"] == 7


async def test_the_mirrors_copy_while_the_sandbox_is_out_of_reach_begins_by_saying_so() -> None:
    away = FileText(path=PATH, content=b"old\n", mime_type="text/plain", source="mirror", revision=7, removed=False)
    assert (await shown_file(away, None, None)).text.startswith("[The sandbox could not be reached.")


async def test_an_image_is_shown_as_an_image_with_a_line_about_it() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2000, 1000)).save(buffer, "PNG")
    result = await shown_file(file(buffer.getvalue(), "image/png"), None, None)
    assert result.text == f"src/a.txt: image/png, 2000 x 1000, {len(buffer.getvalue()):,} bytes, shown as 1568 x 784"
    assert [image.mime_type for image in result.images] == ["image/png"]
    assert result.facts["encoding"] == "base64"


async def test_a_damaged_image_is_a_binary_file_with_a_reason() -> None:
    result = await shown_file(file(b"\x89PNG\r\n\x1a\n\x00\x00", "image/png"), None, None)
    assert result.images == ()
    assert "not shown as an image" in result.text


async def test_svg_is_text() -> None:
    assert (await shown_file(file(b"<svg/>", "image/svg+xml"), None, None)).text == "<svg/>"


async def test_a_small_binary_file_is_given_as_base64() -> None:
    content = bytes(range(256))
    result = await shown_file(file(content, "application/octet-stream"), None, None)
    statement, _, body = result.text.partition("\n")
    assert statement.startswith("src/a.txt is not UTF-8 text: application/octet-stream, 256 bytes.")
    assert base64.b64decode(body) == content
    assert result.facts["encoding"] == "base64"
    assert result.facts["truncated"] is False


async def test_a_large_binary_file_is_a_statement_that_says_how_to_look_at_it() -> None:
    result = await shown_file(file(b"\x00" * 100_000, "application/zip"), None, None)
    assert "application/zip, 100,000 bytes" in result.text
    assert "execute_command" in result.text
    assert len(result.text) < 500
    assert result.facts["truncated"] is True


async def test_text_with_a_nul_is_not_shown_as_text() -> None:
    assert "not UTF-8 text" in (await shown_file(file(b"a\x00b"), None, None)).text
