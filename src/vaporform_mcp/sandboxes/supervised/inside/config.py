"""What the host tells the supervisor at its start."""

from __future__ import annotations

import json
import os
import stat

__all__ = ["NETWORKS", "Config", "Restricted", "read_config"]

MAX_CONFIG_BYTES = 4 * 1024 * 1024


NETWORKS = ("internet", "none", "host")


class Restricted:
    """How a sandbox without namespaces is confined.

    `read` has paths that may be read and, where marked x, executed; what is in `write` may be changed too. Of the
    `network`, internet and none are this machine's loopback as far as the sandbox itself listens there; internet is
    also `egress`, a descriptor of the proxy's listening socket, and `open_ports`, which other programs of this machine
    serve at 127.0.0.1 and a person opened. `uid` is whom a supervisor of root's becomes. `abi`
    bounds what is used of Landlock, and `addfd` does without copies of commands' descriptors; both are for tests.
    """

    def __init__(self, fields: dict[str, object]) -> None:
        self.read = [(_item(each, 0), _item(each, 1) == "x") for each in _list(fields, "read")]
        self.write = [each for each in _list(fields, "write") if isinstance(each, str)]
        self.network = _text(fields, "network", "none")
        self.egress = _optional(fields, "egress")
        self.open_ports = frozenset(each for each in _list(fields, "open_ports") if isinstance(each, int))
        self.uid = _optional(fields, "uid")
        self.abi = _optional(fields, "abi")
        self.addfd = fields.get("addfd", False) is True
        if self.network not in NETWORKS:
            raise ValueError("network")


class Config:
    """`workspace`, `epoch` and `digest` are repeated in every greeting. `env` is the environment of commands.

    `outside_only` refuses peers that have a process id in our own namespace: commands. `root` is where the workspace
    is, `spool_dir` where long output goes; both are fixed in a sandbox with namespaces. Without, it is `restricted`.
    `machine_ports` are served by the machine itself, and no command's.
    """

    def __init__(self, fields: dict[str, object]) -> None:
        self.workspace = _text(fields, "workspace", "")
        self.epoch = int(_number(fields, "epoch", 0))
        self.digest = _text(fields, "config", "")
        self.linger_s = _number(fields, "linger_s", 600)
        self.env = {name: str(value) for name, value in _object(fields, "env").items()}
        self.shell = _text(fields, "shell", "/bin/sh")
        self.limits = {name: value for name, value in _object(fields, "limits").items() if isinstance(value, int)}
        self.max_processes = int(_number(fields, "max_processes", 64))
        self.outside_only = fields.get("outside_only", True) is not False
        self.machine_ports = frozenset(each for each in _list(fields, "machine_ports") if isinstance(each, int))
        self.root = _text(fields, "root", "/workspace")
        self.spool_dir = _text(fields, "spool_dir", "/tmp/vaporform")  # noqa: S108  # private to the sandbox
        restricted = _object(fields, "restricted") if fields.get("restricted") is not None else None
        self.restricted = Restricted(restricted) if restricted is not None else None


def read_config(descriptor: int) -> Config:
    """Read it to its end, and close it. A file in memory may come with its offset anywhere."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.lseek(descriptor, 0, os.SEEK_SET)
    content = bytearray()
    while len(content) < MAX_CONFIG_BYTES and (more := os.read(descriptor, 65536)):
        content += more
    os.close(descriptor)
    fields: dict[str, object] = json.loads(content)
    return Config(fields)


def _text(fields: dict[str, object], name: str, default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _number(fields: dict[str, object], name: str, default: float) -> float:
    value = fields.get(name, default)
    if not isinstance(value, int | float):
        raise TypeError(name)
    return value


def _object(fields: dict[str, object], name: str) -> dict[str, object]:
    value: object = fields.get(name, {})
    if not isinstance(value, dict):
        raise TypeError(name)
    return {**value}  # pyright: ignore[reportUnknownVariableType]  # it holds anything


def _optional(fields: dict[str, object], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, int):
        raise TypeError(name)
    return value


def _list(fields: dict[str, object], name: str) -> list[object]:
    value: object = fields.get(name, [])
    if not isinstance(value, list):
        raise TypeError(name)
    return [*value]  # pyright: ignore[reportUnknownVariableType]  # it holds anything


def _item(pair: object, index: int) -> str:
    if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[index], str):  # pyright: ignore[reportUnknownArgumentType]
        return pair[index]  # pyright: ignore[reportUnknownVariableType]
    raise TypeError("read")
