"""The contract of a provider and of the sandboxes that it makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Protocol

from anyio.abc import ByteStream

from vaporform_mcp.sandboxes.listings import FileStat, Rescan, Scan
from vaporform_mcp.sandboxes.records import (
    BATCH,
    MAX_FILE_BATCH_BYTES,
    Activity,
    Batch,
    Command,
    CommandResult,
    FileContent,
    FileFault,
    FileWrite,
    OutputChunk,
    Preview,
    Printed,
    ProcessStatus,
    ProviderInfo,
    RunState,
    SandboxInfo,
    TerminalSize,
)
from vaporform_mcp.sandboxes.snapshots import Snapshots
from vaporform_mcp.types import ROOT, Phase, Spec, Stat, WorkspacePath

__all__ = [
    "BATCH",
    "MAX_FILE_BATCH_BYTES",
    "Activity",
    "Batch",
    "Command",
    "CommandResult",
    "FileContent",
    "FileFault",
    "FileStat",
    "FileWrite",
    "OnPhase",
    "OutputChunk",
    "Preview",
    "Printed",
    "ProcessStatus",
    "Provider",
    "ProviderInfo",
    "Rescan",
    "RunState",
    "Sandbox",
    "SandboxInfo",
    "Scan",
    "TerminalSize",
]

OnPhase = Callable[[Phase, float], None]
"""Called with where the making of a sandbox stands and how much of it is done, 0 to 100. Never awaits."""


class Sandbox(Protocol):
    """A live machine with the workspace in a folder of it, in which commands start.

    That is /workspace, but where its provider shows a machine's own paths; there `Command.cwd` still may name it so.

    Every method may raise `SandboxLost` (it is gone: acquire it anew) and `SandboxUnavailable` (it did not answer in
    time). Every method is bounded in time. Methods that take many paths answer in their order, one item for each.
    """

    workspace_id: str
    epoch: int

    @property
    def sandbox_id(self) -> str:
        """What the provider calls it; enough, with its name, to find it again."""
        ...

    @property
    def isolation(self) -> str:
        """How what runs in it is isolated, in a word; `info` says what that leaves open."""
        ...

    @property
    def batch(self) -> Batch:
        """What one `read_files` or `write_files` is to carry: more, where each costs a round trip."""
        ...

    async def info(self) -> SandboxInfo: ...

    # Commands --------------------------------------------------------------------------------------------------

    async def exec(
        self,
        command: Command,
        *,
        wait_s: float | None = None,
        until_port: bool = False,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run a command; answer when its shell has ended, its time is up, or `wait_s` has passed.

        Background children that it leaves do not keep it waiting and live on. After `wait_s` (0: at once), and with
        `until_port` as soon as a new port listens, it answers RUNNING and the command outlives this call and this
        server. Cancelled before that, its whole tree is killed. `on_output` gets what is printed, in order; what
        comes faster than it can be sent is skipped.

        `SandboxLost` is raised only while the command has not begun, so that repeating it on a new sandbox is safe;
        a sandbox that ends later is answered with the state LOST.

        Raises:
            NotFound: `cwd` does not exist.
            NotADirectory: `cwd` is not a folder.
            LimitReached: no more processes.
        """
        ...

    async def processes(self) -> Sequence[ProcessStatus]:
        """Commands that run, and the latest that ended, oldest first."""
        ...

    async def activity(self) -> Activity:
        """`processes` and `listening_ports` at once, for the price of one where each costs a round trip."""
        ...

    async def process(self, process_id: str) -> ProcessStatus:
        """Raises `NotFound`."""
        ...

    async def wait(self, process_id: str, *, wait_s: float, offset: int | None = None) -> ProcessStatus:
        """Wait until it has ended, `wait_s` has passed or, with `offset`, it has printed beyond that many bytes."""
        ...

    async def output(self, process_id: str, *, offset: int, limit: int) -> OutputChunk:
        """At most `limit` bytes of what it printed, from `offset`; an offset at the end answers with nothing."""
        ...

    async def send_input(self, process_id: str, data: bytes, *, eof: bool = False) -> None:
        """Raises `NotSupported` where its stdin is closed, `NotFound` where it has ended or never was."""
        ...

    async def resize(self, process_id: str, size: TerminalSize) -> None:
        """Give its terminal another size, of which its programs are told. Raises `NotSupported` where it has none,
        `NotFound` where it has ended or never was, `InvalidArgument`.
        """
        ...

    async def stop(self, process_id: str, *, grace_s: float = 5.0) -> ProcessStatus:
        """SIGTERM (where it has a terminal, SIGHUP too), and after `grace_s` SIGKILL to its whole tree. One that has
        ended is answered as it ended.
        """
        ...

    # Files -----------------------------------------------------------------------------------------------------

    async def read_files(
        self, paths: Sequence[WorkspacePath], *, max_bytes: int, follow: bool = True
    ) -> Sequence[FileContent | FileFault]:
        """Whole files. Faults: NotFound, IsDirectory, PermissionDenied, TooLarge (over `max_bytes`), InvalidPath (a
        symlink that leaves the workspace), InvalidArgument (a device, socket or FIFO), Conflict (it kept changing
        while it was read). Together at most the bytes of `batch`: what no longer fits is a TooLarge fault, but
        never the first. With `follow` unset, a symlink is read as a link.
        """
        ...

    def read_stream(self, path: WorkspacePath) -> AsyncIterator[bytes]:
        """A file of any size in chunks, in bounded memory. Raises what `read_files` has as faults."""
        ...

    async def write_files(self, files: Sequence[FileWrite]) -> Sequence[FileStat | FileFault]:
        """Replace or create files, each atomically; missing folders are made. Together at most
        the bytes of `batch`, else TooLarge. A symlink on the way is followed if it stays inside the workspace; the
        path answered is where the file really lies. Faults: InvalidArgument (a device, socket or FIFO), IsDirectory,
        NotADirectory (a part of the path is a file), InvalidPath, PermissionDenied, LimitReached (disk full),
        Conflict (the file is not the one expected; no write of any server comes between the look and the change).
        """
        ...

    async def write_stream(
        self,
        path: WorkspacePath,
        chunks: AsyncIterator[bytes],
        *,
        mode: int | None = None,
        expected: Stat | None = None,
    ) -> FileStat:
        """One file of any size, atomically: nothing of it is to be seen before the last chunk.

        `mode` and `expected` are as in `FileWrite`. Raises what `write_files` has as faults.
        """
        ...

    async def remove_files(self, paths: Sequence[WorkspacePath]) -> Sequence[FileFault]:
        """Remove files and symlinks, and the folders that this leaves empty. What is not there is no fault."""
        ...

    async def stat_files(self, paths: Sequence[WorkspacePath]) -> Sequence[FileStat | FileFault | None]:
        """The paths themselves (a symlink at the end is not followed).

        None says that nothing is there. Whatever keeps it from being known is a fault: PermissionDenied (a folder on
        the way is closed), InvalidPath (a symlink on the way leaves the workspace or leads in a circle), LimitReached.
        """
        ...

    async def scan(
        self,
        *,
        under: WorkspacePath = ROOT,
        prune: Collection[str] = (),
        depth: int | None = None,
        limit: int = 1_000_000,
        watch: bool = False,
    ) -> Scan:
        """Everything under a folder to `depth` levels (None: all), without what lies in folders named in `prune`.

        The pruned folders themselves are listed. `watch` asks for a `cursor`, of the whole workspace only.
        Raises `NotFound`, `NotADirectory`.
        """
        ...

    async def rescan(self, cursor: str) -> Rescan | None:
        """What may have changed since the newest cursor of this handle, at a cost that does not grow with the tree.

        None where that cannot be told: a scan is due. What was changed through a memory mapping that is still held,
        or by a name of the file outside the workspace, only a scan finds.
        """
        ...

    # Network ---------------------------------------------------------------------------------------------------

    async def listening_ports(self) -> frozenset[int]:
        """TCP ports that something in the workspace listens on."""
        ...

    async def preview(self, port: int, *, preferred: int | None = None) -> Preview:
        """A URL that reaches the port, whether or not anything listens yet; the same one while the server runs.

        `preferred` is the host port that earlier previews of it had.

        Raises:
            Conflict: the port is one of this machine's own, and another program listens on it.
        """
        ...

    async def connect(self, port: int) -> ByteStream:
        """A TCP connection to the port on the sandbox's loopback. Raises `NotFound` where nothing listens."""
        ...

    async def first_line(self, port: int, request: bytes, *, within_s: float) -> bytes:
        """Send to the port; what it answers, at least to the end of the first line, or as far as it came in time.
        Raises `NotFound` where nothing listens.
        """
        ...

    # Mark ------------------------------------------------------------------------------------------------------

    async def read_mark(self) -> bytes | None:
        """The mark, or None where there is none or it belongs to other files than the workspace's now."""
        ...

    async def write_mark(self, mark: bytes) -> str:
        """Replace the mark, atomically; out of reach of commands. Answers with its `mark_tag`."""
        ...

    async def mark_tag(self) -> str | None:
        """Stands for the mark that `read_mark` would answer with: another mark has another. None where it has none."""
        ...

    async def clear_mark(self) -> None: ...

    async def aclose(self) -> None:
        """Let go of the handle; the sandbox itself goes on. Safe to call twice."""
        ...


class Provider(Protocol):
    """Makes, finds and destroys sandboxes. At most one is live for each workspace and epoch."""

    @property
    def name(self) -> str: ...

    async def acquire(self, spec: Spec, workspace_id: str, epoch: int, on_phase: OnPhase) -> Sandbox:
        """The workspace's sandbox of that epoch: found, started or created, and ready. Safe to repeat.

        Raises:
            SandboxUnavailable: it cannot be had; the hint says what mends it.
            NotSupported: the spec asks for what this provider does not have.
        """
        ...

    async def find(self, spec: Spec, workspace_id: str, epoch: int, on_phase: OnPhase) -> Sandbox | None:
        """The same, where there is one already; None where there is none, and none is made. Raises as `acquire`."""
        ...

    async def destroy(self, workspace_id: str, epoch: int) -> None:
        """Remove that sandbox with everything in it, if it exists. Safe to repeat."""
        ...

    async def describe(self) -> ProviderInfo: ...

    @property
    def snapshots(self) -> Snapshots:
        """`NoSnapshots` where it has none."""
        ...

    async def aclose(self) -> None:
        """Let go of every handle; sandboxes go on. Safe to call twice."""
        ...
