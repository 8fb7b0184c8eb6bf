"""How values are written in results, everywhere the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.sandboxes.base import Preview
    from vaporform_mcp.workspace.results import MirrorState, Written

from vaporform_mcp.tools.arguments import Json

__all__ = [
    "count",
    "duration",
    "mirror_facts",
    "mirror_line",
    "moment",
    "paragraphs",
    "preview_facts",
    "preview_line",
    "size",
    "written_line",
]


def paragraphs(*parts: str) -> str:
    """The parts that say something, each on lines of its own."""
    return "\n".join(part.rstrip("\n") for part in parts if part)


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(size_bytes: int) -> str:
    """1,234 as "1.2 KB", for lists; what is read closely gives bytes."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    amount = float(size_bytes)
    for unit in ("KB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def duration(milliseconds: int) -> str:
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def moment(timestamp: float) -> str:
    """Seconds since the Unix epoch as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def preview_facts(preview: Preview) -> dict[str, Json]:
    facts: dict[str, Json] = {"port": preview.port, "url": preview.url, "public": preview.public}
    if preview.expires_at is not None:
        facts["expires_at"] = moment(preview.expires_at)
    if preview.sleeps_min is not None:
        facts["sleeps_after_min"] = preview.sleeps_min
    return facts


def preview_line(preview: Preview) -> str:
    reach = "only this computer" if preview.expires_at is None and not preview.public else "anyone with the URL"
    until = f" until {moment(preview.expires_at)}" if preview.expires_at is not None else ""
    sleeps = f"; sleeps after {preview.sleeps_min} minutes without use" if preview.sleeps_min is not None else ""
    return f"Preview of port {preview.port}: {preview.url} ({reach}{until}{sleeps})"


def previews_text(previews: Sequence[Preview]) -> str:
    return "\n".join(preview_line(preview) for preview in previews)


def mirror_facts(mirror: MirrorState) -> dict[str, Json]:
    facts: dict[str, Json] = {"revision": mirror.revision, "pending": mirror.pending}
    if mirror.error is not None:
        facts["error"] = mirror.error
    return facts


def mirror_line(mirror: MirrorState) -> str:
    """Nothing while the mirror is kept: an agent need not know of it then."""
    return f"Not mirrored at the moment: {mirror.error}" if mirror.error else ""


def written_line(verb: str, written: Written) -> str:
    mirrored = f"mirrored as revision {written.revision}" if written.mirrored else f"not mirrored: {_why(written)}"
    return f"{verb} {written.path} ({count(written.size, 'byte')}), {mirrored}"


def _why(written: Written) -> str:
    return f"{written.mirror_error or 'the reason is not known'}; a later sync repairs it"
