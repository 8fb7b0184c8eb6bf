"""The files that are copied: a project of any size, the same in a folder of this machine and in a sandbox.

Sizes are spread as in source trees (log-normal, median 2.5 kB, mean 6.7 kB, at most 1 MiB); one file of twenty is
binary.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CHANGE", "CHANGED", "FILL", "arguments"]

CHANGED = 10

_NAMES = """
import math, os, random, sys

KINDS = ("py", "ts", "tsx", "js", "json", "md", "css", "html", "go", "rs", "yml", "txt")


def path_of(number):
    return f"package{number // 500}/module{number // 25 % 20}/part{number}.{KINDS[number % len(KINDS)]}"

"""

FILL = (
    _NAMES
    + """
count, seed = map(int, sys.argv[1:])
chance = random.Random(seed)
words = [f"{chance.choice('abcdefgh')}{chance.randrange(4000):x}" for _ in range(3000)]
lines = (" ".join(["", *chance.choices(words, k=chance.randint(2, 12))]) for _ in range(80000))
text = "\\n".join(lines).encode()
for number in range(count):
    path = path_of(number)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    size = min(int(chance.lognormvariate(math.log(2500), 1.4)) + 1, 1 << 20)
    start = chance.randrange(len(text) - size)
    content = text[start : start + size] if number % 20 else chance.randbytes(size)
    with open(path, "wb") as file:
        file.write(b"%d %d\\n" % (seed, number) + content)
"""
)
"""A program of Python's standard library alone: makes the project in the folder that it runs in."""

CHANGE = (
    _NAMES
    + f"""
count, turn = map(int, sys.argv[1:])
for number in range({CHANGED}):
    with open(path_of(number * count // {CHANGED} + turn), "ab") as file:
        file.write(b"changed in turn %d\\n" % turn)
"""
)
"""The same, which adds a line to ten of its files, to others in each turn."""


def arguments(*numbers: int) -> Sequence[str]:
    """How a Python is to be called that is given the program on its stdin."""
    return ["-I", "-", *map(str, numbers)]
