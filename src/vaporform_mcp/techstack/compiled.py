"""Projects in Go, Rust, Java and Kotlin, whose tools compile as they run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from vaporform_mcp.techstack.project import Project, argument, first_port
from vaporform_mcp.techstack.stack import Finding, TechStack
from vaporform_mcp.techstack.tables import table_at

__all__ = ["find_go", "find_java", "find_rust"]

_GO_FRAMEWORKS = {
    "github.com/gin-gonic/gin": ("Gin", 8080),
    "github.com/labstack/echo": ("Echo", 1323),
    "github.com/gofiber/fiber": ("Fiber", 3000),
    "github.com/go-chi/chi": ("chi", 3000),
    "github.com/gorilla/mux": ("gorilla/mux", 8080),
    "github.com/beego/beego": ("Beego", 8080),
    "github.com/revel/revel": ("Revel", 9000),
}
_GO_MAINS = ("main.go", "server.go")
_GO_COMMANDS = ("server", "api", "web", "app", "httpd", "main")
_GO_SERVES = re.compile(r"\bhttp\.(?:ListenAndServe|Serve|Server\{)|\.Run\(|\.Start\(|\.Listen\(")
_GO_PORTS = (
    re.compile(r"(?:ListenAndServe|Run|Start|Listen)(?:TLS)?\(\s*\"[\w.]*:(\d{2,5})\""),
    re.compile(r"Addr:\s*\"[\w.]*:(\d{2,5})\""),
    re.compile(r"\"[\w.]*:(\d{4,5})\""),
    re.compile(r"[Pp]ort\w{0,20}\s*:?=\s*\"?:?(\d{2,5})\b"),
)

_RUST_FRAMEWORKS = {
    "leptos": ("Leptos", 3000, "cargo leptos watch"),
    "dioxus": ("Dioxus", 8080, "dx serve"),
    "yew": ("Yew", 8080, "trunk serve"),
    "axum": ("Axum", 3000, "cargo run"),
    "actix-web": ("Actix Web", 8080, "cargo run"),
    "rocket": ("Rocket", 8000, "cargo run"),
    "warp": ("warp", 3030, "cargo run"),
    "poem": ("Poem", 3000, "cargo run"),
    "salvo": ("Salvo", 5800, "cargo run"),
    "tide": ("Tide", 8080, "cargo run"),
    "rouille": ("rouille", 8000, "cargo run"),
    "tiny_http": ("tiny_http", 8000, "cargo run"),
    "hyper": ("hyper", 3000, "cargo run"),
}
_RUST_PORTS = (
    re.compile(r"\"[\w.\[\]:]*:(\d{2,5})\""),
    re.compile(r"\(\s*(?:\[[^\]]{1,40}\]|\"[\w.]*\"|[\w:]+)\s*,\s*(\d{2,5})\s*\)"),
    re.compile(r"\bport\b[^\n;]{0,30}=\s*(\d{2,5})\b"),
)
_RUST_LISTENS = re.compile(r"\bTcpListener::bind\(")

_JAVA_FRAMEWORKS = {
    "spring-boot": ("Spring Boot", "spring-boot:run", "bootRun"),
    "quarkus": ("Quarkus", "quarkus:dev", "quarkusDev"),
    "micronaut": ("Micronaut", "mn:run", "run"),
    "io.ktor": ("Ktor", "exec:java", "run"),
    "javalin": ("Javalin", "exec:java", "run"),
}


def find_go(project: Project) -> Finding | None:
    module = project.text("go.mod")
    if not project.has("go.mod"):
        return _go_file(project)
    package, sources = _go_program(project)
    name, usual = next((each for path, each in _GO_FRAMEWORKS.items() if path in module), (None, 8080))
    serves = package is not None and bool(name or ("net/http" in sources and _GO_SERVES.search(sources)))
    entry = None if package is None else project.first(*(f"{package}/{main}".removeprefix("./") for main in _GO_MAINS))
    stack = TechStack(
        language="Go",
        framework=(name or "net/http") if serves else name,
        package_manager="go",
        entry=project.path(entry or package.removeprefix("./")) if package else None,
        dev_command=f"go run {argument(package)}" if serves and package else None,
        dev_port=(first_port(sources, *_GO_PORTS) or usual) if serves else None,
        directory=project.directory,
    )
    return Finding.of(stack)


def _go_file(project: Project) -> Finding | None:
    """A program of one file, without a module."""
    text = project.text("main.go")
    is_part = any(folder.has("go.mod") for folder in project.above())
    if is_part or not ("net/http" in text and _GO_SERVES.search(text)):
        return None
    stack = TechStack(
        language="Go",
        framework="net/http",
        entry=project.path("main.go"),
        dev_command="go run main.go",
        dev_port=first_port(text, *_GO_PORTS) or 8080,
        directory=project.directory,
    )
    return Finding.of(stack)


def _go_program(project: Project) -> tuple[str | None, str]:
    """The main package as `go run` takes it, and what is at hand of its code."""
    main = project.first(*_GO_MAINS)
    if main and (main == "main.go" or "package main" in project.text(main)):
        return ".", project.text(main)
    prefix = project.path("cmd/")
    commands = {
        path[len(prefix) :].partition("/")[0]
        for path in project.paths
        if path.startswith(prefix) and path.endswith(".go")
    }
    named = [name for name in _GO_COMMANDS if name in commands] or sorted(
        each for each in commands if not each.endswith(".go")
    )
    if named:
        return f"./cmd/{named[0]}", project.text(f"cmd/{named[0]}/main.go")
    return ("./cmd", project.text("cmd/main.go")) if commands else (None, "")


def find_rust(project: Project) -> Finding | None:
    if not project.has("Cargo.toml"):
        return None
    manifest = project.toml("Cargo.toml")
    packages = {*table_at(manifest, "dependencies"), *table_at(manifest, "workspace", "dependencies")}
    entry = project.first("src/main.rs", "src/bin/server.rs", "src/bin/main.rs")
    source = project.text(entry) if entry else ""
    known = next((each for package, each in _RUST_FRAMEWORKS.items() if package in packages), None)
    name, usual, command = known or (None, None, "cargo run")
    serves = entry is not None and (known is not None or bool(_RUST_LISTENS.search(source)))
    if entry and entry.startswith("src/bin/"):
        command += f" --bin {argument(entry.removeprefix('src/bin/').removesuffix('.rs'))}"
    stack = TechStack(
        language="Rust",
        framework=name,
        package_manager="cargo",
        entry=project.path(entry or "src/lib.rs") if entry or project.has("src/lib.rs") else None,
        dev_command=command if serves else None,
        dev_port=(first_port(source, *_RUST_PORTS) or usual) if serves else None,
        directory=project.directory,
    )
    return Finding.of(stack)


def find_java(project: Project) -> Finding | None:
    build = project.first("pom.xml", "build.gradle", "build.gradle.kts")
    if build is None:
        return None
    text = project.text(build)
    known = next((each for mark, each in _JAVA_FRAMEWORKS.items() if mark in text), None)
    is_maven = build == "pom.xml"
    stack = TechStack(
        language=_jvm_language(project.suffixes),
        framework=known[0] if known else None,
        package_manager="Maven" if is_maven else "Gradle",
        entry=_jvm_entry(project),
        dev_command=_jvm_command(project, known[1] if is_maven else known[2], is_maven=is_maven) if known else None,
        dev_port=8080 if known else None,
        directory=project.directory,
    )
    return Finding.of(stack)


def _jvm_language(suffixes: Mapping[str, int]) -> str:
    return "Kotlin" if suffixes.get(".kt", 0) > suffixes.get(".java", 0) else "Java"


def _jvm_command(project: Project, task: str, *, is_maven: bool) -> str:
    wrapper = "mvnw" if is_maven else "gradlew"
    # Through the shell: a wrapper that was written as a plain file is not executable.
    tool = f"sh ./{wrapper}" if project.has(wrapper) else ("mvn" if is_maven else "gradle")
    return f"{tool} {task}"


def _jvm_entry(project: Project) -> str | None:
    prefix = project.path("src/main/")
    mains: Collection[str] = [
        path
        for path in project.paths
        if path.startswith(prefix)
        and path.endswith(("Application.java", "Application.kt", "Main.java", "Main.kt", "Main.scala"))
    ]
    return min(mains, key=lambda path: (path.count("/"), path), default=None)
