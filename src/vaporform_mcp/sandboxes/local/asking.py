"""A handle of a local sandbox, which may have outlived what it stands for."""

from __future__ import annotations

from collections.abc import Mapping

from vaporform_mcp.errors import SandboxLost, VaporformError
from vaporform_mcp.sandboxes.local import layout
from vaporform_mcp.sandboxes.local.attach import Attached
from vaporform_mcp.sandboxes.local.client import SocketReply
from vaporform_mcp.sandboxes.local.config import Level
from vaporform_mcp.sandboxes.local.flushing import flush_files
from vaporform_mcp.sandboxes.local.layout import Folder
from vaporform_mcp.sandboxes.supervised.asking import ANSWER_S, WORKSPACE, Asking, LostMeanwhile, OnEvent
from vaporform_mcp.sandboxes.supervised.fields import JsonValue

__all__ = ["Handle"]


class Handle(Asking):
    """The ground of a local sandbox: its connection, and the files that it was given for."""

    def __init__(self, folder: Folder, attached: Attached) -> None:
        self.workspace_id = folder.workspace_id
        self.epoch = folder.epoch
        self._folder = folder
        self._files = folder.files
        self._connection = attached.connection
        self._fingerprint = attached.fingerprint

    @property
    def is_live(self) -> bool:
        """Whether the sandbox still is what the handle was made for."""
        return self._connection.is_open and layout.birth(self._files) == self._fingerprint.files

    @property
    def isolation(self) -> Level:
        """The level that the sandbox was started at, whoever started it."""
        return self._fingerprint.level

    @property
    def start(self) -> int:
        return self._fingerprint.start

    @property
    def shown_at(self) -> str:
        return WORKSPACE if self.isolation == "namespaces" else str(self._files)

    @property
    def scratch(self) -> str:
        """A folder for what is not to be in the workspace, as commands name it."""
        return "/tmp" if self.isolation == "namespaces" else str(self._folder.tmp)  # noqa: S108  # the sandbox's own

    @property
    def tools(self) -> str:
        """The folder of single programs, where a sandbox sees the host's own paths."""
        return str(self._folder.tools)

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's process on this host; 0 where it is not known."""
        return self._connection.hello.pid

    def check(self) -> None:
        if not self._connection.is_open:
            raise SandboxLost(
                "the sandbox has ended, and with it what it ran",
                hint="Repeat the call: the sandbox is started again, with its files.",
            )
        if layout.birth(self._files) != self._fingerprint.files:
            self._connection.close()
            raise SandboxLost(
                "the sandbox's files have been removed from this machine",
                hint="Repeat the call: the workspace is restored from its mirror.",
            )

    async def ask(
        self,
        op: str,
        fields: Mapping[str, JsonValue] | None = None,
        data: bytes = b"",
        *,
        within_s: float | None = ANSWER_S,
        on_event: OnEvent | None = None,
        wants_socket: bool = False,
        cancels: bool = False,
    ) -> SocketReply:
        """As the contract has it, and `Connection.request`; the sandbox has ended also where its files vanished."""
        self.check()
        try:
            reply = await self._connection.request(
                op, fields, data, within_s=within_s, on_event=on_event, wants_socket=wants_socket, cancels=cancels
            )
        except LostMeanwhile:
            raise
        except VaporformError:
            self.check()  # that explains the error better
            raise
        try:
            # An answer about files that are no longer the workspace's is worse than none.
            self.check()
        except SandboxLost as error:
            for one in reply.sockets:
                one.close()
            raise LostMeanwhile from error
        return reply

    async def flush(self) -> None:
        await flush_files(self._files)

    async def wait_closed(self) -> None:
        """Until the handle is let go of or the sandbox has ended."""
        await self._connection.wait_closed()

    async def aclose(self) -> None:
        """Let go of the connection; the sandbox goes on."""
        self._connection.close()
