"""How a project is made ready and tested, told from the names of its files and its manifests."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vaporform_mcp.demo.facts import Facts

__all__ = ["MANIFESTS", "Recipe", "find_recipe"]

MANIFESTS = ("package.json", "pyproject.toml")

_LOCKS: Mapping[str, str] = {
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "package-lock.json": "npm",
}
_VENV = "python3 -m venv .venv && .venv/bin/python -m pip install --quiet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The shell lines that install what the project needs and run its tests; None where there is nothing to do."""

    install: str | None = None
    test: str | None = None


def find_recipe(paths: Collection[str], manifests: Mapping[str, str]) -> Recipe:
    """The recipe for a project of the files at `paths`; `manifests` has the content of those that are there."""
    if "package.json" in manifests:
        return _node(paths, manifests["package.json"])
    if "go.mod" in paths:
        return Recipe(install="go mod download", test="go test ./..." if _any(paths, "_test.go") else None)
    if "Cargo.toml" in paths:
        return Recipe(install="cargo fetch", test="cargo test")
    return _python(paths, manifests.get("pyproject.toml", ""))


def _node(paths: Collection[str], package_json: str) -> Recipe:
    try:
        manifest = Facts.of(json.loads(package_json))
    except ValueError:
        manifest = Facts({})
    manager = next((manager for lock, manager in _LOCKS.items() if lock in paths), "npm")
    needs = manifest.inner("dependencies").values or manifest.inner("devDependencies").values
    test = manifest.inner("scripts").text("test")
    has_tests = test is not None and "no test specified" not in test
    install = "npm ci" if manager == "npm" and "package-lock.json" in paths else f"{manager} install"
    return Recipe(install=install if needs else None, test=f"{manager} test" if has_tests else None)


def _python(paths: Collection[str], pyproject: str) -> Recipe:
    tests = [path for path in paths if path.endswith(".py") and _name(path).startswith("test_")]
    if "requirements.txt" in paths:
        install = f"{_VENV} -r requirements.txt"
    elif _is_installable(pyproject) or "setup.py" in paths:
        install = f"{_VENV} --editable ."
    else:
        install = None
    if not tests:
        return Recipe(install=install)
    python = ".venv/bin/python" if install else "python3"
    # pytest runs unittest's tests too, but is not always there.
    pytest = f"{python} -c 'import pytest' 2>/dev/null"
    return Recipe(install=install, test=f"if {pytest}; then {python} -m pytest -q; else {python} -m unittest; fi")


def _is_installable(pyproject: str) -> bool:
    try:
        manifest = Facts.of(tomllib.loads(pyproject))
    except ValueError:
        return False
    return bool(manifest.inner("build-system").values) or bool(manifest.inner("project").texts("dependencies"))


def _any(paths: Collection[str], end: str) -> bool:
    return any(path.endswith(end) for path in paths)


def _name(path: str) -> str:
    return path.rpartition("/")[2]
