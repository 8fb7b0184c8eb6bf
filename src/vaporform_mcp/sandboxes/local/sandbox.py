"""A local sandbox as the contract has it: commands, files, network and mark behind one handle."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
from anyio.abc import ByteStream, SocketStream

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.sandboxes.base import Command, Preview, SandboxInfo
from vaporform_mcp.sandboxes.local import hostports, marks
from vaporform_mcp.sandboxes.local.asking import Handle
from vaporform_mcp.sandboxes.local.attach import Attached
from vaporform_mcp.sandboxes.local.diskfaults import disk_faults
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.local.remarks import Refusals, misled
from vaporform_mcp.sandboxes.supervised.answering import first_line_of
from vaporform_mcp.sandboxes.supervised.commands import Commands
from vaporform_mcp.sandboxes.supervised.fields import Malformed
from vaporform_mcp.sandboxes.supervised.files import Files
from vaporform_mcp.types import Network

__all__ = ["LocalSandbox", "OpenPreview"]

CONNECT_S = 10.0

OpenPreview = Callable[[int, int | None], Awaitable[int]]
"""Gives the host port that forwards to a port of the sandbox, the preferred one where it is free."""


class LocalSandbox(Handle, Commands, Files):
    """`network` and `env` are those of the spec that it was acquired with."""

    def __init__(
        self,
        folder: Folder,
        attached: Attached,
        *,
        network: Network,
        env: Mapping[str, str],
        describe: Callable[[LocalSandbox], Awaitable[SandboxInfo]],
        open_preview: OpenPreview,
    ) -> None:
        super().__init__(folder, attached)
        self._refusals = Refusals()
        self.network: Network = network
        self.env = env
        self._describe = describe
        self._open_preview = open_preview
        # Two marks written at once could otherwise be put in place in the wrong order.
        self._marking = anyio.Lock()

    @property
    def sandbox_id(self) -> str:
        return self._folder.root.name

    async def info(self) -> SandboxInfo:
        return await self._describe(self)

    def note_refusal(self, refusal: object) -> None:
        """Remember that a connection out was refused, for the command that wanted it."""
        self._refusals.add(refusal)

    def _notes(self, command: Command, exit_code: int | None, began: float) -> Sequence[str]:
        looked_in_vain = bool(exit_code) and self.isolation != "namespaces"
        return (*self._refusals.since(began), *(misled(command.text) if looked_in_vain else ()))

    # Network ---------------------------------------------------------------------------------------------------

    async def listening_ports(self) -> frozenset[int]:
        return (await self.ask("ports")).fields.ports("ports")

    async def preview(self, port: int, *, preferred: int | None = None) -> Preview:
        _check_port(port)
        self.check()
        if self.isolation == "restricted":
            return Preview(port=port, url=hostports.url_of(port, await self.listening_ports()), public=False)
        host_port = await self._open_preview(port, preferred)
        return Preview(port=port, url=f"http://127.0.0.1:{host_port}", public=False)

    async def connect(self, port: int) -> ByteStream:
        return await SocketStream.from_socket(await self.connected_socket(port))

    async def first_line(self, port: int, request: bytes, *, within_s: float) -> bytes:
        return await first_line_of(self.connect(port), request, within_s=within_s)

    async def connected_socket(self, port: int) -> socket.socket:
        """A TCP connection to the port, made inside. Raises `NotFound` where nothing listens."""
        _check_port(port)
        return await self._socket("connect", port)

    async def listening_socket(self, port: int, kind: str) -> socket.socket:
        """A socket that listens inside, on the sandbox's loopback, and is accepted from here."""
        return await self._socket("listen", port, kind)

    async def _socket(self, op: str, port: int, kind: str | None = None) -> socket.socket:
        fields = {"port": port} if kind is None else {"port": port, "kind": kind}
        reply = await self.ask(op, fields, within_s=CONNECT_S, wants_socket=True)
        if len(reply.sockets) != 1:
            raise Malformed("no socket")
        return reply.sockets[0]

    # Mark ------------------------------------------------------------------------------------------------------

    async def read_mark(self) -> bytes | None:
        self.check()
        with disk_faults("the sandbox's mark cannot be read"):
            return await anyio.to_thread.run_sync(marks.read, self._folder)

    async def mark_tag(self) -> str | None:
        self.check()
        with disk_faults("the sandbox's mark cannot be read"):
            return await anyio.to_thread.run_sync(marks.tag, self._folder)

    async def write_mark(self, mark: bytes) -> str:
        async with self._marking:
            self.check()
            with disk_faults("the sandbox's mark cannot be written"):
                return await anyio.to_thread.run_sync(self._write_mark, mark)

    async def clear_mark(self) -> None:
        async with self._marking:
            self.check()
            with disk_faults("the sandbox's mark cannot be removed"):
                await anyio.to_thread.run_sync(marks.clear, self._folder)

    def _write_mark(self, mark: bytes) -> str:
        return marks.write(self._folder, mark, born=self._fingerprint.files)


def _check_port(port: int) -> None:
    if not 0 < port < 65536:
        raise InvalidArgument(f"{port} is not a port", hint="Ports are 1 to 65535.")
