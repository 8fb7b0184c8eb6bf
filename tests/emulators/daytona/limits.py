"""How much an organization may have and how often it may ask."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web

from tests.emulators.daytona.clock import Clock
from tests.emulators.daytona.machine.wire import Refusal
from tests.emulators.daytona.records import Sandbox

__all__ = ["Limits", "Rates", "check_network"]

_MAX_NETWORKS = 5
_WINDOW_S = 60
_UPGRADE = (
    "\nTo increase concurrency limits, upgrade your organization's Tier by visiting "
    "https://app.daytona.io/dashboard/limits."
)


@dataclass(slots=True, kw_only=True)
class Limits:
    """The organization's totals (of memory and disk in GiB) and those of one sandbox; a test sets its own totals."""

    total_cpu: int = 250
    total_memory: int = 500
    total_disk: int = 1000
    cpu: int = 4
    memory: int = 8
    disk: int = 10
    regions: frozenset[str] = frozenset({"us", "eu"})
    may_set_networks: bool = True

    def check_size(self, sandbox: Sandbox) -> None:
        """Raises `Refusal` where one sandbox asks for more than any may have, or for a region that is not there."""
        if sandbox.target not in self.regions:
            raise Refusal(400, f"Region {sandbox.target} is not available to the organization")
        for name, asked, most in (
            ("CPU", sandbox.cpu, self.cpu),
            ("Memory", sandbox.memory, self.memory),
            ("Disk", sandbox.disk, self.disk),
        ):
            if asked > most:
                raise Refusal(400, f"{name} request {asked} exceeds maximum allowed per sandbox ({most})")

    def check_totals(self, others: Iterable[Sandbox], sandbox: Sandbox) -> None:
        """Raises `Refusal` where it cannot run beside the others. Disk counts while a sandbox is stopped as well."""
        existing = [each for each in others if each.id != sandbox.id and each.state != "archived"]
        running = [each for each in existing if each.state not in {"stopped", "error", "build_failed"}]
        for name, asked, most in (
            ("CPU", sum(each.cpu for each in running) + sandbox.cpu, self.total_cpu),
            ("memory", sum(each.memory for each in running) + sandbox.memory, self.total_memory),
            ("disk", sum(each.disk for each in existing) + sandbox.disk, self.total_disk),
        ):
            if asked > most:
                raise Refusal(403, f"Total {name} limit exceeded. Maximum allowed: {most}.{_UPGRADE}")

    def check_network(self, networks: str | None, domains: str | None, *, block_all: bool) -> None:
        if not (networks or domains or block_all):
            return
        if not self.may_set_networks:
            raise Refusal(400, "Network access is restricted and cannot be overridden")
        check_network(networks)


def check_network(networks: str | None) -> None:
    """Raises `Refusal` unless it is a list of a few address ranges, separated by commas."""
    ranges = [each.strip() for each in (networks or "").split(",") if each.strip()]
    if len(ranges) > _MAX_NETWORKS:
        raise Refusal(400, f"Network allow list cannot contain more than {_MAX_NETWORKS} networks")
    for each in ranges:
        try:
            ipaddress.IPv4Network(each, strict=False)
        except ValueError as error:
            raise Refusal(400, f"Invalid CIDR format: {each}") from error


@dataclass(slots=True)
class _Window:
    begun: datetime
    count: int = 0


_CREATING = frozenset({"create_sandbox"})
_LIFECYCLE = frozenset(
    {
        "archive_sandbox",
        "delete_sandbox",
        "fork_sandbox",
        "pause_sandbox",
        "recover_sandbox",
        "resize_sandbox",
        "snapshot_sandbox",
        "start_sandbox",
        "stop_sandbox",
    }
)


@dataclass(slots=True)
class Rates:
    """How many requests a minute each throttler lets pass: those of the smallest tier, until a test sets others."""

    clock: Clock
    plain_header: bool = False  # whether Retry-After also comes without the throttler's name
    per_minute: dict[str, int] = field(
        default_factory=lambda: {"authenticated": 10_000, "sandbox-create": 300, "sandbox-lifecycle": 10_000}
    )
    _windows: dict[str, _Window] = field(default_factory=dict[str, _Window])

    def check(self, route: str) -> tuple[web.Response | None, Mapping[str, str]]:
        """The answer of a request that is one too many, and the headers that every answer bears."""
        throttler = "authenticated"
        if route in _CREATING:
            throttler = "sandbox-create"
        elif route in _LIFECYCLE:
            throttler = "sandbox-lifecycle"
        now, most = self.clock.now(), self.per_minute[throttler]
        window = self._windows.setdefault(throttler, _Window(now))
        passed = (now - window.begun).total_seconds()
        if passed >= _WINDOW_S:
            window.begun, window.count, passed = now, 0, 0.0
        window.count += 1
        left = max(1, round(_WINDOW_S - passed))
        headers = {
            f"X-RateLimit-Limit-{throttler}": str(most),
            f"X-RateLimit-Remaining-{throttler}": str(max(0, most - window.count)),
            f"X-RateLimit-Reset-{throttler}": str(left),
        }
        if window.count <= most:
            return None, headers
        headers[f"Retry-After-{throttler}"] = str(left)
        if self.plain_header:
            headers["Retry-After"] = str(left)
        body = {"statusCode": 429, "message": "ThrottlerException: Too Many Requests"}
        return web.json_response(body, status=429, headers=headers), headers

    def reset(self) -> None:
        fresh = Rates(self.clock)
        self.plain_header, self.per_minute, self._windows = fresh.plain_header, fresh.per_minute, {}
