"""The proxy before the sandboxes' ports: who may pass, whom it warns first, and how it passes them on."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from tests.emulators.daytona.forwarding import forward
from tests.emulators.daytona.lifecycle import Lifecycle
from tests.emulators.daytona.machine.wire import Refusal
from tests.emulators.daytona.records import Sandbox
from tests.emulators.daytona.requests import preview_place
from tests.emulators.daytona.toolbox import NO_ADDRESS

__all__ = ["Previews"]

_PATH = "/preview/"
_GUARDED_PORTS = frozenset({2280, 22222, 33333})  # toolbox, terminal and recordings, never open to all
_TOKEN_HEADER = "X-Daytona-Preview-Token"
_TOKEN_QUERY = "DAYTONA_SANDBOX_AUTH_KEY"  # also the name of a cookie
_SKIP_HEADER = "X-Daytona-Skip-Preview-Warning"
_ACCEPTED = "daytona-preview-page-accepted"
_ACCEPT_PATH = "accept-daytona-preview-warning"
_DAY_S = 24 * 60 * 60
_DEFAULT_EXPIRY_S = 60
_BROWSER = re.compile(r"Mozilla/|Chrome/|Safari/|Firefox/|Edg/|Opera/")

_WARNING = """<!doctype html><html><head><title>Preview URL Warning</title></head><body><h1>Preview URL Warning</h1>
<p>You are about to visit a preview of a sandbox. Do not enter information that you would not share.</p>
<form method="post" action="{action}"><button>I understand, continue</button></form></body></html>"""
_LOGIN = (
    "<!doctype html><html><head><title>Error</title></head><body><h1>Oops!, something went wrong</h1></body></html>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    sandbox: str
    port: int
    expires: datetime
    started: datetime | None  # a stop of the sandbox ends the URLs made before it


class Previews:
    """Previews have addresses of the form {port}-{sandbox or signed token}, as a host's name or below /preview/."""

    def __init__(self, lifecycle: Lifecycle, base: Callable[[], str]) -> None:
        self.warns = True
        self._lifecycle = lifecycle
        self._base = base
        self._signed: dict[str, _Signed] = {}

    def reset(self) -> None:
        self.warns = True
        self._signed.clear()

    def routes(self, prefix: str) -> list[web.RouteDef]:
        port = prefix + "/sandbox/{sandbox}/ports/{port:\\d+}"
        return [
            web.get(port + "/preview-url", self.get_preview_url),
            web.get(port + "/signed-preview-url", self.sign_preview_url),
            web.post(port + "/signed-preview-url/{token}/expire", self.expire_preview_url),
            web.get("/authorize", self.log_in),
            web.route("*", _PATH + "{place}", self.preview),
            web.route("*", _PATH + "{place}/{rest:.*}", self.preview),
        ]

    def middleware(self) -> Middleware:
        """Previews whose place is in the host's name have any path."""

        @web.middleware
        async def by_host(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await (handler if preview_place(request) is None else self.preview)(request)

        return by_host

    def _url(self, port: int, whose: str) -> str:
        return f"{self._base()}{_PATH}{port}-{whose}"

    def _asked(self, request: web.Request) -> tuple[Sandbox, int]:
        port = int(request.match_info["port"])
        if not 1 <= port <= 65535:
            raise Refusal(400, "Invalid port")
        return self._lifecycle.find(request.match_info["sandbox"]), port

    async def get_preview_url(self, request: web.Request) -> web.Response:
        sandbox, port = self._asked(request)
        url = self._url(port, sandbox.id)
        return web.json_response({"sandboxId": sandbox.id, "url": url, "token": sandbox.token})

    async def sign_preview_url(self, request: web.Request) -> web.Response:
        sandbox, port = self._asked(request)
        seconds = int(request.query.get("expiresInSeconds") or _DEFAULT_EXPIRY_S)
        if not 1 <= seconds <= _DAY_S:
            raise Refusal(400, f"expiresInSeconds must be between 1 and {_DAY_S}")
        token = secrets.token_hex(16)
        self._signed[token] = _Signed(
            sandbox=sandbox.id,
            port=port,
            expires=self._lifecycle.clock.now() + timedelta(seconds=seconds),
            started=sandbox.started,
        )
        shown = {"sandboxId": sandbox.id, "port": port, "token": token, "url": self._url(port, token)}
        return web.json_response(shown)

    async def expire_preview_url(self, request: web.Request) -> web.Response:
        self._asked(request)
        self._signed.pop(request.match_info["token"], None)
        return web.Response()

    async def log_in(self, _request: web.Request) -> web.Response:
        """Where those end who may not pass: the login of another service, which does not know what they want."""
        return web.Response(status=400, text=_LOGIN, content_type="text/html")

    async def preview(self, request: web.Request) -> web.StreamResponse:
        place = preview_place(request)
        if place is None:
            raise Refusal(404, "No such preview")
        port, whose = int(place[1]), place[2]
        sandbox = self._passes(request, port, whose)
        if sandbox is None:
            query = urlencode({"redirect_uri": str(request.url)})
            return web.Response(status=307, headers={"Location": f"{self._base()}/authorize?{query}"})
        # As it came: what is escaped in a path stays so.
        path = request.rel_url.raw_path.removeprefix(f"{_PATH}{port}-{whose}") or "/"
        if path == f"/{_ACCEPT_PATH}" and request.method == "POST":
            response = web.Response(status=302, headers={"Location": request.query.get("redirect") or "/"})
            response.set_cookie(_ACCEPTED, "true", max_age=_DAY_S)
            return response
        if self._is_warned(request):
            action = f"{self._url(port, whose)}/{_ACCEPT_PATH}?{urlencode({'redirect': str(request.rel_url)})}"
            return web.Response(text=_WARNING.format(action=action), content_type="text/html")
        if sandbox.machine is None or sandbox.state != "started":
            raise Refusal(400, NO_ADDRESS)
        self._lifecycle.touch(sandbox)
        query = request.rel_url.raw_query_string
        if _TOKEN_QUERY in request.query:
            query = request.rel_url.without_query_params(_TOKEN_QUERY).raw_query_string
        target = URL.build(path=path, query_string=query, encoded=True)
        return await forward(request, sandbox.machine, port, target, hidden=(_TOKEN_HEADER, _SKIP_HEADER))

    def _passes(self, request: web.Request, port: int, whose: str) -> Sandbox | None:
        """The sandbox that this request may see; None where it may not."""
        if (signed := self._signed.get(whose)) is not None:
            sandbox = self._lifecycle.sandboxes.get(signed.sandbox)
            is_valid = signed.port == port and self._lifecycle.clock.now() < signed.expires
            if sandbox is None or not is_valid or sandbox.started != signed.started:
                return None
            return sandbox
        sandbox = self._lifecycle.sandboxes.get(whose)
        if sandbox is None:
            return None
        given = (
            request.headers.get(_TOKEN_HEADER),
            request.query.get(_TOKEN_QUERY),
            request.cookies.get(_TOKEN_QUERY),
        )
        if (sandbox.public and port not in _GUARDED_PORTS) or sandbox.token in given:
            return sandbox
        return None

    def _is_warned(self, request: web.Request) -> bool:
        return (
            self.warns
            and _BROWSER.search(request.headers.get("User-Agent", "")) is not None
            and request.headers.get("Upgrade", "").lower() != "websocket"
            and request.headers.get(_SKIP_HEADER, "").lower() != "true"
            and _ACCEPTED not in request.cookies
        )
