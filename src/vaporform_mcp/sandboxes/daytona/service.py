"""The service's requests, by its SDK: the one place that knows it. Each is bounded, and repeated where that is safe."""

from __future__ import annotations

import json
import math
import os
import random
import warnings
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import aiohttp
import anyio
from daytona import (
    AsyncDaytona,
    AsyncSandbox,
    DaytonaConnectionError,
    DaytonaError,
    FileDownloadRequest,
    FileUpload,
)
from daytona import (
    DaytonaConfig as SdkConfig,
)
from daytona_api_client_async import CreateBuildInfo, CreateSandbox, SandboxApi
from daytona_api_client_async.exceptions import OpenApiException

from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.faults import Failure, is_transient, printable

__all__ = ["CONTROL_S", "Machine", "Order", "Refused", "Service"]

T = TypeVar("T")

CONTROL_S = 30.0
"""How long one request about a sandbox, not to it, may take."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
LIMITED_S = 60.0
"""How long we wait in all because the service said that we ask too often."""

AT_ONCE = 32
_LIST_PAGE = 100


class Refused(Exception):
    """A request that failed for good, or as often as it was tried."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.said)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A sandbox to be made: of a Dockerfile, or of a snapshot."""

    name: str
    labels: Mapping[str, str]
    env: Mapping[str, str] = field(repr=False)
    public: bool
    target: str | None
    dockerfile: str | None
    snapshot: str | None
    cpu: int | None
    memory_gb: int | None
    disk_gb: int | None
    auto_stop_min: int
    auto_archive_min: int
    auto_delete_min: int
    ttl_min: int
    block_network: bool
    allow_networks: Sequence[str]
    allow_domains: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Machine:
    """A sandbox as the service told of it. `toolbox` is the SDK's handle, by which what runs in it is reached."""

    id: str
    name: str
    state: str
    reason: str
    recoverable: bool
    public: bool
    labels: Mapping[str, str]
    auto_stop_min: int
    cpu: int
    memory_gb: int
    disk_gb: int
    target: str
    created_at: str
    toolbox: AsyncSandbox = field(repr=False)


