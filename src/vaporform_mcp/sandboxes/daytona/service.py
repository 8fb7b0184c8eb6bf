"""The service's requests, by its SDK: the one place that knows it. Each is bounded, and repeated where that is safe."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from daytona import AsyncSandbox, FileDownloadRequest, FileUpload
from daytona_api_client_async import CreateBuildInfo, CreateSandbox, SandboxApi

from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.connection import open_sdk
from vaporform_mcp.sandboxes.daytona.destinations import Destinations
from vaporform_mcp.sandboxes.daytona.faults import Failure, printable
from vaporform_mcp.sandboxes.daytona.requesting import CONTROL_S, Refused, Requests

__all__ = ["CONTROL_S", "Machine", "Order", "Refused", "Service"]

T = TypeVar("T")

_LIST_PAGE = 100
_MAX_PAGES = 100


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
    toolbox: AsyncSandbox = field(repr=False)


class Service:
    """Made within a running event loop. After `aclose` every request is refused."""

    def __init__(self, config: DaytonaConfig) -> None:
        self._destinations = Destinations(config.api_url, config.toolbox_hosts)
        self._requests = Requests(config.api_key)
        self._ask = self._requests.ask
        self._sdk = open_sdk(config, self._destinations)
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
        machine = _machine(found)
        if machine.state == "started" and not found.toolbox_proxy_url:
            # The SDK asks for it where it lists or creates, and not here.
            told = await self._ask(lambda: self._api.get_toolbox_proxy_url(machine.id, _request_timeout=CONTROL_S))
            found.toolbox_proxy_url = found._toolbox_api._toolbox_base_url = told.url  # pyright: ignore[reportPrivateUsage]
        return machine

    async def list(self, labels: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
        """Ids and names of sandboxes with these labels. The list may be behind: `find` each before believing it."""
        found: list[Mapping[str, str]] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
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
        raise Refused(Failure(said=f"the list of sandboxes has no end after {len(found):,}"))

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
        self._check(machine)
        seconds = math.ceil(within_s)
        answer = await self._ask(
            lambda: machine.toolbox.process.exec(command, timeout=seconds), within_s=seconds + 10, repeat=False
        )
        return str(answer.result or "")

    async def upload(self, machine: Machine, files: Mapping[str, bytes], *, within_s: float) -> None:
        """Write files at absolute paths; their folders are made."""
        self._check(machine)
        uploads = [FileUpload(source=content, destination=path) for path, content in files.items()]
        await self._ask(
            lambda: machine.toolbox.fs.upload_files(uploads, timeout=math.ceil(within_s)), within_s=within_s
        )

    async def download(self, machine: Machine, path: str, *, within_s: float) -> bytes | None:
        """A file's bytes; None where the sandbox says that there is none."""
        self._check(machine)
        (answer,) = await self._ask(
            lambda: machine.toolbox.fs.download_files([FileDownloadRequest(source=path)], timeout=math.ceil(within_s)),
            within_s=within_s,
        )
        if isinstance(answer.result, bytes):
            return answer.result
        # "There is none" is believed only where it is said: what cannot be read just now may well be there.
        status = answer.error_details.status_code if answer.error_details is not None else None
        if status == 404:
            return None
        said = printable(f"{path.rpartition('/')[2]}: {answer.error or 'no bytes came'}")
        raise Refused(Failure(said=said, status=status if status is not None and status >= 500 else None))

    async def aclose(self) -> None:
        """Safe to call twice."""
        if self._requests.close():
            await self._sdk.close()

    def _check(self, machine: Machine) -> None:
        """What a person has to mend is said before anything is sent."""
        self._destinations.check(machine.toolbox.toolbox_proxy_url)


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
        toolbox=found,
    )


def _folder(url: str) -> str:
    """The URL as one that a page's relative links start from, also where a proxy of one's own adds a path."""
    return url if url.endswith("/") or "?" in url else f"{url}/"


def _state(found: object) -> str:
    state: object = getattr(found, "state", None)
    state = getattr(state, "value", state)
    return str(state or "unknown")
