"""What of a command's output crosses the network to a Daytona sandbox and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.sandboxes import emulator, open_sandbox
from vaporform_mcp.sandboxes.base import Command

ANSWER_BYTES = 250_000
"""The two ends of the output and 64 KiB of the middle, which cannot be packed here, as text."""


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("megabytes", [50, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
async def test_what_a_command_prints_costs_kilobytes_however_much_it_is(tmp_path: Path, megabytes: int) -> None:
    async with open_sandbox("daytona", tmp_path) as sandbox:
        emulator().forget_requests()
        said: list[bytes] = []
        text = f"head -c {megabytes}000000 /dev/urandom"
        result = await sandbox.exec(Command(text=text, timeout_s=280), on_output=said.append)
        asked = [each for each in emulator().requests() if each["route"] == "execute"]
    assert len(result.head) + result.omitted_bytes + len(result.tail) == megabytes * 1_000_000
    assert said
    assert asked
    assert all(int(str(each["sent_bytes"])) < ANSWER_BYTES for each in asked)
