"""Python projects, by their dependencies and the code of their main programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from vaporform_mcp.techstack.project import Project, first_port
from vaporform_mcp.techstack.python_packaging import (
    Runner,
    has_manifest,
    package_directory,
    required_packages,
    runner_for,
)
from vaporform_mcp.techstack.selection import is_aside
from vaporform_mcp.techstack.stack import Finding, TechStack

__all__ = ["find_python"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Framework:
    """`serve` makes the words of the command from the file that makes the application."""

    package: str
    name: str
    port: int
    makes: re.Pattern[str]
    serve: Callable[[Project, _Program], Sequence[str]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """A source file: its name from the project's folder, and its text."""

    name: str
    text: str


_VARIABLE = r"^(\w+)[ \t]*(?::[ \t]*[\w.]+[ \t]*)?=[ \t]*(?:\w+\.)?"
_FACTORY = re.compile(r"^def[ \t]+((?:create|make|get|build)_app\w*)\(", re.MULTILINE)
_RUNS = re.compile(
    r"\b(?:app|application|server|socketio|api)\.run(?:_server)?\(|\b(?:uvicorn|hypercorn|ui|bottle|waitress)\.run\("
    r"|\bweb\.run_app\(|\.launch\(|\bserve_forever\(|\brun_simple\(|\bwaitress\.serve\(|\.listen\(\s*\w+"
)
_SERVES_BY_ITSELF = re.compile(r"(?:HTTPServer|TCPServer|\bmake_server|\bstart_server)\(")
_HAS_APPLICATION = re.compile(
    r"^(?:app|application)\b[^=\n]{0,60}=|^from[^\n]{1,200}\bimport\b[^\n]{0,100}\b(?:app|application)\b", re.MULTILINE
)
_IMPORTED = re.compile(r"^[ \t]*(?:from|import)[ \t]+(\w+)", re.MULTILINE)
_RELATIVE_IMPORT = re.compile(r"^[ \t]*from[ \t]+\.", re.MULTILINE)
_PORTS = (
    re.compile(r"\bport\s*=\s*[\"']?(\d{2,5})\b"),
    re.compile(r"PORT[\"']\s*,\s*[\"']?(\d{2,5})\b"),
    re.compile(r"\bPORT\s*(?::\s*int\s*)?=\s*(\d{2,5})\b"),
    re.compile(r"\(\s*[\"'][\w.]*[\"']\s*,\s*(\d{2,5})\s*\)"),
    re.compile(r"\.listen\(\s*(\d{2,5})\b"),
)


def _made_by(call: str) -> re.Pattern[str]:
    return re.compile(rf"{_VARIABLE}{call}\(", re.MULTILINE)


def _asgi(project: Project, program: _Program, variable: re.Pattern[str]) -> Sequence[str]:
    folder, module = _module(project, program)
    words = ["uvicorn", *(["--app-dir", folder] if folder else [])]
    if made := variable.search(program.text):
        return [*words, f"{module}:{made[1]}"]
    if factory := _FACTORY.search(program.text):
        return [*words, "--factory", f"{module}:{factory[1]}"]
    return [*words, f"{module}:app"]


def _flask(project: Project, program: _Program) -> Sequence[str]:
    # Given a path, Flask finds by itself which folder the module has to be imported from.
    return ["flask", "--app", program.name.removesuffix(".py").removesuffix("/__init__"), "run"]


def _streamlit(project: Project, program: _Program) -> Sequence[str]:
    # Without the option its first start on a machine asks for an e-mail address and waits.
    return ["streamlit", "run", program.name, "--server.headless", "true"]


def _asgi_framework(package: str, name: str) -> _Framework:
    """One whose application has the name of the framework and is served by uvicorn."""
    variable = _made_by(name)
    return _Framework(
        package=package,
        name=name,
        port=8000,
        makes=re.compile(rf"\b{name}\("),
        serve=lambda project, program: _asgi(project, program, variable),
    )


# In this order: what stands further up is built on what stands further down.
_FRAMEWORKS = (
    _Framework(
        package="streamlit",
        name="Streamlit",
        port=8501,
        makes=re.compile(r"^import streamlit\b|^from streamlit\b", re.MULTILINE),
        serve=_streamlit,
    ),
    _Framework(
        package="gradio",
        name="Gradio",
        port=7860,
        makes=re.compile(r"\b(?:gr|gradio)\.(?:Interface|Blocks|ChatInterface)\(|^import gradio\b", re.MULTILINE),
        serve=None,
    ),
    _Framework(package="nicegui", name="NiceGUI", port=8080, makes=re.compile(r"\bui\.run\("), serve=None),
    _Framework(package="dash", name="Dash", port=8050, makes=_made_by("Dash"), serve=None),
    _asgi_framework("fastapi", "FastAPI"),
    _asgi_framework("litestar", "Litestar"),
    _asgi_framework("starlette", "Starlette"),
    _Framework(package="quart", name="Quart", port=5000, makes=_made_by("Quart"), serve=None),
    _Framework(package="flask", name="Flask", port=5000, makes=re.compile(r"\bFlask\("), serve=_flask),
    _Framework(package="sanic", name="Sanic", port=8000, makes=_made_by("Sanic"), serve=None),
    _Framework(package="aiohttp", name="aiohttp", port=8080, makes=re.compile(r"\bweb\.Application\("), serve=None),
    _Framework(package="tornado", name="Tornado", port=8888, makes=re.compile(r"\bweb\.Application\("), serve=None),
    _Framework(
        package="bottle",
        name="Bottle",
        port=8080,
        makes=re.compile(r"\bBottle\(|^from bottle\b", re.MULTILINE),
        serve=None,
    ),
)


