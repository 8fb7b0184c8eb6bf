"""What every sandbox promises, asked of the real service: the contract's own tests, with fixtures of this folder."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.live.account import KEY, NONE

if not KEY:
    pytest.skip(NONE, allow_module_level=True)

for file in sorted(Path(__file__).parents[1].glob("contract/test_sandbox_*.py")):
    module = importlib.import_module(f"tests.contract.{file.stem}")
    promised = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    assert not promised.keys() & globals().keys()
    globals().update(promised)
