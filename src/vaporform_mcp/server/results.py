"""The out seam: what a tool answered or raised, as a result of the protocol."""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from mcp_types import CallToolResult, ContentBlock, ImageContent, TextContent

from vaporform_mcp.errors import Internal, VaporformError
from vaporform_mcp.tools.arguments import Json
from vaporform_mcp.tools.output import fit
from vaporform_mcp.tools.spec import MAX_RESULT_CHARS, ToolResult

__all__ = ["FACTS_KEY", "failure", "internal", "sentences", "success", "the_error_in"]

log = logging.getLogger(__name__)

FACTS_KEY = "vaporform/result"

MAX_ERROR_CHARS = 8_000


def success(
    result: ToolResult, *, output: Mapping[str, Json] | None, workspace: str, notices: Sequence[str]
) -> CallToolResult:
    """`notices` are said before the text, and in the structured content, of which some clients show nothing else.

    `output` is the tool's, in whose structured content are the facts that it names.
    """
    said = "".join(f"[{notice}]\n" for notice in notices)
    content: list[ContentBlock] = [TextContent(type="text", text=_sendable(fit(said + result.text, MAX_RESULT_CHARS)))]
    for image in result.images:
        data = base64.b64encode(image.data).decode()
        content.append(ImageContent(type="image", data=data, mime_type=image.mime_type))
    structured = None
    if output is not None:
        structured = {name: fact for name, fact in result.facts.items() if name in output}
        structured["workspace"] = workspace
        if notices:
            structured["notices"] = list(notices)
    facts = {"workspace": workspace, **result.facts}
    return CallToolResult(content=content, structured_content=structured, _meta={FACTS_KEY: facts})


def failure(error: VaporformError, *, workspace: str, notices: Sequence[str] = ()) -> CallToolResult:
    """An error as text, since clients show a model nothing else of it. Its first line says what to do next."""
    said = "".join(f"\n[{notice}]" for notice in notices)
    text = fit(sentences(error) + said, MAX_ERROR_CHARS)
    facts = {
        "code": error.code,
        "message": _sendable(error.message),
        "hint": _sendable(error.hint),
        "retryable": error.retryable,
        "workspace": workspace,
    }
    content: list[ContentBlock] = [TextContent(type="text", text=_sendable(text))]
    return CallToolResult(content=content, is_error=True, _meta={FACTS_KEY: facts})


def internal(error: BaseException, *, tool: str) -> Internal:
    """A bug, told without its details. The log has them, under the same number."""
    incident = secrets.token_hex(4)
    log.error("%s failed, incident %s", tool, incident, exc_info=error)
    return Internal(
        f"{tool} failed inside the server, and whether it did its work is not known",
        hint="Look at the state of things before repeating it. If it fails again, tell the user that the server's "
        f"log has the details under incident {incident}.",
    )


def the_error_in(error: BaseException) -> VaporformError | None:
    """The intended failure that `error` is or, raised in task groups, holds. None where any of it is a bug."""
    if isinstance(error, VaporformError):
        return error
    if not _is_group(error):
        return None
    found = [the_error_in(each) for each in error.exceptions]
    return None if None in found else found[0]


def _is_group(error: BaseException) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    return isinstance(error, BaseExceptionGroup)


def sentences(error: VaporformError) -> str:
    """What happened and what to do next."""
    return " ".join(line for line in (_sentence(error.message), _sentence(error.hint)) if line)


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    # A first word such as `read_file` or `src/app.py` is a name, and stays as it is.
    begin = text[0].upper() if text.split(maxsplit=1)[0].isalpha() else text[0]
    return begin + text[1:] + ("" if text[-1] in ".!?:…" else ".")


def _sendable(text: str) -> str:
    """Without lone surrogates, which JSON as UTF-8 cannot carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
