"""The control plane: sandboxes are made, found, changed and deleted over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

from aiohttp import web

from tests.emulators.daytona.bodies import CreateSandbox, Labels, Network, Resize, read_body
from tests.emulators.daytona.images import find_image, image_of, unavailable
from tests.emulators.daytona.lifecycle import Lifecycle
from tests.emulators.daytona.listing import Listing
from tests.emulators.daytona.machine.wire import Refusal
from tests.emulators.daytona.records import Sandbox, show
from tests.emulators.daytona.snapshots import Snapshots

__all__ = ["Control"]


class Control:
    """Below the API's address. `base` is the service's own, without a slash at its end."""

    def __init__(self, lifecycle: Lifecycle, snapshots: Snapshots, base: Callable[[], str]) -> None:
        self.toolbox_url: str | None = None  # shown instead of the service's own
        self.listing = Listing(lifecycle, self._toolbox)
        self._lifecycle = lifecycle
        self._snapshots = snapshots
        self._base = base

    def routes(self, prefix: str) -> list[web.RouteDef]:
        one = prefix + "/sandbox/{sandbox}"
        return [
            web.post(f"{prefix}/sandbox", self.create_sandbox),
            web.get(f"{prefix}/sandbox", self.list_sandboxes),
            web.get(one, self.get_sandbox),
            web.delete(one, self.delete_sandbox),
            web.post(one + "/start", self.start_sandbox),
            web.post(one + "/stop", self.stop_sandbox),
            web.post(one + "/pause", self.pause_sandbox),
            web.post(one + "/archive", self.archive_sandbox),
            web.post(one + "/recover", self.recover_sandbox),
            web.post(one + "/resize", self.resize_sandbox),
            web.post(one + "/public/{public:true|false}", self.set_public),
            web.put(one + "/labels", self.set_labels),
            web.post(
                one + "/{interval:autostop|autopause|autoarchive|autodelete|ttl}/{minutes:-?\\d+}", self.set_interval
            ),
            web.post(one + "/last-activity", self.refresh_activity),
            web.post(one + "/network-settings", self.set_network),
            web.get(one + "/toolbox-proxy-url", self.get_toolbox_url),
        ]

    def _answer(self, sandbox: Sandbox) -> web.Response:
        return web.json_response(show(sandbox, self._toolbox()))

    def _toolbox(self) -> str:
        return self._own_toolbox() if self.toolbox_url is None else self.toolbox_url

    def _own_toolbox(self) -> str:
        return f"{self._base()}/toolbox"

    def _find(self, request: web.Request) -> Sandbox:
        return self._lifecycle.find(request.match_info["sandbox"])

    def _settled(self, request: web.Request) -> Sandbox:
        return self._lifecycle.settled(request.match_info["sandbox"])

    async def create_sandbox(self, request: web.Request) -> web.Response:
        body = await read_body(request, CreateSandbox)
        if body.build_info is not None and body.snapshot is not None:
            raise Refusal(400, "Cannot specify a snapshot when using a build info entry")
        if body.build_info is None and body.names_resources:
            raise Refusal(400, "Cannot specify Sandbox resources when using a snapshot")
        sandbox = self._record(body)
        if self._snapshots.is_known(sandbox.image.name):
            # A snapshot is no image, though its name may look like one.
            sandbox.image = unavailable(sandbox.image.name)
        snapshot = None if body.build_info else self._snapshots.usable(body.snapshot)
        if snapshot is not None:
            sandbox.snapshot, sandbox.image = snapshot.name, snapshot.image
            sandbox.cpu, sandbox.memory, sandbox.disk = snapshot.cpu, snapshot.memory, snapshot.disk
        self._lifecycle.limits.check_network(
            body.network_allow_list, body.domain_allow_list, block_all=body.network_block_all
        )
        self._lifecycle.add(sandbox, source=None if snapshot is None else snapshot.files)
        return self._answer(sandbox)

    def _record(self, body: CreateSandbox) -> Sandbox:
        now = self._lifecycle.clock.now()
        dockerfile = body.build_info.dockerfile_content if body.build_info else ""
        identity = str(uuid.uuid4())
        sandbox = Sandbox(
            id=identity,
            name=body.name or identity,
            image=find_image(image_of(dockerfile)),
            created=now,
            updated=now,
            activity=now,
            dockerfile=dockerfile,
            user=body.user or "daytona",
            env=dict(body.env),
            labels=dict(body.labels),
            public=body.public,
            network_block_all=body.network_block_all,
            network_allow_list=body.network_allow_list,
            domain_allow_list=body.domain_allow_list,
        )
        given = {
            "target": body.target,
            "cpu": body.cpu,
            "gpu": body.gpu,
            "memory": body.memory,
            "disk": body.disk,
            "auto_stop": body.auto_stop_interval,
            "auto_pause": body.auto_pause_interval,
            "auto_archive": body.auto_archive_interval,
            "auto_delete": body.auto_delete_interval,
            "destroy_at": now + timedelta(minutes=body.ttl_minutes) if body.ttl_minutes else None,
        }
        for name, value in given.items():
            if value is not None:
                setattr(sandbox, name, value)
        return sandbox

    async def list_sandboxes(self, request: web.Request) -> web.Response:
        return web.json_response(self.listing.page(request.query))

    async def get_sandbox(self, request: web.Request) -> web.Response:
        return self._answer(self._find(request))

    async def delete_sandbox(self, request: web.Request) -> web.Response:
        sandbox = self._find(request)
        if sandbox.state != "destroying":
            self._lifecycle.delete(self._settled(request))
        return self._answer(sandbox)

    async def start_sandbox(self, request: web.Request) -> web.Response:
        sandbox = self._settled(request)
        self._lifecycle.start(sandbox)
        return self._answer(sandbox)

    async def stop_sandbox(self, request: web.Request) -> web.Response:
        sandbox = self._settled(request)
        self._lifecycle.stop(sandbox)
        return self._answer(sandbox)

    async def pause_sandbox(self, request: web.Request) -> web.Response:
        sandbox = self._settled(request)
        self._lifecycle.pause(sandbox)
        return self._answer(sandbox)

    async def archive_sandbox(self, request: web.Request) -> web.Response:
        sandbox = self._settled(request)
        self._lifecycle.archive(sandbox)
        return self._answer(sandbox)

    async def recover_sandbox(self, request: web.Request) -> web.Response:
        sandbox = self._settled(request)
        self._lifecycle.recover(sandbox)
        return self._answer(sandbox)

    async def resize_sandbox(self, request: web.Request) -> web.Response:
        sandbox, body = self._settled(request), await read_body(request, Resize)
        self._lifecycle.resize(sandbox, cpu=body.cpu, memory=body.memory, disk=body.disk)
        return self._answer(sandbox)

    async def set_public(self, request: web.Request) -> web.Response:
        sandbox = self._find(request)
        sandbox.public = request.match_info["public"] == "true"
        return self._answer(sandbox)

    async def set_labels(self, request: web.Request) -> web.Response:
        sandbox = self._find(request)
        sandbox.labels = dict((await read_body(request, Labels)).labels)
        return web.json_response({"labels": sandbox.labels})

    async def set_interval(self, request: web.Request) -> web.Response:
        sandbox = self._find(request)
        name, minutes = request.match_info["interval"], int(request.match_info["minutes"])
        if minutes < (-1 if name == "autodelete" else 0):
            raise Refusal(400, "Interval must be a non-negative integer")
        match name:
            case "autostop":
                sandbox.auto_stop = minutes
            case "autopause":
                sandbox.auto_pause = minutes
            case "autoarchive":
                sandbox.auto_archive = minutes
            case "autodelete":
                sandbox.auto_delete = minutes
            case _:
                now = self._lifecycle.clock.now()
                sandbox.destroy_at = now + timedelta(minutes=minutes) if minutes else None
        return self._answer(sandbox)

    async def refresh_activity(self, request: web.Request) -> web.Response:
        self._lifecycle.touch(self._find(request))
        return web.Response()

    async def set_network(self, request: web.Request) -> web.Response:
        sandbox, body = self._find(request), await read_body(request, Network)
        self._lifecycle.limits.check_network(
            body.network_allow_list, body.domain_allow_list, block_all=body.network_block_all is True
        )
        if body.network_block_all is not None:
            sandbox.network_block_all = body.network_block_all
        if body.network_allow_list is not None:
            sandbox.network_allow_list = body.network_allow_list
        if body.domain_allow_list is not None:
            sandbox.domain_allow_list = body.domain_allow_list
        return self._answer(sandbox)

    async def get_toolbox_url(self, request: web.Request) -> web.Response:
        self._find(request)
        return web.json_response({"url": self._own_toolbox()})
