"""The SDK's client, set up by nothing but our settings, and sending the key to no host but the service's."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager

import aiohttp
from daytona import AsyncDaytona
from daytona import DaytonaConfig as SdkConfig

from vaporform_mcp.sandboxes.daytona.config import DaytonaConfig
from vaporform_mcp.sandboxes.daytona.destinations import Destinations

__all__ = ["open_sdk"]

KEEPALIVE_S = 30.0


def open_sdk(config: DaytonaConfig, destinations: Destinations) -> AsyncDaytona:
    """Made within a running event loop. Its requests raise `NotSupported`, as a cause, rather than follow elsewhere."""
    with _no_settings_of_a_folder(), warnings.catch_warnings():
        # The other way keeps a socket open that fails in silence, and waits a second between looks.
        warnings.simplefilter("ignore", DeprecationWarning)
        sdk = AsyncDaytona(
            SdkConfig(
                api_key=config.api_key,
                api_url=config.api_url.rstrip("/"),
                target=config.target,
                otel_enabled=False,
                use_deprecated_polling=True,
            )
        )

    async def guard(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Called for each request, and for each redirect that it is answered with."""
        destinations.check(str(request.url))
        return await handler(request)

    # Each request would look there for the host's password, and be refused for having that and the key.
    os.environ["NETRC"] = os.devnull
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(keepalive_timeout=KEEPALIVE_S), trust_env=True, middlewares=(guard,)
    )
    # Else it makes one of its own at its first request, which follows wherever it is sent.
    sdk._shared_session._adopt(session)  # pyright: ignore[reportPrivateUsage]
    return sdk


@contextmanager
def _no_settings_of_a_folder() -> Generator[None]:
    """The SDK reads `.env` in the working directory, which is a project's: what this process says comes before it."""
    said = {
        "DAYTONA_TARGET": "",
        "DAYTONA_JWT_TOKEN": "",
        "DAYTONA_ORGANIZATION_ID": "",
        "DAYTONA_HAPPY_EYEBALLS_DELAY": "",
        "DAYTONA_OTEL_ENABLED": "false",
        "DAYTONA_EXPERIMENTAL_OTEL_ENABLED": "false",
        "DAYTONA_USE_DEPRECATED_POLLING": "true",
    }
    before = {name: os.environ.get(name) for name in said}
    os.environ.update(said)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
