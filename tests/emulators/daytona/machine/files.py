"""Files of a sandbox, as the toolbox lists, reads, writes and changes them."""

from __future__ import annotations

import fnmatch
import grp
import os
import pwd
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import IO

from tests.emulators.daytona.machine.wire import DATA, END, Channel, Fields, Refusal, is_list

__all__ = ["FILE_OPERATIONS"]

_CHUNK = 1 << 16


def _absolute(fields: Fields, name: str = "path") -> str:
    path = fields.get(name)
    if not isinstance(path, str) or not path:
        raise Refusal(400, f"{name} is required", "BAD_REQUEST")
    if "\0" in path:
        raise Refusal(400, "invalid path", "INVALID_FILE_PATH")
    return os.path.join(os.getcwd(), path)


def _refusal(error: OSError, path: str) -> Refusal:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Refusal(404, f"file not found: {path}", "FILE_NOT_FOUND")
    if isinstance(error, PermissionError):
        return Refusal(403, f"permission denied: {path}", "FILE_ACCESS_DENIED")
    return Refusal(400, f"{(error.strerror or 'error').lower()}: {path}", "BAD_REQUEST")


def _info(path: str, name: str, found: os.stat_result) -> Fields:
    """As Go prints a file's mode and time, since the service's own daemon is written in it."""
    kind = {stat.S_IFDIR: "d", stat.S_IFLNK: "L", stat.S_IFIFO: "p", stat.S_IFSOCK: "S"}.get(
        stat.S_IFMT(found.st_mode), "-"
    )
    modified = datetime.fromtimestamp(found.st_mtime_ns // 10**9, tz=UTC)
    fraction = f"{found.st_mtime_ns % 10**9:09d}".rstrip("0")
    fraction = f".{fraction}" if fraction else ""
    return {
        "name": name,
        "path": path,
        "size": found.st_size,
        "mode": kind + stat.filemode(found.st_mode)[1:],
        "modTime": f"{modified:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC",
        "modifiedAt": f"{modified:%Y-%m-%dT%H:%M:%S}{fraction}Z",
        "isDir": stat.S_ISDIR(found.st_mode),
        "owner": str(found.st_uid),
        "group": str(found.st_gid),
        "permissions": f"{stat.S_IMODE(found.st_mode):04o}",
    }


def _list(_: Channel, fields: Fields) -> object:
    folder = _absolute(fields)
    depth = fields.get("depth")
    if not isinstance(depth, int):
        depth = 1
    found: list[Fields] = []
    pending = [(folder, depth)]
    while pending:
        at, left = pending.pop(0)
        for entry in sorted(os.scandir(at), key=lambda each: each.name):
            found.append(_info(entry.path, entry.name, entry.stat(follow_symlinks=False)))
            if left > 1 and entry.is_dir(follow_symlinks=False):
                pending.append((entry.path, left - 1))
    return found


def _stat(_: Channel, fields: Fields) -> object:
    path = _absolute(fields)
    return _info(path, os.path.basename(path), os.stat(path))


def _folder(_: Channel, fields: Fields) -> object:
    path = _absolute(fields)
    os.makedirs(path, exist_ok=True)
    os.chmod(path, _mode(fields))
    return {}


def _mode(fields: Fields) -> int:
    try:
        return int(str(fields.get("mode") or "0755"), 8)
    except ValueError:
        raise Refusal(400, "invalid mode", "BAD_REQUEST") from None


def _move(_: Channel, fields: Fields) -> object:
    source, target = _absolute(fields, "source"), _absolute(fields, "destination")
    if not os.path.lexists(source):
        raise Refusal(404, f"source not found: {source}", "FILE_NOT_FOUND")
    os.rename(source, target)
    return {}


def _delete(_: Channel, fields: Fields) -> object:
    path = _absolute(fields)
    if stat.S_ISDIR(os.lstat(path).st_mode):
        if fields.get("recursive") is not True:
            raise Refusal(400, "cannot delete directory without recursive flag", "BAD_REQUEST")
        shutil.rmtree(path)
    else:
        os.unlink(path)
    return {}


def _permissions(_: Channel, fields: Fields) -> object:
    path = _absolute(fields)
    os.stat(path)
    if fields.get("mode"):
        os.chmod(path, _mode(fields))
    owner, group = str(fields.get("owner") or ""), str(fields.get("group") or "")
    try:
        uid = -1 if not owner else int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
        gid = -1 if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise Refusal(400, "unknown user or group", "BAD_REQUEST") from None
    if uid != -1 or gid != -1:
        os.chown(path, uid, gid)
    return {}


def _walk(top: str) -> Iterator[str]:
    if not os.path.isdir(top):
        os.stat(top)
        yield top
    for folder, _, names in os.walk(top):
        for name in names:
            yield os.path.join(folder, name)


def _search(_: Channel, fields: Fields) -> object:
    top, pattern = _absolute(fields), str(fields.get("pattern") or "")
    os.stat(top)
    found: list[str] = []
    for folder, folders, names in os.walk(top):
        found += [os.path.join(folder, name) for name in [*folders, *names] if fnmatch.fnmatchcase(name, pattern)]
    return {"files": found}


def _lines(path: str) -> list[str] | None:
    """None for what is no text."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    return None if b"\0" in content[:512] else content.decode("utf-8", "replace").splitlines()


def _find(_: Channel, fields: Fields) -> object:
    top, pattern = _absolute(fields), str(fields.get("pattern") or "")
    found: list[Fields] = []
    for path in _walk(top):
        for number, line in enumerate(_lines(path) or (), start=1):
            if pattern in line:
                found.append({"file": path, "line": number, "content": line})
    return found


def _replace(_: Channel, fields: Fields) -> object:
    results: list[Fields] = []
    paths = fields.get("files")
    for each in paths if is_list(paths) else []:
        path = _absolute({"path": each})
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                content = file.read()
            with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(re.sub(str(fields.get("pattern")), lambda _: str(fields.get("newValue")), content))
            results.append({"file": each, "success": True})
        except (OSError, re.error) as error:
            results.append({"file": each, "success": False, "error": str(error)})
    return results


def _upload(channel: Channel, _fields: Fields) -> object:
    """Files one after another, each written in place as it comes: what is cut off stays half-written."""
    written: list[str] = []
    errors: list[str] = []
    while (head := channel.receive_fields()) is not None and isinstance(head.get("path"), str):
        path = _absolute(head)
        try:
            file = _open_new(path)
        except OSError as error:
            errors.append(_told(head, error))
            _skip(channel.chunks())
            continue
        chunks = channel.chunks()
        try:
            with file:
                for chunk in chunks:
                    file.write(chunk)
            written.append(path)
        except ConnectionError:
            raise
        except OSError as error:  # a full disk keeps what it had room for
            errors.append(_told(head, error))
            _skip(chunks)
    return {"files": written, "errors": errors}


def _told(head: Fields, error: OSError) -> str:
    return f"{head['path']}: {(error.strerror or 'error').lower()}"


def _skip(chunks: Iterator[bytes]) -> None:
    for _ in chunks:
        pass


def _open_new(path: str) -> IO[bytes]:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    return open(path, "wb")


def _open_old(path: str, said: object) -> IO[bytes]:
    if os.path.isdir(path):
        raise Refusal(400, f"path points to a directory: {said}", "INVALID_FILE_PATH")
    return open(path, "rb")


def _download(channel: Channel, fields: Fields) -> object:
    paths = fields.get("paths")
    for each in paths if is_list(paths) else []:
        try:
            with _open_old(_absolute({"path": each}), each) as file:
                channel.send_fields({"part": each, "size": os.fstat(file.fileno()).st_size})
                while chunk := file.read(_CHUNK):
                    channel.send(DATA, chunk)
            channel.send(END)
        except (OSError, Refusal) as error:
            if isinstance(error, ConnectionError):
                raise
            refusal = error if isinstance(error, Refusal) else _refusal(error, str(each))
            channel.send_fields(
                {"part": each, "status": refusal.status, "code": refusal.code, "message": refusal.message}
            )
            channel.send(END)
    return {}


def _guarded(operation: Callable[[Channel, Fields], object]) -> Callable[[Channel, Fields], object]:
    def guarded(channel: Channel, fields: Fields) -> object:
        try:
            return operation(channel, fields)
        except ConnectionError:
            raise
        except OSError as error:
            raise _refusal(error, str(fields.get("path") or fields.get("source") or "")) from error

    return guarded


FILE_OPERATIONS = {
    f"files.{name}": _guarded(operation)
    for name, operation in {
        "delete": _delete,
        "download": _download,
        "find": _find,
        "folder": _folder,
        "info": _stat,
        "list": _list,
        "move": _move,
        "permissions": _permissions,
        "replace": _replace,
        "search": _search,
        "upload": _upload,
    }.items()
}
