"""Asking the person at the client, in the form that each era of the protocol has for it."""

from __future__ import annotations

import hashlib

import anyio
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    CallToolRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from vaporform_mcp.tools.context import Answer, Ask

__all__ = ["InputNeeded", "asker"]

_KEY = "confirmation"
_UNASKED = {INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND}
"""A client that refuses like this has not shown the question to anybody, whatever it declared."""

_FORM = {
    "type": "object",
    "properties": {"confirm": {"type": "boolean", "title": "Yes, do it", "default": True}},
}


class InputNeeded(Exception):
    """The call has to end with a question, and comes again with the answer (from protocol 2026-07-28 on)."""

    def __init__(self, result: InputRequiredResult) -> None:
        super().__init__("input needed")
        self.result = result


def asker(context: ServerRequestContext[object], params: CallToolRequestParams, *, limit_s: float) -> Ask:
    async def ask(question: str) -> Answer:
        if not _can_ask(context):
            return Answer.NOBODY
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return _answer_that_came(question, params)
        if not context.session.can_send_request:
            return Answer.NOBODY
        try:
            with anyio.move_on_after(limit_s):
                return _meaning(await context.session.elicit_form(question, _FORM, context.request_id))
        except MCPError as error:
            return Answer.NOBODY if error.code in _UNASKED else Answer.SILENCE
        except ValidationError:
            return Answer.SILENCE  # what came is no answer, and least of all a yes
        return Answer.SILENCE

    return ask


def _can_ask(context: ServerRequestContext[object]) -> bool:
    """Whether the client shows forms. A bare declaration, as before there were modes, means forms."""
    capabilities = context.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _answer_that_came(question: str, params: CallToolRequestParams) -> Answer:
    """What the client sent with the call, if it is the answer to this very question.

    The state comes back sealed to the tool and its arguments by the server's `RequestStateBoundary`, so an answer
    cannot be moved to another call; the digest keeps it from counting for a question that has changed since.
    """
    state = hashlib.sha256(question.encode()).hexdigest()
    answer = (params.input_responses or {}).get(_KEY)
    if isinstance(answer, ElicitResult) and params.request_state == state:
        return _meaning(answer)
    request = ElicitRequest(params=ElicitRequestFormParams(message=question, requested_schema=_FORM))
    raise InputNeeded(InputRequiredResult(input_requests={_KEY: request}, request_state=state))


def _meaning(result: ElicitResult) -> Answer:
    unticked = (result.content or {}).get("confirm") is False
    return Answer.YES if result.action == "accept" and not unticked else Answer.NO