class Service:
    """Made within a running event loop. After `aclose` every request is refused."""

    def __init__(self, config: DaytonaConfig) -> None:
        self._key = config.api_key
        self._closed = False
        self._room = anyio.CapacityLimiter(AT_ONCE)
        with _no_settings_of_a_folder(), warnings.catch_warnings():
            # The other way keeps a socket open that fails in silence, and waits a second between looks.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._sdk = AsyncDaytona(
                SdkConfig(
                    api_key=config.api_key,
                    api_url=config.api_url.rstrip("/"),
                    target=config.target,
                    otel_enabled=False,
                    use_deprecated_polling=True,
                )
            )
        # Its own `create` and `start` give up at one failed look, without saying which sandbox they leave behind.
        self._api: SandboxApi = self._sdk._sandbox_api  # pyright: ignore[reportPrivateUsage]

    @property
    def sandboxes(self) -> SandboxApi:
        """The generated client, for requests that go by `ask`."""
        return self._api

    async def ask(self, request: Callable[[], Awaitable[T]], *, repeat: bool = True) -> T:
        """One request about what the service has, bounded, and repeated as all others are. Raises `Refused`."""
        return await self._ask(request, repeat=repeat)

    # Sandboxes -------------------------------------------------------------------------------------------------

    async def create(self, order: Order) -> str:
        """Ask for it, once; answers with its id. Where the answer was lost, `find` it by its name."""
        asked = CreateSandbox(
            name=order.name,
            labels=dict(order.labels),
            env=dict(order.env),
            public=order.public,
            target=order.target,
            snapshot=order.snapshot,
            cpu=order.cpu,
            memory=order.memory_gb,
            disk=order.disk_gb,
            auto_stop_interval=order.auto_stop_min,
            auto_archive_interval=order.auto_archive_min,
            auto_delete_interval=order.auto_delete_min,
            ttl_minutes=order.ttl_min or None,
            network_block_all=order.block_network or None,
            network_allow_list=",".join(order.allow_networks) or None,
            domain_allow_list=",".join(order.allow_domains) or None,
            build_info=CreateBuildInfo(dockerfile_content=order.dockerfile) if order.dockerfile else None,
        )
        made = await self._ask(lambda: self._api.create_sandbox(asked, _request_timeout=CONTROL_S), repeat=False)
        return str(made.id)

    async def find(self, id_or_name: str) -> Machine | None:
        """None where there is none."""
        try:
            found = await self._ask(lambda: self._sdk.get(id_or_name, request_timeout=CONTROL_S))
        except Refused as error:
            if error.failure.status in {404, 410}:
                return None
            raise
        return _machine(found)

    async def list(self, labels: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
        """Ids and names of sandboxes with these labels. The list may be behind: `find` each before believing it."""

        found: list[Mapping[str, str]] = []
        cursor: str | None = None
        while True:
            answer = await self._ask(
                partial(
                    self._api.list_sandboxes,
                    labels=json.dumps(dict(labels)),
                    cursor=cursor,
                    limit=_LIST_PAGE,
                    _request_timeout=CONTROL_S,
                )
            )
            found += [{"id": str(item.id), "name": str(item.name), "state": _state(item)} for item in answer.items]
            cursor = answer.next_cursor
            if not cursor:
                return found

    async def start(self, machine_id: str) -> None:
        await self._ask(lambda: self._api.start_sandbox(machine_id, _request_timeout=CONTROL_S))

    async def recover(self, machine_id: str) -> None:
        await self._ask(lambda: self._api.recover_sandbox(machine_id, _request_timeout=CONTROL_S))

    async def stop(self, machine_id: str) -> None:
        await self._ask(lambda: self._api.stop_sandbox(machine_id, _request_timeout=CONTROL_S))

    async def delete(self, machine_id: str) -> None:
        """What is not there any more is no failure."""
        try:
            await self._ask(lambda: self._api.delete_sandbox(machine_id, _request_timeout=CONTROL_S))
        except Refused as error:
            if error.failure.status not in {404, 410}:
                raise

    async def put_labels(self, machine: Machine, labels: Mapping[str, str]) -> None:
        """Replace all of them."""
        await self._ask(lambda: machine.toolbox.set_labels(dict(labels), request_timeout=CONTROL_S))

    async def keep_awake(self, machine: Machine) -> None:
        await self._ask(lambda: machine.toolbox.refresh_activity(request_timeout=CONTROL_S))

    async def public_url(self, machine: Machine, port: int) -> str:
        link = await self._ask(lambda: machine.toolbox.get_preview_link(port, request_timeout=CONTROL_S))
        return _folder(link.url)

    async def signed_url(self, machine: Machine, port: int, seconds: int) -> str:
        link = await self._ask(
            lambda: machine.toolbox.create_signed_preview_url(port, seconds, request_timeout=CONTROL_S)
        )
        return _folder(link.url)

    # Inside ----------------------------------------------------------------------------------------------------

    async def execute(self, machine: Machine, command: str, *, within_s: float) -> str:
        """Run a shell line, once; what it printed."""
        seconds = math.ceil(within_s)
        answer = await self._ask(
            lambda: machine.toolbox.process.exec(command, timeout=seconds), within_s=seconds + 10, repeat=False
        )
        return str(answer.result or "")

    async def upload(self, machine: Machine, files: Mapping[str, bytes], *, within_s: float) -> None:
        """Write files at absolute paths; their folders are made."""
        uploads = [FileUpload(source=content, destination=path) for path, content in files.items()]
        await self._ask(
            lambda: machine.toolbox.fs.upload_files(uploads, timeout=math.ceil(within_s)), within_s=within_s
        )

    async def download(self, machine: Machine, path: str, *, within_s: float) -> bytes | None:
        """A file's bytes; None where there is none."""
        (answer,) = await self._ask(
            lambda: machine.toolbox.fs.download_files([FileDownloadRequest(source=path)], timeout=math.ceil(within_s)),
            within_s=within_s,
        )
        return answer.result if isinstance(answer.result, bytes) else None

    async def aclose(self) -> None:
        """Safe to call twice."""
        if not self._closed:
            self._closed = True
            await self._sdk.close()

    # -----------------------------------------------------------------------------------------------------------

    async def _ask(self, request: Callable[[], Awaitable[T]], *, within_s: float = CONTROL_S, repeat: bool = True) -> T:
        """One request, tried again where the service asks for time and, with `repeat`, where it did not answer."""
        pause_s = FIRST_PAUSE_S
        waited_s = 0.0
        tries = 4
        while True:
            failure = await self._try(request, within_s)
            if not isinstance(failure, Failure):
                return failure
            tries -= 1
            if failure.is_limited and waited_s < LIMITED_S:
                # It was refused before anything was done.
                delay_s = min(failure.retry_after_s or pause_s, LIMITED_S - waited_s)
                waited_s += delay_s
            elif repeat and tries > 0 and is_transient(failure):
                delay_s = pause_s
            else:
                raise Refused(failure)
            await anyio.sleep(delay_s * random.uniform(0.8, 1.2))  # noqa: S311  # so that many do not come at once
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _try(self, request: Callable[[], Awaitable[T]], within_s: float) -> T | Failure:
        if self._closed:
            return Failure(said="this server is ending", status=None)
        try:
            async with self._room:
                with anyio.fail_after(within_s):
                    return await request()
        except TimeoutError:
            return Failure(status=504, said=f"no answer within {within_s:.0f} s")
        except (DaytonaError, OpenApiException, aiohttp.ClientError, OSError, ValueError) as error:
            return _failure(error, self._key)


def _failure(error: Exception, key: str) -> Failure:
    status: object = getattr(error, "status_code", None) or getattr(error, "status", None)
    if not isinstance(status, int):
        # Downloads tell it in their text alone.
        text = str(error)
        status = next((code for code in (429, 502, 503, 504) if f"{code}," in text[:160]), None)
    dropped = isinstance(error, (DaytonaConnectionError, aiohttp.ClientError, OSError)) and status is None
    return Failure(
        status=status,
        said=printable(_said(error), key),
        retry_after_s=_retry_after(getattr(error, "headers", None)),
        dropped=dropped,
    )


def _said(error: Exception) -> str:
    body: object = getattr(error, "body", None)
    if isinstance(body, str):
        try:
            fields: object = json.loads(body)
        except ValueError:
            return body
        if isinstance(fields, dict):
            said: object = fields.get("message") or fields.get("error")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            if said:
                return str(said)  # pyright: ignore[reportUnknownArgumentType]
        return body
    # "Failed to get sandbox: " alone says nothing.
    said = str(error)
    return "" if said.endswith(": ") else said


def _retry_after(headers: object) -> float | None:
    """Of `Retry-After` and of `Retry-After-{throttler}`, in whatever case, the longest."""
    found: list[float] = []
    if isinstance(headers, Mapping):
        pairs: Mapping[Any, Any] = headers  # pyright: ignore[reportUnknownVariableType]
        for name, value in pairs.items():
            if str(name).lower().startswith("retry-after"):
                try:
                    found.append(max(0.0, float(value)))
                except ValueError:
                    continue
    return max(found, default=None)


def _machine(found: AsyncSandbox) -> Machine:
    return Machine(
        id=found.id,
        name=found.name,
        state=_state(found),
        reason=found.error_reason or "",
        recoverable=bool(found.recoverable),
        public=bool(found.public),
        labels=dict(found.labels),
        auto_stop_min=int(found.auto_stop_interval or 0),
        cpu=int(found.cpu),
        memory_gb=int(found.memory),
        disk_gb=int(found.disk),
        target=str(found.target),
        created_at=str(found.created_at or ""),
        toolbox=found,
    )


def _folder(url: str) -> str:
    """The URL as one that a page's relative links start from, also where a proxy of one's own adds a path."""
    return url if url.endswith("/") or "?" in url else f"{url}/"


def _state(found: object) -> str:
    state: object = getattr(found, "state", None)
    state = getattr(state, "value", state)
    return str(state or "unknown")


@contextmanager
def _no_settings_of_a_folder() -> Generator[None]:
    """The SDK reads `.env` in the working directory, which is a project's: what this process says comes before it."""
    said = {
        "DAYTONA_TARGET": "",
        "DAYTONA_JWT_TOKEN": "",
        "DAYTONA_ORGANIZATION_ID": "",
        "DAYTONA_HAPPY_EYEBALLS_DELAY": "",
        "DAYTONA_OTEL_ENABLED": "false",
        "DAYTONA_EXPERIMENTAL_OTEL_ENABLED": "false",
        "DAYTONA_USE_DEPRECATED_POLLING": "true",
    }
    before = {name: os.environ.get(name) for name in said}
    os.environ.update(said)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
