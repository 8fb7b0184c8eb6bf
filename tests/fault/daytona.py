"""A Daytona provider on the emulated service, which each test gets as it is at its start."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from tests.contract.sandboxes import daytona_config, emulator, no_phase
from tests.emulators.daytona.emulator import Emulator
from vaporform_mcp.sandboxes.base import Command, RunState
from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.provider import DaytonaProvider, open_daytona
from vaporform_mcp.sandboxes.daytona.sandbox import DaytonaSandbox
from vaporform_mcp.types import Spec

__all__ = ["NAME", "Scene", "open_scene", "say"]

NAME = "vaporform-ws-1"


class Scene:
    def __init__(self, service: Emulator, provider: DaytonaProvider) -> None:
        self.service = service
        self.provider = provider

    async def acquire(self, spec: Spec | None = None, *, epoch: int = 1) -> DaytonaSandbox:
        return await self.provider.acquire(spec or Spec(provider="daytona"), "ws", epoch, no_phase)

    def asked(self, route: str) -> int:
        """How often the service was, since the requests were last forgotten."""
        return sum(each["route"] == route for each in self.service.requests())

    def counts(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for each in self.service.requests():
            found[str(each["route"])] = found.get(str(each["route"]), 0) + 1
        return found


@asynccontextmanager
async def open_scene(*, afresh: bool = True, **settings: object) -> AsyncGenerator[Scene]:
    """`settings` are fields of the provider's configuration. Not `afresh`, it is beside what is there."""
    service = emulator()
    if afresh:
        service.reset()
    config: DaytonaConfig = replace(daytona_config(store_id="fault"), **settings)  # pyright: ignore[reportArgumentType]  # its fields
    async with open_daytona(config) as provider:
        yield Scene(service, provider)


async def say(sandbox: DaytonaSandbox, text: str) -> str:
    result = await sandbox.exec(Command(text=text, timeout_s=30))
    assert result.state is RunState.EXITED, result
    return (result.head + result.tail).decode().strip()