def find_python(project: Project) -> Finding | None:
    runner = runner_for(project)
    if project.has("manage.py") and "django" in (project.text("manage.py") or "django"):
        words = runner.script("manage.py", "runserver")
        return Finding.of(_stack(project, runner, framework="Django", entry="manage.py", command=words, port=8000))
    if not has_manifest(project) and any(has_manifest(folder) for folder in project.above()):
        return None  # a part of that project, which finds the program by itself
    programs = list(_programs(project))
    packages = required_packages(project)
    for framework in _FRAMEWORKS:
        if found := _served(project, runner, framework, programs, packages):
            return found
    for program in programs:
        if _SERVES_BY_ITSELF.search(program.text):
            port = first_port(program.text, *_PORTS)
            return Finding.of(_stack(project, runner, entry=program.name, command=_run(runner, program), port=port))
    if not (programs or has_manifest(project)):
        return None
    package = package_directory(project)
    # A library requires frameworks that it only supports.
    required = None if package else next((each.name for each in _FRAMEWORKS if each.package in packages), None)
    entry = package or next((program.name for program in programs), None)
    return Finding.of(_stack(project, runner, framework=required, entry=entry))


def _served(
    project: Project,
    runner: Runner,
    framework: _Framework,
    programs: Sequence[_Program],
    packages: Collection[str],
) -> Finding | None:
    """A program that makes such an application, served by one that runs it, or by the framework's own server."""
    makers = [each for each in programs if framework.makes.search(each.text) and _imports(each.text, framework.package)]
    if not makers and framework.package not in packages:
        return None
    starters = [each for each in programs if _RUNS.search(each.text)] if makers else []
    if starters and framework.serve is not _streamlit:
        starter = min(starters, key=lambda each: (each not in makers, each.name.count("/")))
        port = first_port(starter.text, *_PORTS) or framework.port
        command = _run(runner, starter)
        entry = makers[0].name if makers else starter.name
    else:
        maker = next(iter(makers), None) or _usual(programs, framework)
        if maker is None:
            return None
        entry, port = maker.name, framework.port
        command = runner.tool(*framework.serve(project, maker)) if framework.serve else _run(runner, maker)
    return Finding.of(_stack(project, runner, framework=framework.name, entry=entry, command=command, port=port))


def _usual(programs: Sequence[_Program], framework: _Framework) -> _Program | None:
    """A program that has an application from elsewhere in the project, where only the requirements name the kind."""
    if framework.serve is None:
        return None
    return next((each for each in programs if _HAS_APPLICATION.search(each.text) and "__" not in each.name), None)


def _run(runner: Runner, program: _Program) -> str:
    """A file that names its neighbours by their package runs as a module only."""
    below_src = program.name.removeprefix("src/")
    if _needs_package(program.text, below_src.rpartition("/")[0]):
        return runner.module(_dotted(below_src))
    if below_src != program.name and _imports(program.text, "src"):
        return runner.module(_dotted(program.name))
    return runner.script(program.name)


def _needs_package(text: str, folder: str) -> bool:
    if not folder:
        return False
    package = folder.replace("/", ".")
    is_named = f'"{package}.' in text or f"'{package}." in text  # as uvicorn.run takes an application
    return is_named or bool(_RELATIVE_IMPORT.search(text)) or _imports(text, folder.split("/")[0])


def _programs(project: Project) -> Iterator[_Program]:
    """The usual main files, nearest first; below this folder only where it is a project and they are not another's."""
    is_project = has_manifest(project)
    for name in sorted(project.read_names(), key=lambda name: (name.count("/"), "__" in name, name)):
        folder, _, file = name.rpartition("/")
        if not file.endswith(".py") or file in {"setup.py", "manage.py"} or name.startswith("-"):
            continue
        if folder and (not is_project or is_aside(name) or _is_of_another(project, folder)):
            continue
        yield _Program(name=name, text=project.text(name))


def _is_of_another(project: Project, folder: str) -> bool:
    parts = folder.split("/")
    return any(has_manifest(project.below("/".join(parts[: depth + 1]))) for depth in range(len(parts)))


def _module(project: Project, program: _Program) -> tuple[str, str]:
    """The folder that has to be on Python's path ("" for this one), and the module's name from there."""
    folder, _, file = program.name.rpartition("/")
    imported = set(_IMPORTED.findall(program.text))
    if folder and any(project.has(f"{folder}/{name}.py", f"{folder}/{name}/__init__.py") for name in imported):
        return folder, _dotted(file)
    if folder and program.name.startswith("src/") and "src" not in imported and not project.has("src/__init__.py"):
        return "src", _dotted(program.name.removeprefix("src/"))
    return "", _dotted(program.name)


def _imports(text: str, module: str) -> bool:
    return module in _IMPORTED.findall(text)


def _dotted(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").removesuffix("/__main__").replace("/", ".")


def _stack(
    project: Project,
    runner: Runner,
    *,
    framework: str | None = None,
    entry: str | None = None,
    command: str | None = None,
    port: int | None = None,
) -> TechStack:
    return TechStack(
        language="Python",
        framework=framework,
        package_manager=runner.manager,
        entry=project.path(entry) if entry else None,
        dev_command=command,
        dev_port=port,
        directory=project.directory,
    )
