"""`python -m tests.emulators.daytona`: serves until it is told to stop, and prints its address when it is ready."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

import anyio

from tests.emulators.daytona.service import open_service


async def _serve(data: Path, arguments: argparse.Namespace) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with (
            open_service(data, port=arguments.port, key=arguments.key) as address,
            anyio.create_task_group() as tasks,
        ):
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
            if arguments.with_parent:
                tasks.start_soon(_end_with_input, tasks.cancel_scope)
            async for _ in signals:
                tasks.cancel_scope.cancel()


async def _end_with_input(scope: anyio.CancelScope) -> None:
    await anyio.wait_readable(sys.stdin)
    scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.emulators.daytona", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes one that is free")
    parser.add_argument("--data", type=Path, help="a folder for what sandboxes hold; a temporary one without it")
    parser.add_argument("--key", default="emulated-key", help="the API key that it accepts")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daytona-", ignore_cleanup_errors=True) as folder:
        anyio.run(_serve, arguments.data or Path(folder), arguments)


if __name__ == "__main__":
    main()
