"""Files as resources of the protocol: templates, reading, completion."""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import anyio
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    BlobResourceContents,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    PromptReference,
    ReadResourceRequestParams,
    ReadResourceResult,
    ResourceTemplate,
    TextResourceContents,
)

from vaporform_mcp.errors import InvalidArgument, NotFound, Unavailable, VaporformError
from vaporform_mcp.mime import is_text
from vaporform_mcp.server import results
from vaporform_mcp.server.serving import Serving
from vaporform_mcp.tools import resources

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.manager import Manager
    from vaporform_mcp.workspace.results import FileText

__all__ = ["Resources"]

log = logging.getLogger(__name__)

GRACE_S = 5.0
COMPLETION_LIMIT_S = 5.0
"""Whoever types does not wait longer."""

_Context = ServerRequestContext[object]


class Resources:
    """What a client may read by its address, of the owner's workspaces alone."""

    def __init__(self, serving: Serving, manager: Callable[[], Awaitable[Manager]]) -> None:
        self._serving = serving
        self._manager = manager

    async def list(self, _: _Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
        """None by itself: files are many, and told by the templates and their completion."""
        return ListResourcesResult(resources=[])

    async def list_templates(self, _: _Context, __: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        return ListResourceTemplatesResult(
            resource_templates=[
                ResourceTemplate(
                    name="file",
                    title="File",
                    uri_template=resources.FILE,
                    description="A file of a workspace as it is now.",
                ),
                ResourceTemplate(
                    name="revision-file",
                    title="File at a revision",
                    uri_template=resources.REVISION_FILE,
                    description="A file as it was at a revision, which is a number or a label.",
                ),
            ]
        )

    async def read(self, _: _Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Raises `MCPError`, which says what to do."""
        try:
            file = await self._read(params.uri)
        except VaporformError as error:
            raise _told(error, params.uri) from error
        except Exception as error:
            ours = results.the_error_in(error) or results.internal(error, tool="reading a resource")
            raise _told(ours, params.uri) from error
        log.info("resource bytes=%d %s", len(file.content), file.source)
        return ReadResourceResult(contents=[_contents(params.uri, file)])

    async def complete(self, _: _Context, params: CompleteRequestParams) -> CompleteResult:
        """Nothing where that cannot be told in time: a completion that fails helps nobody."""
        is_name = params.argument.name in {"name", "workspace"}
        if isinstance(params.ref, PromptReference) and not is_name:
            return CompleteResult(completion=Completion(values=[], total=0, has_more=False))
        others = (params.context.arguments if params.context else None) or {}
        values: Sequence[str] = ()
        total = 0
        with anyio.move_on_after(COMPLETION_LIMIT_S):
            try:
                manager = await self._manager()
                values, total = await resources.complete(
                    manager, self._serving.owner, params.argument.name, params.argument.value, others
                )
            except VaporformError as error:
                log.info("nothing to complete with: %s", error)
        return CompleteResult(completion=Completion(values=list(values), total=total, has_more=total > len(values)))

    async def _read(self, uri: str) -> FileText:
        address = resources.parse_address(uri)
        limit_s = self._serving.wait_limit_s
        with anyio.move_on_after(limit_s + GRACE_S):
            return await resources.read(await self._manager(), self._serving.owner, address, wait_s=limit_s)
        raise Unavailable(f"the file was not to be had within {limit_s:g} s", hint="Read it again.")


def _contents(uri: str, file: FileText) -> TextResourceContents | BlobResourceContents:
    meta: dict[str, object] = {"source": file.source, "size": len(file.content)}
    if file.revision is not None:
        meta["revision"] = file.revision
    facts = {results.FACTS_KEY: meta}
    if is_text(file.content):
        return TextResourceContents(uri=uri, mime_type=file.mime_type, text=file.content.decode(), _meta=facts)
    blob = base64.b64encode(file.content).decode()
    return BlobResourceContents(uri=uri, mime_type=file.mime_type, blob=blob, _meta=facts)


def _told(error: VaporformError, uri: str) -> MCPError:
    is_theirs = isinstance(error, InvalidArgument | NotFound)
    data = {"uri": uri[:500], "code": error.code, "hint": error.hint, "retryable": error.retryable}
    return MCPError(
        code=INVALID_PARAMS if is_theirs else INTERNAL_ERROR,
        message=results.sentences(error),
        data=data,
    )
