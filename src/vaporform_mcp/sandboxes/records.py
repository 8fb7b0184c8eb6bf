"""What goes into a sandbox and comes out of it, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from vaporform_mcp.errors import VaporformError
from vaporform_mcp.types import EntryKind, Stat, WorkspacePath

MAX_FILE_BATCH_BYTES = 8 * 1024 * 1024
"""What every sandbox takes in one `write_files` and answers one `read_files` with; larger files are streamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How many files, and bytes of them together, one request about files carries at most."""

    files: int
    size_bytes: int


BATCH = Batch(files=500, size_bytes=MAX_FILE_BATCH_BYTES)
"""What a provider's requests carry unless it says otherwise."""


class RunState(StrEnum):
    RUNNING = "running"
    EXITED = "exited"
    TIMED_OUT = "timed_out"  # its own deadline came; its whole tree was killed
    KILLED = "killed"  # somebody stopped it, or a signal ended it
    LOST = "lost"  # its sandbox ended while it ran


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSize:
    """Each from 1 to 1,000."""

    columns: int = 80
    rows: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One shell line. `cwd` is absolute inside the sandbox, or relative to the workspace.

    `timeout_s` counts from the start; when it has passed the command's whole process tree is killed. None means that
    it may run on. `env` is added to the sandbox's own environment. `stdin` is given whole, then closed; None with
    `interactive` keeps it open for `send_input`, None without it is an empty one.

    With a `terminal` of its own it reads what is typed there: first `stdin`, then what `send_input` brings. A key is
    its byte, as 3 is Ctrl-C; the end of input is Ctrl-D. What it prints is what a terminal is told, escapes and all.

    Where stdout and stderr are to be kept `apart`, which a terminal cannot, all that is told of output but
    `CommandResult.stderr` is of stdout.
    """

    text: str
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout_s: float | None = None
    stdin: bytes | None = None
    interactive: bool = False
    terminal: TerminalSize | None = None
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """The first and last bytes of one output; `omitted_bytes` were printed between them."""

    head: bytes
    tail: bytes
    omitted_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended, or that it goes on.

    `exit_code` is None exactly when `state` is not EXITED; death by signal n that nobody here sent is EXITED with
    128 + n. `head` and `tail` are the first and last bytes of stdout and stderr, interleaved as printed;
    `omitted_bytes` were printed between them. `output_file` names a file in the sandbox, outside the workspace, that
    holds more of it. `ports` listen at that moment, whoever opened them. `notes` are what the provider has to say of
    it, such as a connection that it refused meanwhile. `process_id` is empty where the state is LOST.
    `stderr` is given where it was to be kept apart.
    """

    process_id: str
    state: RunState
    exit_code: int | None
    head: bytes
    tail: bytes
    omitted_bytes: int
    duration_ms: int
    output_file: str | None
    ports: frozenset[int]
    notes: Sequence[str] = ()
    stderr: Printed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One command that runs or ran. `started_at` is seconds since the Unix epoch; `output_bytes` is all it printed.

    `terminal` is the size of its terminal, where it has one.
    """

    id: str
    command: str
    state: RunState
    exit_code: int | None
    started_at: float
    duration_ms: int
    output_bytes: int
    terminal: TerminalSize | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What goes on in a sandbox: commands that run or ran, oldest first, and the TCP ports that listen."""

    processes: Sequence[ProcessStatus]
    ports: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputChunk:
    """Output from `offset` on. `omitted_bytes` before it were asked for but are no longer kept."""

    data: bytes
    offset: int
    next_offset: int
    omitted_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """A file's whole content (of a symlink read as one: its target) with a stat that held before and after.

    `elsewhere`: a symbolic link on its way led to another place than its path says.
    """

    path: WorkspacePath
    stat: Stat
    content: bytes
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFault:
    """Why one file of a batch could not be served; the others were."""

    path: WorkspacePath
    error: VaporformError


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWrite:
    """A file to be. `mode` None keeps that of the file replaced, or is 0o644. A SYMLINK's content is its target.

    `expected`, where it is given, is the stat of the file that may be replaced: where another is there, or none, the
    write is refused.
    """

    path: WorkspacePath
    content: bytes
    mode: int | None = None
    kind: EntryKind = EntryKind.FILE
    expected: Stat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A URL that reaches a port. `public`: anyone with the URL. Otherwise only this computer or, where there is
    `expires_at`, whoever has the URL until then. `sleeps_min`: minutes without use until the sandbox and with it the
    URL sleeps; a new link is needed then where this one expires.
    """

    port: int
    url: str
    public: bool
    expires_at: float | None = None
    sleeps_min: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxInfo:
    """What a sandbox is: isolation level, what it leaves open, tools with versions.
    `reason` says why the level is not a better one, and `mend` how it would be; both are empty where there is none.
    """

    isolation: str
    gaps: Sequence[str]
    network: str
    toolchains: Mapping[str, str]
    reason: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    name: str
    isolation: str
    images: Sequence[str]
    snapshots: Sequence[str]
    public_previews: bool
    limits: Mapping[str, str]
