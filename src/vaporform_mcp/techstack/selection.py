"""Which files of a tree say what the project is, and which folders may be its application."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["MANIFESTS", "candidate_directories", "is_aside", "is_vendored", "parent", "preference", "wanted"]

MAX_DEPTH = 2
_MAX_WANTED = 40
_MAX_WANTED_MANIFESTS = 24  # so that a repository of many packages leaves room for the programs' own files
_MAX_DIRECTORIES = 60

_MANIFESTS = (
    "package.json",
    "pyproject.toml",
    "requirements.txt",
    "Pipfile",
    "setup.cfg",
    "setup.py",
    "environment.yml",
    "go.mod",
    "Cargo.toml",
    "deno.json",
    "deno.jsonc",
    "Gemfile",
    "composer.json",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "mix.exs",
    "vite.config.ts",
    "vite.config.js",
    "vite.config.mjs",
    "vite.config.mts",
    "astro.config.mjs",
    "astro.config.ts",
    "nuxt.config.ts",
    "nuxt.config.js",
    "webpack.config.js",
    "vue.config.js",
)

_PROGRAMS = (
    *(
        f"{stem}.{suffix}"
        for suffix in ("ts", "js", "mts", "mjs", "cjs")
        for stem in ("server", "index", "app", "main")
    ),
    *("main.py", "app.py", "server.py", "api.py", "asgi.py", "wsgi.py", "run.py", "application.py"),
    *("manage.py", "streamlit_app.py", "dashboard.py", "Home.py", "__main__.py"),
    *("main.go", "server.go", "main.rs", "app.rb", "config.ru", "__init__.py"),
)

MANIFESTS: frozenset[str] = frozenset(_MANIFESTS) | frozenset(_PROGRAMS)
"""Base names of the files whose content detection reads: manifests, and the usual names of main programs."""

# Names that make a folder a candidate though their content is not read.
_MARKERS = MANIFESTS | {"index.html", "index.php", "artisan", "mkdocs.yml", "hugo.toml", "_config.yml"}

_ORDER = {name: number for number, name in enumerate((*_MANIFESTS, *_PROGRAMS))}

_VENDORED = frozenset(
    {
        "node_modules",
        "bower_components",
        "jspm_packages",
        "vendor",
        "third_party",
        "venv",
        "env",
        "site-packages",
        "__pycache__",
        "dist",
        "build",
        "out",
        "target",
        "coverage",
        "htmlcov",
    }
)

# What lies here is about the application or for its tests, and is chosen only where there is nothing else.
_ASIDE = frozenset(
    {
        "example",
        "examples",
        "demo",
        "demos",
        "sample",
        "samples",
        "test",
        "tests",
        "__tests__",
        "spec",
        "e2e",
        "fixtures",
        "benchmark",
        "benchmarks",
        "bench",
        "docs",
        "doc",
        "scripts",
        "tools",
        "tooling",
        "hack",
        "templates",
        "template",
        "storybook",
    }
)

_PREFERRED = ("frontend", "front-end", "web", "webapp", "client", "app", "ui", "site", "website", "www", "public")
_BEHIND = ("src", "backend", "server", "api", "services")


def wanted(paths: Iterable[str]) -> list[str]:
    """The paths among `paths` whose content `detect` wants, the most telling first; at most 40.

    At the root and up to two levels down, outside vendored, built and hidden folders.
    """
    found = [path for path in paths if _name(path) in MANIFESTS and not is_vendored(path) and _depth(path) <= MAX_DEPTH]
    found.sort(key=lambda path: (_depth(path), is_aside(path), preference(parent(path)), _ORDER[_name(path)], path))
    at_root = [path for path in found if not parent(path)]
    below = [path for path in found if parent(path)]
    manifests = [path for path in below if _name(path) in _MANIFESTS][:_MAX_WANTED_MANIFESTS]
    programs = [path for path in below if _name(path) in _PROGRAMS]
    # A package's `__init__.py` is seldom its program, and there may be many.
    programs.sort(key=lambda path: _name(path) == "__init__.py")
    return [*at_root, *manifests, *programs][:_MAX_WANTED]


def candidate_directories(paths: Iterable[str]) -> list[str]:
    """The root, and the folders up to two levels down that hold a telling file, the likeliest first."""
    found = {
        parent(path)
        for path in paths
        if _name(path) in _MARKERS and not is_vendored(path) and _depth(path) <= MAX_DEPTH
    }
    found.discard("")
    ordered = sorted(found, key=lambda directory: (is_aside(directory + "/"), directory.count("/"), directory))
    return ["", *ordered[:_MAX_DIRECTORIES]]


def is_vendored(path: str) -> bool:
    """Whether the file at `path` lies in a folder that holds others' code, built files or a tool's own state."""
    return any(part in _VENDORED or part.startswith(".") for part in path.split("/")[:-1])


def is_aside(path: str) -> bool:
    return any(part.lower() in _ASIDE for part in path.split("/")[:-1])


def preference(directory: str) -> int:
    """The lower, the likelier this folder is what a user means by the application: what is seen comes first."""
    name = directory.rpartition("/")[2].lower()
    if name in _PREFERRED:
        return _PREFERRED.index(name)
    return len(_PREFERRED) + (1 + _BEHIND.index(name) if name in _BEHIND else 0)


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _depth(path: str) -> int:
    return path.count("/")
