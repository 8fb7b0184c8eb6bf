"""Runs that are found again by a key of the server's: asked for twice they run once, and no connection holds them."""

from __future__ import annotations

from .faults import Refused
from .process import KILLED

__all__ = ["Keyed", "Terms"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .connection import Connection
    from .loop import Loop, Timer
    from .process import Process
    from .request import Request

MAX_KEPT = 64
"""Ended runs whose answer is kept for whoever lost it."""

MAX_CANCELLED = 256
"""Keys that were cancelled before their runs came."""

CHUNK_BYTES = 64 * 1024
"""What one answer carries of the output that came meanwhile; what comes faster is skipped."""

PORT_POLL_S = 0.1


class Terms:
    """How one request waits for a run: until it has ended, for `wait_s`, until a port opens that was not there before,
    or until `settle_s` after something was printed beyond `offset`.

    With `last` the time's end is the end of the waiting, and answered in full. A run that is not asked for again within
    `lease_s` of its answer is killed, unless that was in full; None lets it run.
    """

    __slots__ = ("last", "lease_s", "offset", "settle_s", "until_port", "wait_s")

    def __init__(self, request: Request) -> None:
        self.wait_s = request.seconds("wait_s") or 0.0
        self.lease_s = request.seconds("lease_s")
        self.offset = request.optional_integer("offset")
        self.settle_s = request.seconds("settle_s") or 0.0
        self.until_port = request.flag("until_port")
        self.last = request.flag("last")


class Keyed:
    """`answer` gives the fields and bytes that tell of a process in full."""

    def __init__(
        self, loop: Loop, ports: Callable[[], set[int]], answer: Callable[[Process], tuple[dict[str, object], bytes]]
    ) -> None:
        self._loop = loop
        self._ports = ports
        self._answer = answer
        self._runs: dict[str, _Run] = {}
        self._cancelled: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._runs

    def add(self, key: str, process: Process, before: set[int], *, confirmed: bool) -> None:
        """Know it by its key. `before` are the ports that listened when it began; `confirmed`, that it will tell when
        its command has started.
        """
        ended = [known for known, run in self._runs.items() if run.process.settled and not run.joins]
        for known in ended[: max(0, len(ended) - MAX_KEPT + 1)]:
            del self._runs[known]
        self._runs[key] = _Run(process, before, confirmed=confirmed)

    def fail(self, key: str, error: Refused) -> None:
        """It could not be started: that is the answer to all who ask for it."""
        run = self._runs[key]
        run.failure = error
        for join in tuple(run.joins):
            join.refuse(error)

    def join(self, key: str, request: Request, terms: Terms) -> None:
        run = self._runs.get(key)
        if run is None:
            raise Refused("not_found", "the command is not known any more", "Look at the list of processes.")
        if run.failure is not None:
            raise run.failure
        run.keep()
        run.joins.append(_Join(self, run, request, terms))

    def require_wanted(self, key: str) -> None:
        """Refuse a run that was cancelled before it came."""
        if key in self._cancelled:
            raise Refused("not_found", "the command was cancelled before it came", "Send it again.")

    def kill(self, key: str) -> None:
        run = self._runs.get(key)
        if run is None:
            # It may still be on its way.
            self._cancelled[key] = None
            if len(self._cancelled) > MAX_CANCELLED:
                del self._cancelled[next(iter(self._cancelled))]
        elif run.failure is None:
            run.process.kill(KILLED)

    def disconnected(self, connection: Connection) -> None:
        """Nobody waits there any more; the lease runs from now."""
        for run in self._runs.values():
            for join in [each for each in run.joins if each.request.connection is connection]:
                join.let_go()

    def reply(self, join: _Join, *, full: bool) -> None:
        process, terms = join.run.process, join.terms
        fields: dict[str, object] = {"process": process.fields(), "full": full}
        data = b""
        if full:
            fields, data = self._answer(process)
            fields["full"] = True
        if terms.offset is not None:
            start, chunk = process.log.read(max(terms.offset, process.log.total - CHUNK_BYTES), CHUNK_BYTES)
            fields["next_offset"] = start + len(chunk)
            fields["chunk_bytes"] = len(chunk)
            data += chunk
        join.request.reply(fields, data)

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        return self._loop.after(delay_s, callback)

    def ports(self) -> set[int]:
        return self._ports()


class _Run:
    def __init__(self, process: Process, before: set[int], *, confirmed: bool) -> None:
        self.process = process
        self.before = before
        self.started = not confirmed
        if confirmed:
            process.on_start.append(self._start)
        self.joins: list[_Join] = []
        self.failure: Refused | None = None
        self._lease: Timer | None = None

    def _start(self) -> None:
        self.started = True

    def keep(self) -> None:
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None

    def expire(self, keyed: Keyed, lease_s: float | None) -> None:
        if lease_s is not None and not self.joins and not self.process.settled:
            self._lease = keyed.after(lease_s, self.process.kill)


class _Join:
    """One request that waits for a run; answered once."""

    def __init__(self, keyed: Keyed, run: _Run, request: Request, terms: Terms) -> None:
        self.run = run
        self.request = request
        self.terms = terms
        self._keyed = keyed
        self._open = True
        self._timers: list[Timer] = []
        process = run.process
        # Whatever it is answered with is sent from the loop, when it is in the list.
        if process.settled:
            self._later(0, lambda: self._reply(full=True))
            return
        process.on_settled.append(self._settled)
        if run.started:
            self._wait()
        else:
            process.on_start.append(self._wait)
        if terms.until_port:
            self._look()
        if terms.offset is not None:
            process.on_output.append(self._printed)
            self._printed(b"")

    def refuse(self, error: Refused) -> None:
        if self._open:
            self.let_go()
            self.request.refuse(error)

    def let_go(self, *, told: bool = False) -> None:
        """`told`: it was answered in full, after which its run needs nobody to ask for it."""
        self._open = False
        for timer in self._timers:
            timer.cancel()
        for callbacks, callback in (
            (self.run.process.on_settled, self._settled),
            (self.run.process.on_output, self._printed),
        ):
            if callback in callbacks:
                callbacks.remove(callback)  # pyright: ignore[reportArgumentType]  # it is one of its own list
        if self in self.run.joins:
            self.run.joins.remove(self)
        self.run.expire(self._keyed, None if told else self.terms.lease_s)

    def _later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._keyed.after(delay_s, callback))

    def _wait(self) -> None:
        if self._open:
            self._later(self.terms.wait_s, lambda: self._reply(full=self.terms.last))

    def _settled(self) -> None:
        self._reply(full=True)

    def _printed(self, _data: bytes) -> None:
        process, terms = self.run.process, self.terms
        if terms.offset is not None and process.log.total > terms.offset:
            if self._printed in process.on_output:
                process.on_output.remove(self._printed)
            self._later(terms.settle_s, lambda: self._reply(full=False))

    def _look(self) -> None:
        if not self._open:
            return
        now = self._keyed.ports()
        if now - self.run.before:
            self._reply(full=True)
            return
        # A port that was closed since, and is opened again, is new.
        self.run.before &= now
        self._later(PORT_POLL_S, self._look)

    def _reply(self, *, full: bool) -> None:
        if self._open:
            self.let_go(told=full)
            self._keyed.reply(self, full=full)
