"""Images as clients accept them: decoded to be sure, scaled, and converted where the format is not one of theirs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from vaporform_mcp.tools.spec import ImageContent

if TYPE_CHECKING:  # Pillow takes 50 ms to load, which only reading an image is worth
    from PIL import Image

__all__ = ["MAX_SIDE", "IsNoImage", "Picture", "is_image", "picture"]

MAX_SIDE = 1568
"""Pixels of the longest side: what models see without scaling it down themselves."""

MAX_BYTES = 2_600_000
"""Of the encoded image: 3.5 MB as base64, below what clients refuse."""

MAX_PIXELS = 50_000_000
"""Of the image as it is: up to 400 MB while it is decoded, which happens to one image at a time."""

# No formats whose decoders run programs, follow references or have many of the historical holes.
_READ = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "ICO")
_SENT_AS_IS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
_TYPES = frozenset({
    "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/x-ms-bmp", "image/x-icon",
    "image/vnd.microsoft.icon",
})  # fmt: skip


class IsNoImage(Exception):
    """It cannot be shown; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """`width` and `height` are of the file's image in pixels, `shown` of the content's."""

    content: ImageContent
    width: int
    height: int
    shown: tuple[int, int]


def is_image(mime_type: str) -> bool:
    return mime_type in _TYPES


async def picture(data: bytes) -> Picture:
    """The image in `data`, at most `MAX_SIDE` on a side and `MAX_BYTES` long.

    Raises:
        IsNoImage: it is damaged, of another format, or too large.
    """
    return await anyio.to_thread.run_sync(_picture, data, limiter=_one_at_a_time())


@cache
def _one_at_a_time() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(1)


def _picture(data: bytes) -> Picture:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_READ) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise IsNoImage(f"it has {width} x {height} pixels, more than can be shown")
            kind = opened.format or ""
            as_is = kind in _SENT_AS_IS and max(width, height) <= MAX_SIDE and len(data) <= MAX_BYTES
            if not as_is:
                opened.draft(None, (MAX_SIDE, MAX_SIDE))  # lets a JPEG be decoded at a fraction of its size
            opened.load()
            if as_is:
                content = ImageContent(data=data, mime_type=_SENT_AS_IS[kind])
                return Picture(content=content, width=width, height=height, shown=(width, height))
            upright = ImageOps.exif_transpose(opened)
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise IsNoImage("its content is not an image of its type, or far too large") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:  # what Pillow's decoders raise
        raise IsNoImage(f"it is damaged ({str(error)[:80] or type(error).__name__})") from error
    upright.thumbnail((MAX_SIDE, MAX_SIDE))
    for content in _encodings(upright):
        if len(content.data) <= MAX_BYTES:
            return Picture(content=content, width=width, height=height, shown=upright.size)
    raise IsNoImage("it cannot be made small enough")


def _encodings(image: Image.Image) -> Iterator[ImageContent]:
    """The image encoded, each time smaller."""
    yield _encoded(image, "PNG", "image/png")
    for quality in (85, 60, 30):
        yield _encoded(image.convert("RGB"), "JPEG", "image/jpeg", quality)


def _encoded(image: Image.Image, kind: str, mime_type: str, quality: int = 75) -> ImageContent:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality)
    return ImageContent(data=buffer.getvalue(), mime_type=mime_type)
