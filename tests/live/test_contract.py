"""What every sandbox promises, asked of the real service: the contract's own tests, with fixtures of this folder."""

from __future__ import annotations

import pytest

from tests.contract import test_sandbox_commands, test_sandbox_files, test_sandbox_lifecycle
from tests.live.account import KEY, NONE

if not KEY:
    pytest.skip(NONE, allow_module_level=True)

for module in (test_sandbox_commands, test_sandbox_files, test_sandbox_lifecycle):
    promised = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    assert not promised.keys() & globals().keys()
    globals().update(promised)
