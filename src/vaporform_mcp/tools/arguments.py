"""Tool arguments, declared once: what a client is told to send, and how what it does send is understood."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.tools.values import (
    as_flag,
    as_mapping,
    as_number,
    as_text,
    as_whole,
    between,
    excerpt,
    shown,
)

__all__ = [
    "Argument",
    "Arguments",
    "Json",
    "choice",
    "flag",
    "mapping",
    "optional_flag",
    "optional_seconds",
    "optional_text",
    "optional_whole",
    "parse",
    "schema",
    "text",
    "whole",
]

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
D = TypeVar("D")

# Some agents send a checklist of their own with every call.
_SILENTLY_IGNORED = frozenset({"task_progress"})

_MAX_SECONDS = 86_400

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument(Generic[T_co]):
    """One argument. `schema` is the JSON Schema of its value; `aliases` are other names that models give it.

    `convert` makes the value of what was sent, None standing for nothing; its ValueError says what the value must be
    ("must be a string"). Names in camelCase or with hyphens are understood without being listed.
    """

    name: str
    schema: Mapping[str, Json]
    required: bool
    convert: Callable[[object], T_co]
    aliases: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Checked arguments. `ignored` are the names that were sent and mean nothing to the tool."""

    sent: Mapping[str, object]
    ignored: Sequence[str]

    def __getitem__(self, argument: Argument[T]) -> T:
        return argument.convert(self.sent.get(argument.name))


def schema(arguments: Sequence[Argument[object]], *, closed: bool) -> dict[str, Json]:
    """The JSON Schema of an object with these properties; `closed` forbids others."""
    made: dict[str, Json] = {"type": "object", "properties": {each.name: each.schema for each in arguments}}
    if required := [each.name for each in arguments if each.required]:
        made["required"] = required
    if closed:
        made["additionalProperties"] = False
    return made


def parse(
    tool: str, arguments: Sequence[Argument[object]], sent: Mapping[str, object], *, closed: bool = False
) -> Arguments:
    """Match what was sent with what is declared.

    Raises:
        InvalidArgument: with every fault at once. Where `closed`, a name that is not declared is one.
    """
    named, ignored = _named(arguments, sent)
    faults = [fault for each in arguments if (fault := _fault(each, named))]
    if closed and ignored:
        faults.append(f"it has no argument {_listed(ignored)}")
    if faults:
        takes = ", ".join(each.name if each.required else f"{each.name}?" for each in arguments)
        raise InvalidArgument(
            f"{tool} was not run: " + "; ".join(faults), hint=f"Call it again with what it takes: {takes or 'nothing'}."
        )
    return Arguments(sent=named, ignored=ignored)


def _named(
    arguments: Sequence[Argument[object]], sent: Mapping[str, object]
) -> tuple[dict[str, object], tuple[str, ...]]:
    """What was sent under the declared names, and the names that are left over. The declared name beats an alias."""
    meaning = {alias: each.name for each in arguments for alias in each.aliases}
    meaning |= {each.name: each.name for each in arguments}
    named = {each.name: sent[each.name] for each in arguments if sent.get(each.name) is not None}
    ignored: list[str] = []
    for key, value in sent.items():
        name = meaning.get(key) or meaning.get(_snake(key))
        if name == key or value is None or _snake(key) in _SILENTLY_IGNORED:
            continue
        if name is None or name in named:
            ignored.append(shown(key))
        else:
            named[name] = value
    return named, tuple(ignored)


def _fault(argument: Argument[object], named: Mapping[str, object]) -> str | None:
    value = named.get(argument.name)
    try:
        if isinstance(value, str):
            value.encode()
        argument.convert(value)
    except UnicodeEncodeError:
        return f"{argument.name} is not valid Unicode text"
    except ValueError as error:
        return f"{argument.name} {error}"
    return None


def _snake(key: str) -> str:
    return _HUMP.sub("_", key).replace("-", "_").lower()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:10])


# Kinds of arguments --------------------------------------------------------------------------------------------------


def text(name: str, description: str = "", *, aliases: Sequence[str] = ()) -> Argument[str]:
    return _required(name, _described("string", description), as_text, aliases)


def optional_text(name: str, description: str = "", *, aliases: Sequence[str] = ()) -> Argument[str | None]:
    return _optional(name, _described("string", description), as_text, None, aliases)


def choice(name: str, choices: Sequence[str], *, default: str) -> Argument[str]:
    def convert(value: object) -> str:
        said = as_text(value).strip().lower()
        if said not in choices:
            raise ValueError(f"must be {' or '.join(choices)}, not {excerpt(value)}")
        return said

    return _optional(name, {"type": "string", "enum": list(choices)}, convert, default)


def whole(name: str, *, minimum: int, maximum: int) -> Argument[int]:
    return _required(name, _described("integer"), between(as_whole, minimum, maximum))


def optional_whole(
    name: str, description: str = "", *, minimum: int, aliases: Sequence[str] = ()
) -> Argument[int | None]:
    return _optional(name, _described("integer", description), between(as_whole, minimum, 2**62), None, aliases)


def optional_seconds(name: str, description: str = "", *, minimum: float) -> Argument[float | None]:
    """At most a day."""
    return _optional(name, _described("number", description), between(as_number, minimum, _MAX_SECONDS), None)


def flag(name: str, description: str = "", *, aliases: Sequence[str] = ()) -> Argument[bool]:
    """False where it is not sent."""
    return _optional(name, _described("boolean", description), as_flag, default=False, aliases=aliases)


def optional_flag(name: str, description: str = "") -> Argument[bool | None]:
    return _optional(name, _described("boolean", description), as_flag, None)


def mapping(name: str) -> Argument[Mapping[str, str]]:
    """Strings by name; empty where it is not sent."""
    return _optional(name, _described("object"), as_mapping, dict[str, str]())


def _required(
    name: str, value_schema: Mapping[str, Json], convert: Callable[[object], T], aliases: Sequence[str] = ()
) -> Argument[T]:
    def present(value: object) -> T:
        if value is None:
            raise ValueError("is missing")
        return convert(value)

    return Argument(name=name, schema=value_schema, required=True, convert=present, aliases=aliases)


def _optional(
    name: str,
    value_schema: Mapping[str, Json],
    convert: Callable[[object], T],
    default: D,
    aliases: Sequence[str] = (),
) -> Argument[T | D]:
    def maybe(value: object) -> T | D:
        return default if value is None else convert(value)

    return Argument(name=name, schema=value_schema, required=False, convert=maybe, aliases=aliases)


def _described(kind: str, description: str = "") -> dict[str, Json]:
    return {"type": kind, "description": description} if description else {"type": kind}
