"""A Daytona sandbox as the contract has it: commands, files, network and mark behind one handle."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from anyio.abc import ByteStream

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.sandboxes.base import Preview, SandboxInfo
from vaporform_mcp.sandboxes.daytona.commands import DaytonaCommands
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.faults import failed
from vaporform_mcp.sandboxes.daytona.files import DaytonaFiles
from vaporform_mcp.sandboxes.daytona.hand import MACHINE_PORTS, Asked
from vaporform_mcp.sandboxes.daytona.handle import replies_in
from vaporform_mcp.sandboxes.daytona.marks import Marks
from vaporform_mcp.sandboxes.daytona.reach import Reach
from vaporform_mcp.sandboxes.daytona.service import Refused
from vaporform_mcp.sandboxes.daytona.tunnels import Tunnel
from vaporform_mcp.sandboxes.supervised.answering import first_line_of
from vaporform_mcp.sandboxes.supervised.asking import Reply
from vaporform_mcp.sandboxes.supervised.fields import JsonValue
from vaporform_mcp.sandboxes.supervised.programs import ask_versions
from vaporform_mcp.types import Network

__all__ = ["ISOLATION", "DaytonaSandbox"]

ISOLATION = "daytona"
EXCHANGE_S = 50.0

_AWAKE_S = 30.0
"""A sandbox that answered so lately is not looked after before a link to it is given."""


class DaytonaSandbox(DaytonaCommands, DaytonaFiles):
    def __init__(self, reach: Reach, workspace_id: str, epoch: int, *, config: DaytonaConfig, network: Network) -> None:
        super().__init__(reach, workspace_id, epoch)
        self._config = config
        self._network: Network = network
        self._marks = Marks(reach, self._hand)
        self._urls: dict[int, str] = {}
        self._toolchains: Mapping[str, str] = {}

    @property
    def sandbox_id(self) -> str:
        return self._reach.machine.id

    @property
    def isolation(self) -> str:
        return ISOLATION

    async def info(self) -> SandboxInfo:
        if not self._toolchains:
            self._toolchains = await ask_versions(self, path=None, cwd="/tmp")  # noqa: S108  # the sandbox's own
        return SandboxInfo(
            isolation=self.isolation, gaps=self._gaps(), network=self._network, toolchains=self._toolchains
        )

    def _gaps(self) -> Sequence[str]:
        machine = self._reach.machine
        gaps = ["commands run as the user whom the server's own helper in the sandbox runs as"]
        if machine.public:
            gaps.append("previews are public: anyone with the link reaches the port")
        if machine.auto_stop_min:
            gaps.append(f"it sleeps after {machine.auto_stop_min} minutes without use; the next call wakes it")
        return gaps

    # Network ---------------------------------------------------------------------------------------------------

    async def listening_ports(self) -> frozenset[int]:
        return (await self.ask("ports")).fields.ports("ports")

    async def preview(self, port: int, *, preferred: int | None = None) -> Preview:
        _check_port(port)
        if port in MACHINE_PORTS:
            raise InvalidArgument(
                f"port {port} belongs to the machine itself", hint="Let the server listen on another, such as 3000."
            )
        self.check()
        machine = await self._reach.awake(at_most_s=_AWAKE_S)
        service, seconds = self._reach.service, self._config.preview_s
        try:
            if not machine.public:
                # Made anew each time: a stop, whoever asks for it, ends one that was made before.
                url, expires_at = await service.signed_url(machine, port, seconds), time.time() + seconds
            else:
                url, expires_at = self._urls.get(port) or await service.public_url(machine, port), None
                self._urls[port] = url
        except Refused as error:
            await self._reach.look()  # raises what explains it better
            raise failed(error.failure, f"gave no preview of port {port}", machine.id) from None
        sleeps_min = machine.auto_stop_min or None
        return Preview(port=port, url=url, public=machine.public, expires_at=expires_at, sleeps_min=sleeps_min)

    async def connect(self, port: int) -> ByteStream:
        _check_port(port)
        reply = await self.ask("dial", {"port": port})
        return Tunnel(self._exchange, reply.fields.number("tunnel"))

    async def first_line(self, port: int, request: bytes, *, within_s: float) -> bytes:
        _check_port(port)
        asked = [
            Asked(op="dial", fields={"port": port}),
            Asked(op="exchange", fields={"tunnel": "dialed", "wait_s": within_s, "eof": False}, data=request),
            Asked(op="hang_up", fields={"tunnel": "dialed"}),
        ]
        _, answer, _ = replies_in(await self._ask_all(asked, within_s=EXCHANGE_S), None)
        if b"\n" in answer.data or answer.fields.flag("end"):
            return answer.data
        return await first_line_of(self.connect(port), request, within_s=within_s)

    async def _exchange(self, op: str, fields: Mapping[str, JsonValue], data: bytes) -> Reply:
        return await self._ask_at(op, fields, data, within_s=EXCHANGE_S)

    # Mark ------------------------------------------------------------------------------------------------------

    async def read_mark(self) -> bytes | None:
        self.check()
        return await self._marks.read()

    async def mark_tag(self) -> str | None:
        self.check()
        return await self._marks.tag()

    async def write_mark(self, mark: bytes) -> str:
        self.check()
        return await self._marks.write(mark)

    async def clear_mark(self) -> None:
        self.check()
        await self._marks.clear()

    async def aclose(self) -> None:
        """The sandbox goes on, and so does this handle: nothing of it is held open."""


def _check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise InvalidArgument(f"{port} is not a port", hint="Ports are 1 to 65535.")
