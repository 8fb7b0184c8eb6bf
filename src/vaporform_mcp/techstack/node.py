"""Projects for Node.js and Bun, by their package.json."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from vaporform_mcp.techstack.project import Project, argument, first_port
from vaporform_mcp.techstack.scripts import Script, choose
from vaporform_mcp.techstack.stack import Finding, TechStack
from vaporform_mcp.techstack.tables import Table, string_at, table_at

__all__ = ["find_node", "script_language"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kit:
    """A framework: the package that shows its use, the program that serves in development, and its usual port.

    `is_certain`: the package alone shows it; otherwise many have the package beside another framework, and only a
    script that mentions the program does. `listens_in_source`: the project's own code chooses the port.
    """

    package: str
    name: str
    port: int
    program: str = ""
    entries: tuple[str, ...] = ()
    is_certain: bool = True
    listens_in_source: bool = False


_WEB = ("tsx", "jsx", "ts", "js")


def _each(*stems: str, ends: Collection[str] = _WEB) -> tuple[str, ...]:
    return tuple(f"{stem}.{end}" for stem in stems for end in ends)


_BROWSER_ENTRIES = (
    *_each("src/main", "src/index", "src/App", "client/src/main", "main", "index", "app"),
    *("src/main.mjs", "index.html"),
)
_SERVER_ENTRIES = _each(
    *(f"{folder}{stem}" for folder in ("", "src/", "server/") for stem in ("server", "index", "app", "main")),
    ends=("ts", "js", "mts", "mjs", "cjs", "tsx"),
)
_PAGES = _each("app/page", "src/app/page", "pages/index", "src/pages/index")
_NUXT = ("app/app.vue", "app.vue", "app/pages/index.vue", "pages/index.vue")
_ROOTS = _each("app/root", "src/root")

# In this order: what stands further up is made with what stands further down.
_KITS = (
    _Kit(package="next", name="Next.js", port=3000, program="next dev", entries=_PAGES),
    _Kit(package="nuxt", name="Nuxt", port=3000, program="nuxt dev", entries=_NUXT),
    _Kit(
        package="@sveltejs/kit", name="SvelteKit", port=5173, program="vite dev", entries=("src/routes/+page.svelte",)
    ),
    _Kit(package="astro", name="Astro", port=4321, program="astro dev", entries=("src/pages/index.astro",)),
    _Kit(package="@react-router/dev", name="React Router", port=5173, program="react-router dev", entries=_ROOTS),
    _Kit(package="@remix-run/dev", name="Remix", port=5173, program="remix vite:dev", entries=_ROOTS),
    _Kit(package="@tanstack/react-start", name="TanStack Start", port=3000, program="vite dev", entries=_ROOTS),
    _Kit(package="@solidjs/start", name="SolidStart", port=3000, program="vinxi dev", entries=_each("src/app")),
    _Kit(package="@builder.io/qwik-city", name="Qwik City", port=5173, program="vite --mode ssr", entries=_ROOTS),
    _Kit(package="@angular/core", name="Angular", port=4200, program="ng serve", entries=("src/main.ts",)),
    _Kit(package="gatsby", name="Gatsby", port=8000, program="gatsby develop", entries=_PAGES),
    _Kit(
        package="expo", name="Expo", port=8081, program="expo start --web", entries=_each("app/index", "App", "index")
    ),
    _Kit(package="react-scripts", name="Create React App", port=3000, program="react-scripts start"),
    _Kit(package="@vue/cli-service", name="Vue CLI", port=8080, program="vue-cli-service serve"),
    _Kit(
        package="@nestjs/core",
        name="NestJS",
        port=3000,
        program="nest start --watch",
        entries=("src/main.ts",),
        listens_in_source=True,
    ),
    _Kit(package="@adonisjs/core", name="AdonisJS", port=3333, program="node ace serve --hmr"),
    _Kit(package="@strapi/strapi", name="Strapi", port=1337, program="strapi develop"),
    _Kit(package="@docusaurus/core", name="Docusaurus", port=3000, program="docusaurus start", is_certain=False),
    _Kit(package="vitepress", name="VitePress", port=5173, program="vitepress dev", is_certain=False),
    _Kit(package="@11ty/eleventy", name="Eleventy", port=8080, program="eleventy --serve", is_certain=False),
)
_BUNDLERS = (
    _Kit(package="vite", name="Vite", port=5173, program="vite"),
    _Kit(package="@rsbuild/core", name="Rsbuild", port=3000, program="rsbuild dev"),
    _Kit(package="parcel", name="Parcel", port=1234, program="parcel index.html"),
    _Kit(package="webpack-dev-server", name="webpack", port=8080, program="webpack serve"),
)
_SERVERS = (
    _Kit(package="fastify", name="Fastify", port=3000),
    _Kit(package="hono", name="Hono", port=3000),
    _Kit(package="elysia", name="Elysia", port=3000),
    _Kit(package="koa", name="Koa", port=3000),
    _Kit(package="@hapi/hapi", name="hapi", port=3000),
    _Kit(package="restify", name="restify", port=8080),
    _Kit(package="polka", name="Polka", port=3000),
    _Kit(package="express", name="Express", port=3000),
)
_VIEWS = {
    "react": "React",
    "vue": "Vue",
    "svelte": "Svelte",
    "preact": "Preact",
    "solid-js": "Solid",
    "lit": "Lit",
    "@builder.io/qwik": "Qwik",
}
_OTHER_TOOLS = {
    "http-server": 8080,
    "live-server": 8080,
    "serve": 3000,
    "json-server": 3000,
    "browser-sync": 3000,
    "wrangler": 8787,
    "netlify": 8888,
    "vercel": 3000,
    "storybook": 6006,
}

_LOCKS = {
    "pnpm-lock.yaml": "pnpm",
    "pnpm-workspace.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
}
_EXECUTE = {"npm": "npx --no-install ", "pnpm": "pnpm exec ", "yarn": "yarn run ", "bun": "bun run "}

_FLAG_PORT = re.compile(r"(?:--port[= ]|--server\.port[= ]|(?<!\S)-[pl][= ]?|\bPORT=)[\"']?(\d{2,5})\b")
_CONFIGURED_SERVER = re.compile(r"\b(?:server|devServer)\s*:\s*\{[^\0]{0,600}?\bport\s*:\s*(\d{2,5})\b")
_OTHER_PORTS = re.compile(r"\b(?:hmr|preview)\s*:\s*\{[^{}]{0,500}\}")
_SOURCE_PORTS = (
    re.compile(r"\.listen\(\s*(\d{2,5})\b"),
    re.compile(r"PORT\b[^\n;]{0,40}?(?:\|\||\?\?)\s*[\"']?(\d{2,5})\b"),
    re.compile(r"\b(?:port|PORT|Port)\s*[:=]\s*[\"']?(\d{2,5})\b"),
)
_LISTENS = re.compile(r"\bcreateServer\(|\.listen\(|\bBun\.serve\(|\bserve\(\s*\{")
_SCRIPT_FILE = re.compile(r"(?<!\S)(?:\./)?([\w@][\w@./-]*\.[cm]?[jt]sx?)\b")
_CONFIGS = (
    *_each("vite.config", ends=("ts", "js", "mjs", "mts")),
    *("astro.config.mjs", "astro.config.ts", "nuxt.config.ts", "nuxt.config.js", "webpack.config.js", "vue.config.js"),
)


def find_node(project: Project) -> Finding | None:
    if not project.has("package.json"):
        return _without_manifest(project)
    manifest = project.json("package.json")
    packages = _packages(manifest)
    manager = _package_manager(project, manifest)
    scripts = {name: text for name, text in table_at(manifest, "scripts").items() if isinstance(text, str)}
    script = choose(scripts, can_skip_hooks=manager == "npm")
    kit = _kit(project, packages, script)
    entry = _entry(project, kit, script, manifest)
    command = _command(project, manager, script, kit, entry, packages)
    stack = TechStack(
        language=script_language(project, packages),
        framework=_framework(kit, packages),
        package_manager=manager,
        entry=project.path(entry) if entry else None,
        dev_command=command,
        dev_port=_port(project, script, kit, entry) if command else None,
        directory=project.directory,
    )
    return Finding.of(stack, delegates=bool(script and script.delegates))


def script_language(project: Project, packages: Collection[str] = ()) -> str:
    """TypeScript where most of the files are, or where there are none yet and the project is set up for it."""
    typed = sum(project.suffixes.get(suffix, 0) for suffix in (".ts", ".tsx", ".mts", ".cts"))
    plain = sum(project.suffixes.get(suffix, 0) for suffix in (".js", ".jsx", ".mjs", ".cjs"))
    if typed or plain:
        return "TypeScript" if typed >= plain else "JavaScript"
    return "TypeScript" if "typescript" in packages or project.has("tsconfig.json") else "JavaScript"


def _without_manifest(project: Project) -> Finding | None:
    """A program of one file that needs no package."""
    entry = project.first(*(name for name in _SERVER_ENTRIES if "/" not in name))
    is_part = any(folder.has("package.json") for folder in project.above())
    if entry is None or is_part or project.has("deno.json", "deno.jsonc"):
        return None
    text = project.text(entry)
    if not _LISTENS.search(text):
        return None
    manager = "bun" if "Bun.serve(" in text else None
    stack = TechStack(
        language=script_language(project),
        package_manager=manager,
        entry=project.path(entry),
        dev_command=f"{'bun run' if manager else 'node'} {argument(entry)}",
        dev_port=first_port(text, *_SOURCE_PORTS),
        directory=project.directory,
    )
    return Finding.of(stack)


def _packages(manifest: Table) -> Collection[str]:
    kinds = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
    return {name for kind in kinds for name in table_at(manifest, kind)}


def _package_manager(project: Project, manifest: Table) -> str:
    """As Corepack decides: what a manifest names, else whose lock file is nearest."""
    for folder in project.upward():
        named = string_at(
            manifest if folder.directory == project.directory else folder.json("package.json"), "packageManager"
        )
        if (name := named.partition("@")[0]) in _EXECUTE:
            return name
        if lock := folder.first(*_LOCKS):
            return _LOCKS[lock]
    return "npm"


def _kit(project: Project, packages: Collection[str], script: Script | None) -> _Kit | None:
    def mentioned(kit: _Kit) -> bool:
        return script is not None and script.mentions(kit.program.split()[0])

    for kit in _KITS:
        if kit.package in packages and (kit.is_certain or mentioned(kit)):
            return kit
    bundlers = [kit for kit in _BUNDLERS if kit.package in packages]
    for kit in bundlers:
        if mentioned(kit):
            return kit
    for kit in _SERVERS:
        if kit.package in packages:
            return kit
    # Beside a test runner or a library a bundler is no application, unless there is a page.
    return next(iter(bundlers), None) if project.has("index.html", "src/index.html") else None


def _framework(kit: _Kit | None, packages: Collection[str]) -> str | None:
    if kit is None:
        return None
    view = next((name for package, name in _VIEWS.items() if package in packages), None)
    return f"{kit.name} + {view}" if kit in _BUNDLERS and view else kit.name


def _entry(project: Project, kit: _Kit | None, script: Script | None, manifest: Table) -> str | None:
    if kit is not None and kit not in _SERVERS:
        return project.first(*kit.entries, *_BROWSER_ENTRIES)
    named = [string_at(manifest, "main").removeprefix("./"), string_at(manifest, "module").removeprefix("./")]
    return project.first(*_script_files(script), *filter(None, named), *_SERVER_ENTRIES, *_BROWSER_ENTRIES)


def _script_files(script: Script | None) -> Iterator[str]:
    for text in script.texts if script else ():
        yield from _SCRIPT_FILE.findall(text)


def _command(
    project: Project,
    manager: str,
    script: Script | None,
    kit: _Kit | None,
    entry: str | None,
    packages: Collection[str],
) -> str | None:
    if script:
        return _run(manager, script)
    if kit and kit.program:
        return kit.program if kit.program.startswith("node ") else _EXECUTE[manager] + kit.program
    if entry is None or not (kit or _LISTENS.search(project.text(entry))):
        return None
    if manager == "bun":
        return f"bun run {argument(entry)}"
    if entry.endswith(("ts", "tsx")):
        runner = next((name for name in ("tsx", "ts-node") if name in packages), None)
        return f"{_EXECUTE[manager]}{runner} {argument(entry)}" if runner else f"node {argument(entry)}"
    return f"node {argument(entry)}" if entry.endswith("js") else None


def _run(manager: str, script: Script) -> str:
    if manager == "npm":
        # npm still runs the script that is named, but neither of its hooks.
        flag = " --ignore-scripts" if script.skips_hooks else ""
        return f"npm start{flag}" if script.name == "start" else f"npm run {script.name}{flag}"
    is_short = script.name in {"dev", "start"} and manager != "bun"
    return f"{manager} {script.name}" if is_short else f"{manager} run {script.name}"


def _port(project: Project, script: Script | None, kit: _Kit | None, entry: str | None) -> int | None:
    texts = script.texts if script else ()
    sources = "\n".join(project.text(name) for name in dict.fromkeys((*_script_files(script), entry)) if name)
    if kit and kit.program:
        program = re.compile(rf"\b{re.escape(kit.program.split()[0])}\b")
        ours = [text for text in texts if program.search(text)]
        if ours or not texts:
            written = first_port(sources, *_SOURCE_PORTS) if kit.listens_in_source else None
            return first_port("\n".join(ours), _FLAG_PORT) or written or _configured_port(project) or kit.port
    flagged = first_port("\n".join(texts), _FLAG_PORT)
    usual = next((number for tool, number in _OTHER_TOOLS.items() if script and script.mentions(tool)), None)
    return flagged or first_port(sources, *_SOURCE_PORTS) or usual or (kit.port if kit else None)


def _configured_port(project: Project) -> int | None:
    config = project.first(*_CONFIGS)
    return first_port(_OTHER_PORTS.sub("", project.text(config)), _CONFIGURED_SERVER) if config else None
