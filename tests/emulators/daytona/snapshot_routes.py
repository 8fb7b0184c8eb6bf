"""The control plane's routes for snapshots, for copies of sandboxes and for what a build says."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from math import ceil

import anyio
from aiohttp import web

from tests.emulators.daytona.bodies import CreateSnapshot, Named, read_body
from tests.emulators.daytona.images import image_of
from tests.emulators.daytona.lifecycle import Lifecycle
from tests.emulators.daytona.machine.wire import Refusal
from tests.emulators.daytona.records import show
from tests.emulators.daytona.requests import Streamed
from tests.emulators.daytona.snapshots import Snapshots, show_snapshot

__all__ = ["SnapshotRoutes"]

_LOOK_S = 0.02
_BUILDING = frozenset({"pending_build", "building_snapshot"})


class SnapshotRoutes:
    def __init__(self, lifecycle: Lifecycle, snapshots: Snapshots, base: Callable[[], str]) -> None:
        self._lifecycle = lifecycle
        self._snapshots = snapshots
        self._base = base

    def routes(self, prefix: str) -> list[web.RouteDef]:
        one, sandbox = prefix + "/snapshots/{snapshot}", prefix + "/sandbox/{sandbox}"
        return [
            web.post(f"{prefix}/snapshots", self.create_snapshot),
            web.get(f"{prefix}/snapshots", self.list_snapshots),
            web.get(one, self.get_snapshot),
            web.delete(one, self.delete_snapshot),
            web.post(one + "/activate", self.activate_snapshot),
            web.post(one + "/deactivate", self.deactivate_snapshot),
            web.post(sandbox + "/snapshot", self.snapshot_sandbox),
            web.post(sandbox + "/fork", self.fork_sandbox),
            web.get(sandbox + "/build-logs-url", self.get_build_logs_url),
            web.get(sandbox + "/build-logs", self.get_build_logs),
        ]

    async def create_snapshot(self, request: web.Request) -> web.Response:
        body = await read_body(request, CreateSnapshot)
        if (body.build_info is None) == (body.image_name is None):
            raise Refusal(400, "Either imageName or buildInfo is required")
        image = image_of(body.build_info.dockerfile_content) if body.build_info else body.image_name or ""
        made = self._snapshots.build(body.name, image, cpu=body.cpu, memory=body.memory, disk=body.disk)
        return web.json_response(show_snapshot(made))

    async def list_snapshots(self, request: web.Request) -> web.Response:
        try:
            page, limit = int(request.query.get("page", "1")), int(request.query.get("limit", "100"))
        except ValueError:
            raise Refusal(400, "invalid page or limit") from None
        if page < 1 or not 1 <= limit <= 200:
            raise Refusal(400, "invalid page or limit")
        source = request.query.get("sourceSandboxId")
        name = request.query.get("name", "")
        found = [each for each in self._snapshots.all() if source in (None, each.source) and name in each.name]
        return web.json_response(
            {
                "items": [show_snapshot(each) for each in found[(page - 1) * limit : page * limit]],
                "total": len(found),
                "page": page,
                "totalPages": max(1, ceil(len(found) / limit)),
            }
        )

    async def get_snapshot(self, request: web.Request) -> web.Response:
        return web.json_response(show_snapshot(self._snapshots.find(request.match_info["snapshot"])))

    async def delete_snapshot(self, request: web.Request) -> web.Response:
        self._snapshots.delete(self._snapshots.find(request.match_info["snapshot"]))
        return web.Response()

    async def activate_snapshot(self, request: web.Request) -> web.Response:
        snapshot = self._snapshots.find(request.match_info["snapshot"])
        self._snapshots.activate(snapshot)
        return web.json_response(show_snapshot(snapshot))

    async def deactivate_snapshot(self, request: web.Request) -> web.Response:
        self._snapshots.deactivate(self._snapshots.find(request.match_info["snapshot"]))
        return web.Response(status=204)

    async def snapshot_sandbox(self, request: web.Request) -> web.Response:
        sandbox = self._lifecycle.settled(request.match_info["sandbox"])
        name = (await read_body(request, Named)).name
        if name is None:
            raise Refusal(400, "name should not be empty")
        self._snapshots.save(sandbox, name)
        return self._answer(request, sandbox.id)

    async def fork_sandbox(self, request: web.Request) -> web.Response:
        source = self._lifecycle.settled(request.match_info["sandbox"])
        if source.state not in {"started", "stopped"}:
            raise Refusal(400, "Sandbox must be started or stopped to be forked")
        now, identity = self._lifecycle.clock.now(), str(uuid.uuid4())
        name = (await read_body(request, Named)).name
        copy = replace(
            source,
            id=identity,
            name=name or identity,
            created=now,
            updated=now,
            activity=now,
            labels=dict(source.labels),
            env=dict(source.env),
            dockerfile="",
            token=uuid.uuid4().hex,
            started=None,
            stopped_since=None,
            machine=None,
        )
        self._lifecycle.add(copy, source=self._lifecycle.machines.root(source.id))
        return self._answer(request, identity)

    def _answer(self, _request: web.Request, sandbox: str) -> web.Response:
        return web.json_response(show(self._lifecycle.find(sandbox), f"{self._base()}/toolbox"))

    async def get_build_logs_url(self, request: web.Request) -> web.Response:
        sandbox = self._lifecycle.find(request.match_info["sandbox"])
        return web.json_response({"url": f"{self._base()}/api/sandbox/{sandbox.id}/build-logs"})

    async def get_build_logs(self, request: web.Request) -> web.StreamResponse:
        """What the build says, until it has ended where it is followed."""
        sandbox = self._lifecycle.find(request.match_info["sandbox"])
        response = Streamed(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(f"Step 1/1 : {sandbox.dockerfile.strip()}\n".encode())
        if request.query.get("follow") == "true":
            with anyio.move_on_after(max(1.0, 10 * self._lifecycle.timings["building_snapshot"])):
                while sandbox.state in _BUILDING:  # noqa: ASYNC110  # a record says nothing by itself
                    await anyio.sleep(_LOOK_S)
        said = sandbox.error_reason or f"Successfully built {sandbox.id[:12]}"
        await response.write(f"{said}\n".encode())
        return response
