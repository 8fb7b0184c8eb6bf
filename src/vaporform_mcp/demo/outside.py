"""What is outside the sandbox: a visitor of the preview."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import anyio
import anyio.to_thread

from vaporform_mcp.demo.telling import Teller, conclude

__all__ = ["Page", "Visitor"]

FETCH_S = 10.0
READY_S = 30.0
_POLL_S = 0.1
_PAGE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a URL answered with. `status` is None where nobody answered; `text` then says why."""

    status: int | None
    text: str
    content_type: str


class Visitor:
    """Fetches pages as a browser on this machine does, and tells of it."""

    def __init__(self, tell: Teller) -> None:
        self._tell = tell

    async def visits(self, url: str, check: Callable[[Page], str], *, patient: bool = False) -> None:
        """Fetch the page; `patient` gives a server that is starting time to answer. Raises `Differs`."""
        await self._does("GET", url, check, READY_S if patient else 0.0, None)

    async def submits(self, url: str, form: dict[str, str], check: Callable[[Page], str]) -> None:
        """Send a form and follow where it leads. Raises `Differs`."""
        await self._does("POST", url, check, 0.0, urlencode(form).encode())

    async def _does(
        self, method: str, url: str, check: Callable[[Page], str], patience_s: float, form: bytes | None
    ) -> None:
        began = time.perf_counter()
        page = await _fetch(url, form)
        while page.status is None and time.perf_counter() - began < patience_s:
            await anyio.sleep(_POLL_S)
            page = await _fetch(url, form)
        conclude(self._tell, method, url, began=began, check=lambda: check(page))


async def _fetch(url: str, form: bytes | None) -> Page:
    return await anyio.to_thread.run_sync(_request, url, form, abandon_on_cancel=True)


def _request(url: str, form: bytes | None) -> Page:
    # A proxy of this machine's environment is not for its own loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, data=form, timeout=FETCH_S) as answer:
            return _page(answer.status, answer.read(_PAGE_BYTES), answer.headers.get("content-type", ""))
    except urllib.error.HTTPError as error:
        with error:
            return _page(error.code, error.read(_PAGE_BYTES), error.headers.get("content-type", ""))
    except (OSError, http.client.HTTPException) as error:
        return Page(status=None, text=str(error), content_type="")


def _page(status: int, body: bytes, content_type: str) -> Page:
    return Page(status=status, text=body.decode("utf-8", "replace"), content_type=content_type)
