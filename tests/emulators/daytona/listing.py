"""Lists of sandboxes, which the service takes from an index that lags behind its records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

from multidict import MultiMapping

from tests.emulators.daytona.lifecycle import Lifecycle
from tests.emulators.daytona.machine.wire import Fields, Refusal, is_fields
from tests.emulators.daytona.records import show_item

__all__ = ["Freshness", "Listing"]

Freshness = Literal["live", "frozen", "flapping"]
_DEFAULT_PAGE = 100
_MAX_PAGE = 200


class Listing:
    """`freshness`: live, as it was when it was frozen, or now this and now that."""

    def __init__(self, lifecycle: Lifecycle, toolbox: Callable[[], str]) -> None:
        self._lifecycle = lifecycle
        self._toolbox = toolbox
        self._freshness: Freshness = "live"
        self._frozen: list[Fields] = []
        self._calls = 0

    def set_freshness(self, freshness: Freshness) -> None:
        self._frozen = self._live()
        self._freshness = freshness
        self._calls = 0

    def _live(self) -> list[Fields]:
        newest_first = sorted(self._lifecycle.all(), key=lambda each: (each.created, each.id), reverse=True)
        # A copy, since records go on changing and a frozen list does not.
        copy: list[Fields] = json.loads(json.dumps([show_item(each, self._toolbox()) for each in newest_first]))
        return copy

    def page(self, query: MultiMapping[str]) -> Fields:
        self._calls += 1
        stale = self._freshness == "frozen" or (self._freshness == "flapping" and self._calls % 2 == 1)
        found = [each for each in (self._frozen if stale else self._live()) if _matches(each, query)]
        try:
            at, limit = int(query.get("cursor", "0")), int(query.get("limit", str(_DEFAULT_PAGE)))
        except ValueError:
            raise Refusal(400, "invalid cursor or limit") from None
        if not 1 <= limit <= _MAX_PAGE:
            raise Refusal(400, f"limit must be between 1 and {_MAX_PAGE}")
        more = at + limit < len(found)
        return {"items": found[at : at + limit], "nextCursor": str(at + limit) if more else None}


def _matches(item: Fields, query: MultiMapping[str]) -> bool:
    try:
        wanted: object = json.loads(query.get("labels") or "{}")
    except ValueError:
        raise Refusal(400, "labels must be a JSON object") from None
    labels, states = item["labels"], query.getall("states", [])
    return (
        is_fields(wanted)
        and is_fields(labels)
        and all(labels.get(name) == value for name, value in wanted.items())
        and (not states or item["state"] in states)
        and str(item["name"]).startswith(query.get("name", ""))
        and str(item["id"]).startswith(query.get("id", ""))
    )
