"""One emulated Daytona for all tests of this folder, set back before each, and the real SDK as its client."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator

import pytest
from daytona import AsyncDaytona, AsyncSandbox, CreateSandboxFromImageParams, DaytonaConfig

from tests.emulators.daytona.emulator import Emulator, start_emulator


@pytest.fixture(scope="session")
def running_emulator(namespaces: None) -> Iterator[Emulator]:
    emulator = start_emulator()
    yield emulator
    emulator.stop()


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    running_emulator.reset()
    return running_emulator


@pytest.fixture
async def daytona(emulator: Emulator) -> AsyncIterator[AsyncDaytona]:
    with warnings.catch_warnings():
        # Without it each wait takes a whole second, since there is no event socket here.
        warnings.simplefilter("ignore", DeprecationWarning)
        config = DaytonaConfig(api_key=emulator.key, api_url=emulator.api_url, use_deprecated_polling=True)
        client = AsyncDaytona(config)
    yield client
    await client.close()


@pytest.fixture
async def sandbox(daytona: AsyncDaytona) -> AsyncSandbox:
    return await daytona.create(CreateSandboxFromImageParams(image="python:3.12"), timeout=20)
