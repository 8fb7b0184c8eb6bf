"""Images as clients are given them."""

from __future__ import annotations

import io
import random
import struct
import zlib

import pytest
from PIL import Image

from vaporform_mcp.tools.images import MAX_BYTES, MAX_SIDE, IsNoImage, is_image, picture


def encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
async def test_a_small_image_of_a_format_that_clients_take_is_sent_as_it_is(kind: str) -> None:
    data = encoded(Image.new("RGB", (40, 30), "red"), kind)
    shown = await picture(data)
    assert shown.content.data == data
    assert shown.content.mime_type == f"image/{kind.lower()}"
    assert (shown.width, shown.height, shown.shown) == (40, 30, (40, 30))


@pytest.mark.parametrize("kind", ["BMP", "ICO"])
async def test_another_format_becomes_png(kind: str) -> None:
    shown = await picture(encoded(Image.new("RGB", (32, 32), "blue"), kind))
    assert shown.content.mime_type == "image/png"
    assert decoded(shown.content.data).size == (32, 32)


@pytest.mark.parametrize("size", [(4000, 1000), (1000, 4000), (1569, 10)])
async def test_a_large_image_is_scaled_down_with_its_proportions(size: tuple[int, int]) -> None:
    shown = await picture(encoded(Image.new("RGB", size, "green"), "JPEG"))
    sent = decoded(shown.content.data)
    assert (shown.width, shown.height) == size
    assert sent.size == shown.shown
    assert max(sent.size) == MAX_SIDE
    assert abs(sent.size[0] / sent.size[1] - size[0] / size[1]) <= 0.2 * size[0] / size[1]


async def test_an_image_that_png_cannot_make_small_becomes_jpeg() -> None:
    noise = random.Random(1).randbytes(1500 * 1500 * 3)  # noqa: S311 the same on every run
    shown = await picture(encoded(Image.frombytes("RGB", (1500, 1500), noise), "PNG", compress_level=0))
    assert shown.content.mime_type == "image/jpeg"
    assert len(shown.content.data) <= MAX_BYTES


async def test_transparency_and_palettes_survive_scaling() -> None:
    image = Image.new("RGBA", (2000, 20), (255, 0, 0, 0))
    sent = decoded((await picture(encoded(image, "PNG"))).content.data)
    assert sent.mode == "RGBA"
    assert sent.getchannel("A").getextrema() == (0, 0)
    await picture(encoded(Image.new("P", (2000, 20)), "GIF"))


async def test_a_photograph_is_shown_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by a quarter
    buffer = io.BytesIO()
    Image.new("RGB", (3000, 200), "red").save(buffer, "JPEG", exif=exif)
    shown = await picture(buffer.getvalue())
    assert shown.shown[0] < shown.shown[1]


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        b"\x89PNG\r\n\x1a\n",
        encoded(Image.new("RGB", (100, 100)), "PNG")[:80],
        encoded(Image.new("RGB", (500, 500)), "JPEG")[:600],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        bomb(60_000, 60_000),
        bomb(10_000, 8_000),
        bomb(100, 100),
    ],
    ids=["empty", "text", "magic", "cut-png", "cut-jpeg", "postscript", "huge-bomb", "bomb", "no-pixels"],
)
async def test_what_cannot_be_shown_says_so(data: bytes) -> None:
    with pytest.raises(IsNoImage):
        await picture(data)


def test_only_pictures_count_as_images() -> None:
    assert is_image("image/png")
    assert not is_image("image/svg+xml")
    assert not is_image("text/plain")
