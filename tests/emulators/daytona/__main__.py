"""`python -m tests.emulators.daytona`: serves until it is told to stop, and prints its address when it is ready."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import anyio

from tests.emulators.daytona.service import open_service


async def _serve(data: Path, port: int, key: str) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_service(data, port=port, key=key) as address:
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
            async for _ in signals:
                return


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.emulators.daytona", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes one that is free")
    parser.add_argument("--data", type=Path, help="a folder for what sandboxes hold; a temporary one without it")
    parser.add_argument("--key", default="emulated-key", help="the API key that it accepts")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daytona-", ignore_cleanup_errors=True) as folder:
        anyio.run(_serve, arguments.data or Path(folder), arguments.port, arguments.key)


if __name__ == "__main__":
    main()
