"""Files as resources: their addresses, what is at one, and how one that is being typed may go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from vaporform_mcp.errors import InvalidArgument, NotFound, Unavailable
from vaporform_mcp.types import WorkspaceName, WorkspacePath, parse_name, parse_path

if TYPE_CHECKING:  # a server that is only asked for its tools must not pay for loading what they call
    from vaporform_mcp.manager import Manager
    from vaporform_mcp.workspace.results import FileText

__all__ = ["FILE", "MAX_COMPLETIONS", "REVISION_FILE", "Address", "complete", "parse_address", "read"]

SCHEME = "workspace://"
FILE = "workspace://{name}/files/{path}"
REVISION_FILE = "workspace://{name}/revisions/{n}/files/{path}"

MAX_COMPLETIONS = 100
_MAX_URI_CHARS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What an URI names. `at` is a revision's number or label; None for the file as it is now."""

    name: WorkspaceName
    path: WorkspacePath
    at: str | None

    def __str__(self) -> str:
        where = f"/revisions/{quote(self.at, safe='')}" if self.at is not None else ""
        return f"{SCHEME}{self.name}{where}/files/{quote(self.path)}"


def parse_address(uri: str) -> Address:
    """Parts are percent-decoded; the path's slashes may be encoded too, as a template's expansion does it.

    Raises:
        InvalidArgument: it is not of one of the two forms, or what it names is no name, point or path.
    """
    rest = uri.removeprefix(SCHEME)
    name, _, rest = rest.partition("/")
    at = None
    if rest.startswith("revisions/"):
        at, _, rest = rest.removeprefix("revisions/").partition("/")
    if not uri.startswith(SCHEME) or not rest.startswith("files/") or at == "" or len(uri) > _MAX_URI_CHARS:
        raise InvalidArgument(
            f"{uri[:200]!r} is no resource of this server", hint=f"They are {FILE} and {REVISION_FILE}."
        )
    path = parse_path(_decoded(rest.removeprefix("files/")))
    return Address(name=parse_name(_decoded(name)), path=path, at=None if at is None else _decoded(at))


async def read(manager: Manager, owner: str, address: Address, *, wait_s: float) -> FileText:
    """The file at an address; of one that is asked for as it is now, from the sandbox, and from the mirror where the
    sandbox cannot be had. A workspace that does not exist is not made.

    Raises:
        NotFound, TooLarge, and what reading a file raises.
    """
    archive = manager.archive
    if address.at is not None:
        return await archive.file(owner, address.name, address.path, address.at)
    await archive.find(owner, address.name)
    try:
        workspace = await manager.workspace(owner, address.name, wait_s=wait_s)
    except Unavailable:
        return await archive.file(owner, address.name, address.path, None)
    file = await workspace.read(address.path)
    if file.removed:
        there = Address(name=address.name, path=address.path, at=str(file.revision))
        raise NotFound(f"{address.path!r} is gone from the sandbox", hint=f"It last was at {there}.")
    return file


async def complete(
    manager: Manager, owner: str, argument: str, value: str, others: Mapping[str, str]
) -> tuple[Sequence[str], int]:
    """Values that the argument (name, n or path) may have, at most `MAX_COMPLETIONS`, and how many there are.

    `others` are the arguments that are settled already. Those that begin with `value` come, else those that have it.
    """
    archive = manager.archive
    try:
        match argument:
            case "name" | "workspace":
                known = await archive.names(owner)
            case "n":
                known = await archive.points(owner, parse_name(others.get("name", "")))
            case "path":
                known = await archive.paths(owner, parse_name(others.get("name", "")), others.get("n"))
            case _:
                known = ()
    except (InvalidArgument, NotFound):
        known = ()  # what was typed before is not there: so there is nothing to go on with
    found = [each for each in known if each.startswith(value)] or [each for each in known if value in each]
    return found[:MAX_COMPLETIONS], len(found)


def _decoded(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise InvalidArgument(f"{part[:200]!r} is not UTF-8, percent-encoded", hint="Encode it as UTF-8.") from None
