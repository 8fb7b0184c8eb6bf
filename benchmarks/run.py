"""Measure speed and memory: `python benchmarks/run.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Started as a file, Python looks for modules in this folder instead of the project's.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from benchmarks.suite import main

    sys.exit(main())
