"""What a Python project requires, and how its programs are run with what is installed for it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from vaporform_mcp.techstack.project import Project, argument
from vaporform_mcp.techstack.tables import Table, as_strings, as_table, table_at

__all__ = ["Runner", "has_manifest", "package_directory", "required_packages", "runner_for"]

_MANIFESTS = ("requirements.txt", "setup.py", "setup.cfg", "Pipfile", "environment.yml")
_LOCKS = {
    "uv.lock": "uv",
    "poetry.lock": "poetry",
    "pdm.lock": "pdm",
    "Pipfile.lock": "pipenv",
    "Pipfile": "pipenv",
}
_NAME = re.compile(r"^[ \t]*(?:-[ \t]+)?([A-Za-z0-9][\w.-]*)", re.MULTILINE)
_QUOTED_NAME = re.compile(r"[\"']([A-Za-z0-9][\w.-]*)[^\"'\n]{0,200}[\"']")
_INSTALL_REQUIRES = re.compile(r"install_requires\s*=\s*(.{0,5000})", re.DOTALL)

# These run a program in the project's environment. uv alone would first install what is missing.
_WITH_ENVIRONMENT = {"uv": "uv run --no-sync", "poetry": "poetry run", "pdm": "pdm run", "pipenv": "pipenv run"}
# A virtual environment is never in the tree, so whether there is one cannot be seen; a folder that is not there does
# no harm on the path.
_VENV_FIRST = 'PATH="$PWD/.venv/bin:$PWD/venv/bin:$PATH"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Makes shell lines that run in the project's environment, without installing anything."""

    manager: str | None

    def script(self, path: str, *arguments: str) -> str:
        return self._python(argument(path), *arguments)

    def module(self, name: str) -> str:
        return self._python("-m", argument(name))

    def tool(self, name: str, *arguments: str) -> str:
        """A program that a package brings. A path among the arguments must not begin with a hyphen."""
        words = [shlex.quote(each) for each in arguments]
        if prefix := _WITH_ENVIRONMENT.get(self.manager or ""):
            return " ".join([prefix, name, *words])
        return self._python("-m", name, *words)

    def _python(self, *words: str) -> str:
        if prefix := _WITH_ENVIRONMENT.get(self.manager or ""):
            return " ".join([prefix, "python", *words])
        return " ".join([_VENV_FIRST, "python3", *words])


def runner_for(project: Project) -> Runner:
    """By the nearest lock file or tool table; pip where there is only a list of requirements."""
    for folder in project.upward():
        if lock := folder.first(*_LOCKS):
            return Runner(manager=_LOCKS[lock])
        tools = table_at(folder.toml("pyproject.toml"), "tool")
        if named := next((name for name in ("poetry", "pdm", "uv") if name in tools), None):
            return Runner(manager=named)
        if folder.has("environment.yml") and not folder.has("requirements.txt", "pyproject.toml"):
            return Runner(manager="conda")
        if has_manifest(folder):
            return Runner(manager="pip")
    return Runner(manager=None)


def has_manifest(project: Project) -> bool:
    """Whether this folder is a Python project, rather than one that only keeps a tool's settings."""
    if project.has(*_MANIFESTS):
        return True
    pyproject = project.toml("pyproject.toml")
    return "project" in pyproject or "poetry" in table_at(pyproject, "tool")


def required_packages(project: Project) -> Collection[str]:
    """The normalised names of what the project requires, for whatever purpose."""
    return {re.sub(r"[-_.]+", "-", name).lower() for name in _names(project)}


def package_directory(project: Project) -> str | None:
    """The folder of the package that the project is named after."""
    pyproject = project.toml("pyproject.toml")
    for table in (table_at(pyproject, "project"), table_at(pyproject, "tool", "poetry")):
        name = table.get("name")
        if isinstance(name, str) and name:
            module = re.sub(r"[-.]+", "_", name).lower()
            if found := project.first(f"src/{module}/__init__.py", f"{module}/__init__.py"):
                return found.removesuffix("/__init__.py")
    return None


def _names(project: Project) -> Iterator[str]:
    yield from _NAME.findall(project.text("requirements.txt"))
    yield from _NAME.findall(project.text("environment.yml"))
    if found := _INSTALL_REQUIRES.search(project.text("setup.cfg")):
        yield from _NAME.findall(found[1])
    if found := _INSTALL_REQUIRES.search(project.text("setup.py")):
        yield from _QUOTED_NAME.findall(found[1])
    pipfile = project.toml("Pipfile")
    yield from (*table_at(pipfile, "packages"), *table_at(pipfile, "dev-packages"))
    yield from _from_pyproject(project.toml("pyproject.toml"))


def _from_pyproject(pyproject: Table) -> Iterator[str]:
    project = table_at(pyproject, "project")
    lists = [project.get("dependencies"), *table_at(project, "optional-dependencies").values()]
    for requirements in (*lists, *table_at(pyproject, "dependency-groups").values()):
        for requirement in as_strings(requirements):
            yield from _NAME.findall(requirement)
    poetry = table_at(pyproject, "tool", "poetry")
    yield from (*table_at(poetry, "dependencies"), *table_at(poetry, "dev-dependencies"))
    for group in table_at(poetry, "group").values():
        yield from table_at(as_table(group), "dependencies")
