"""The frames between a server and the supervisor of a sandbox.

One Unix stream socket per attached server. A frame is two unsigned 32-bit integers in network order, the lengths of a
JSON object and of the bytes that follow it, then these. File descriptors ride (SCM_RIGHTS) with the first byte of the
frame whose object has ``fds``, the number of them.

The supervisor speaks first: ``{"hello": PROTOCOL, "workspace": id, "epoch": n, "config": digest, "attached": n}``
where `config` is the digest that the supervisor was started with and `attached` counts servers, this one included.

Then requests ``{"id": n, "op": name, …}`` each get one reply, in any order: ``{"id": n, "ok": {…}}`` or
``{"id": n, "error": {"code": c, "message": m}}`` with a code of `vaporform_mcp.errors`, often with a ``hint`` too. A
request may have events before its reply: ``{"id": n, "event": name, …}``. Ids are chosen by the server, and rise.

Paths are relative to /workspace; "" is the workspace itself. A *stat* is
``[kind, size, mode, mtime_ns, ctime_ns, inode]`` with kind f, d, l or o (other). A *process* is
``{"id", "command", "state", "exit_code", "started_at", "duration_ms", "output_bytes", "terminal"}`` with states
running, exited, timed_out, killed, and `terminal` the columns and rows of the one that it has, or null.

======== ============================================================ ==============================================
op       request (bytes)                                              ok (bytes)
======== ============================================================ ==============================================
run      command, cwd, env, timeout_s|null, wait_s|null, until_port,  process, omitted_bytes, head_bytes,
         stream, interactive, unlisted, terminal: [columns, rows]|    output_file|null, ports (head, then tail)
         null, apart (stdin; without bytes: closed)                   stderr: {head_bytes, tail_bytes, total}
join     key, wait_s, last, offset|null, settle_s, until_port,        process, full; of a full one as of run; with
         lease_s|null                                                 offset next_offset, chunk_bytes (then output)
cancel   target: the id of a run that has not replied; or key         {}; the run replies too, state killed
list                                                                  processes
wait     process, wait_s, offset|null                                 process
output   process, offset, limit                                       offset, next_offset, omitted_bytes (data)
input    process, eof (data)                                          {}
resize   process, size: [columns, rows]                               {}
stop     process, grace_s                                             process
read     paths, max_bytes, follow, together                           files: [{stat, size, elsewhere} | {error}]
                                                                      (contents)
range    path, offset, length, stat|null                              stat, eof (data); conflict where stat differs
write    files: [{path, mode|null, kind, size, expected|null}]        files: [{stat, path} | {error}]
         (contents)
open     path, mode|null, expected|null                               upload: a number, of this connection
append   upload (data)                                                {}
commit   upload, abort                                                stat, path; {} of an abort
remove   paths                                                        faults: [{path, error}]
stat     paths                                                        stats: [stat | null | {error}]
scan     under, prune, depth|null, limit, watch, watcher              clock_ns, invalid, unreadable, truncated,
                                                                      cursor|null
rescan   cursor, watcher                                              gone, lost, linked, invalid, unreadable,
                                                                      cursor; or cursor null: a scan is due
ports                                                                 ports
connect  port                                                         {}, fds 1: a connected TCP socket
listen   port, kind: egress | forward                                 {}, fds 1: a TCP socket listening on loopback
dial     port                                                         tunnel: a number, of no connection
exchange tunnel, wait_s, eof (data for there)                         end (data from there)
hang_up  tunnel                                                       {}
which    names                                                        found: {name: path | null}
info                                                                  attached, processes, uptime_s, root_gone
end                                                                   {}; then every process dies and the sandbox ends
======== ============================================================ ==============================================

A `run` with a `key` and the fields of a `join` is answered as one, begins nothing where the key is known, and is held
by no connection: where it is not asked for again within `lease_s` of an answer that is not full, or of a connection's
end, it is killed. One that is cancelled before it comes is refused when it does.
A join is answered in full when its process has ended, a new port listens or, with `last`, `wait_s` has passed; else
when `wait_s` has passed, or `settle_s` after there is output beyond `offset`.

A `read` answers with `together` bytes at most, but for a first file that is larger. A file is `elsewhere` where a
symlink on its way leads to another place than its path says.

A run with a `terminal` reads and prints by that: its input is typed there and stays open, `eof` types the key that ends
it, and its output is what a terminal would be told to show.

A request with `once`, a key of the server's, is done once: asked again, also by another connection, it is answered as
the first was, as long as that is among the last answers of such requests that the supervisor keeps.

Of a run that keeps its outputs `apart`, head, tail, events and `output` are of stdout; stderr's head and tail follow.

An `unlisted` run is one of the server's own: no `list` shows it, and no other request finds it. The path that a
`write` or `commit` answers with is where the file really lies, after every symlink. `expected` is the stat of the file
that may be replaced: where that differs right before the change, the error is conflict. A `write` of up to
`FLUSHED_FILES` has each on the disk before it is seen; of more, and of a `commit`, the server sees to it afterwards. A
`stat` is null only where nothing exists.

Events: every `run` sends ``{"event": "accepted"}`` before its command begins; with `stream` it also sends
``{"event": "output"}`` with bytes. `scan` sends ``{"event": "entries", "rows": [[path, *stat], …]}``, at most
`SCAN_ROWS` each, sorted by path overall. With `watch` its folders are watched from before they are listed; a `rescan`
with the newest cursor of its connection, or of the `watcher` that it names, then sends, unsorted, as entries what was
touched since and what lies in new folders, and names paths that are `gone`, folders that are `lost`, and files that are
`linked` by several names, a change of which is not told. Where it answers that a scan is due, the entries before it are
void.

A `listen` of a port asked for again answers with the same socket, shared by the servers that asked; while none of them
is attached the supervisor accepts there itself: egress is answered 503, a forward is closed. When a connection ends,
its runs that have not replied are killed with their trees, and its uploads are dropped.
"""

from __future__ import annotations

import struct

__all__ = [
    "EGRESS_PORT",
    "FLUSHED_FILES",
    "HEADER",
    "INLINE_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_JSON_BYTES",
    "PROTOCOL",
    "SCAN_ROWS",
    "SPOOL_BYTES",
]

PROTOCOL = 2
HEADER = struct.Struct("!II")

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_FRAME_BYTES = 32 * 1024 * 1024
"""Bounds on what either side accepts; a longer frame ends the connection."""

SCAN_ROWS = 2_000

INLINE_BYTES = 32 * 1024
"""What a run's reply carries at most of the head, and of the tail, of its output."""

SPOOL_BYTES = 8 * 1024 * 1024
"""What is kept of a command's output from its beginning; beyond it only the tail is."""

FLUSHED_FILES = 8
"""One by one, more of them would hold up everybody else for longer than one flush of all."""

EGRESS_PORT = 3128
"""Where the egress proxy listens on the sandbox's loopback."""
