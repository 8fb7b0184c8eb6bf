"""Projects known by one telling file each: Deno, Ruby, PHP, Elixir, site generators, and plain pages."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vaporform_mcp.techstack.node import script_language
from vaporform_mcp.techstack.project import Project, argument, first_port
from vaporform_mcp.techstack.scripts import choose
from vaporform_mcp.techstack.stack import Finding, Rank, TechStack
from vaporform_mcp.techstack.tables import table_at

__all__ = ["find_deno", "find_elixir", "find_php", "find_ruby", "find_site", "find_static"]

_GEM = re.compile(r"^[ \t]*gem[ \t]+[\"']([\w-]+)[\"']", re.MULTILINE)
_PORT = re.compile(r"(?:--port[= ]|\bport\s*[:=,]\s*)[\"']?(\d{2,5})\b")
_DENO_FRAMEWORKS = {"fresh": "Fresh", "hono": "Hono", "oak": "Oak"}
_DENO_ENTRIES = ("main.ts", "server.ts", "main.tsx", "mod.ts", "main.js", "server.js")
_PHP_FRAMEWORKS = {"laravel/framework": "Laravel", "symfony/framework-bundle": "Symfony", "slim/slim": "Slim"}
_PHP_ROOTS = ("public", "web", "www")
_SITES: Sequence[tuple[tuple[str, ...], str, str, str, int]] = (
    (("mkdocs.yml",), "Markdown", "MkDocs", "mkdocs serve", 8000),
    (("hugo.toml", "hugo.yaml"), "Markdown", "Hugo", "hugo server", 1313),
)


def find_deno(project: Project) -> Finding | None:
    config = project.first("deno.json", "deno.jsonc")
    if config is None:
        return None
    tasks = {name: text for name, text in table_at(project.json(config), "tasks").items() if isinstance(text, str)}
    task = choose(tasks, can_skip_hooks=False)
    entry = project.first(*_DENO_ENTRIES)
    imports = " ".join(table_at(project.json(config), "imports"))
    source = project.text(entry) if entry else ""
    serves = "Deno.serve(" in source or "serve(" in source
    command = f"deno task {task.name}" if task else None
    if command is None and entry and serves:
        command = f"deno run --allow-net --allow-read --allow-env {argument(entry)}"
    framework = next((name for package, name in _DENO_FRAMEWORKS.items() if package in imports), None)
    stack = TechStack(
        language=script_language(project, ("typescript",)),
        framework=framework,
        package_manager="deno",
        entry=project.path(entry) if entry else None,
        dev_command=command,
        dev_port=(first_port("\n".join([*(task.texts if task else ()), source]), _PORT) or 8000) if command else None,
        directory=project.directory,
    )
    return Finding.of(stack)


def find_ruby(project: Project) -> Finding | None:
    if not project.has("Gemfile"):
        return None
    gems = set(_GEM.findall(project.text("Gemfile")))
    framework, entry, command, port = None, project.first("app.rb", "main.rb", "config.ru"), None, None
    if "rails" in gems or project.has("bin/rails"):
        # Through ruby: the file need not be executable.
        command = "ruby bin/rails server" if project.has("bin/rails") else "bundle exec rails server"
        framework, entry, port = "Rails", project.first("config/application.rb", "config.ru"), 3000
    elif "jekyll" in gems:
        framework, entry, command, port = "Jekyll", project.first("_config.yml"), "bundle exec jekyll serve", 4000
    elif "sinatra" in gems and (main := project.first("app.rb", "main.rb")):
        framework, command, port = "Sinatra", f"bundle exec ruby {main}", first_port(project.text(main), _PORT) or 4567
    elif project.has("config.ru"):
        framework, command, port = "Rack", "bundle exec rackup", 9292
    stack = TechStack(
        language="Ruby",
        framework=framework,
        package_manager="bundler",
        entry=project.path(entry) if entry else None,
        dev_command=command,
        dev_port=port,
        directory=project.directory,
    )
    return Finding.of(stack)


def find_php(project: Project) -> Finding | None:
    packages = table_at(project.json("composer.json"), "require")
    root = project.first("index.php", *(f"{root}/index.php" for root in _PHP_ROOTS))
    if not (project.has("composer.json") or root):
        return None
    command = None
    if project.has("artisan"):
        command = "php artisan serve"
    elif root:
        folder = root.rpartition("/")[0]
        command = f"php -S 127.0.0.1:8000 -t {folder}" if folder else "php -S 127.0.0.1:8000"
    framework = next((name for package, name in _PHP_FRAMEWORKS.items() if package in packages), None)
    entry = "artisan" if project.has("artisan") else root
    stack = TechStack(
        language="PHP",
        framework=framework,
        package_manager="composer" if project.has("composer.json") else None,
        entry=project.path(entry) if entry else None,
        dev_command=command,
        dev_port=8000 if command else None,
        directory=project.directory,
    )
    return Finding.of(stack)


def find_elixir(project: Project) -> Finding | None:
    if not project.has("mix.exs"):
        return None
    is_phoenix = ":phoenix" in project.text("mix.exs")
    stack = TechStack(
        language="Elixir",
        framework="Phoenix" if is_phoenix else None,
        package_manager="mix",
        entry=project.path("mix.exs"),
        dev_command="mix phx.server" if is_phoenix else None,
        dev_port=4000 if is_phoenix else None,
        directory=project.directory,
    )
    return Finding.of(stack)


def find_site(project: Project) -> Finding | None:
    """A site made of Markdown. It ranks as files do: most projects that have one are something else."""
    for marks, language, framework, command, port in _SITES:
        if mark := project.first(*marks):
            stack = TechStack(
                language=language,
                framework=framework,
                entry=project.path(mark),
                dev_command=command,
                dev_port=port,
                directory=project.directory,
            )
            return Finding(stack=stack, rank=Rank.STATIC)
    return None


def find_static(project: Project) -> Finding | None:
    if not project.has("index.html"):
        return None
    stack = TechStack(
        language="HTML",
        entry=project.path("index.html"),
        dev_command="python3 -m http.server 8000",
        dev_port=8000,
        directory=project.directory,
    )
    return Finding(stack=stack, rank=Rank.STATIC)
