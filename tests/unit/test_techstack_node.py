"""What a JavaScript or TypeScript project is made with, as told by its files."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from vaporform_mcp.techstack import TechStack, detect, wanted

Shown = tuple[str | None, str | None, str | None, str | None, str | None, int | None]


def stack_of(files: Mapping[str, str]) -> TechStack:
    """As the server does it: read what is wanted of the tree, and nothing else."""
    return detect(list(files), {path: files[path] for path in wanted(files)})


def package(*packages: str, dev: tuple[str, ...] = (), **fields: object) -> str:
    """A package.json with these dependencies, and other fields by name."""
    dependencies = {"dependencies": dict.fromkeys(packages, "^1.0.0"), "devDependencies": dict.fromkeys(dev, "*")}
    return json.dumps({"name": "x", **dependencies, **fields})


def scripts(**named: str) -> dict[str, str]:
    return {name.replace("__", ":"): text for name, text in named.items()}


CASES: dict[str, tuple[dict[str, str], Shown]] = {
    "Next.js": (
        {
            "package.json": package(
                "next",
                "react",
                dev=("typescript",),
                scripts=scripts(dev="next dev", build="next build", start="next start"),
            ),
            "package-lock.json": "{}",
            "tsconfig.json": "{}",
            "next.config.ts": "",
            "app/page.tsx": "",
            "app/layout.tsx": "",
        },
        ("TypeScript", "Next.js", "npm", "app/page.tsx", "npm run dev", 3000),
    ),
    "Next.js on another port": (
        {"package.json": package("next", scripts=scripts(dev="next dev --turbo -p 4000")), "pages/index.jsx": ""},
        ("JavaScript", "Next.js", "npm", "pages/index.jsx", "npm run dev", 4000),
    ),
    "Next.js behind a server of its own": (
        {
            "package.json": package("next", "express", scripts=scripts(dev="node server.js")),
            "server.js": "server.listen(8081)",
            "pages/index.js": "",
        },
        ("JavaScript", "Next.js", "npm", "pages/index.js", "npm run dev", 8081),
    ),
    "Nuxt": (
        {
            "package.json": package("nuxt", "vue", scripts=scripts(build="nuxt build", dev="nuxt dev")),
            "pnpm-lock.yaml": "",
            "app.vue": "",
            "nuxt.config.ts": "",
            "tsconfig.json": "",
        },
        ("TypeScript", "Nuxt", "pnpm", "app.vue", "pnpm dev", 3000),
    ),
    "Vite with React": (
        {
            "package.json": package(
                "react",
                dev=("vite", "typescript"),
                scripts=scripts(dev="vite", build="tsc -b && vite build", preview="vite preview"),
            ),
            "index.html": "",
            "src/main.tsx": "",
            "vite.config.ts": "export default defineConfig({ plugins: [react()] })",
        },
        ("TypeScript", "Vite + React", "npm", "src/main.tsx", "npm run dev", 5173),
    ),
    "Vite with Vue and a configured port": (
        {
            "package.json": package("vue", dev=("vite",), scripts=scripts(dev="vite --host")),
            "yarn.lock": "",
            "index.html": "",
            "src/main.js": "",
            "src/App.vue": "",
            "vite.config.js": "export default { preview: { port: 9000 }, "
            "server: { hmr: { port: 1234 }, proxy: {'/api': {}}, port: 3001 } }",
        },
        ("JavaScript", "Vite + Vue", "yarn", "src/main.js", "yarn dev", 3001),
    ),
    "Vite with Svelte, started by npm start": (
        {
            "package.json": package(dev=("vite", "svelte"), scripts=scripts(start="vite --port 8080")),
            "src/main.ts": "",
            "index.html": "",
        },
        ("TypeScript", "Vite + Svelte", "npm", "src/main.ts", "npm start", 8080),
    ),
    "Vite without a script": (
        {"package.json": package(dev=("vite",)), "index.html": "", "main.js": ""},
        ("JavaScript", "Vite", "npm", "main.js", "npx --no-install vite", 5173),
    ),
    "SvelteKit": (
        {
            "package.json": package(dev=("@sveltejs/kit", "svelte", "vite"), scripts=scripts(dev="vite dev")),
            "src/routes/+page.svelte": "",
            "src/app.d.ts": "",
            "tsconfig.json": "",
        },
        ("TypeScript", "SvelteKit", "npm", "src/routes/+page.svelte", "npm run dev", 5173),
    ),
    "Astro": (
        {
            "package.json": package("astro", scripts=scripts(dev="astro dev", start="astro dev")),
            "src/pages/index.astro": "",
            "astro.config.mjs": "",
        },
        ("JavaScript", "Astro", "npm", "src/pages/index.astro", "npm run dev", 4321),
    ),
    "React Router": (
        {
            "package.json": package(
                "react-router", dev=("@react-router/dev", "vite"), scripts=scripts(dev="react-router dev")
            ),
            "app/root.tsx": "",
        },
        ("TypeScript", "React Router", "npm", "app/root.tsx", "npm run dev", 5173),
    ),
    "Remix": (
        {
            "package.json": package(dev=("@remix-run/dev", "vite"), scripts=scripts(dev="remix vite:dev")),
            "app/root.tsx": "",
        },
        ("TypeScript", "Remix", "npm", "app/root.tsx", "npm run dev", 5173),
    ),
    "Angular": (
        {
            "package.json": package(
                "@angular/core",
                scripts=scripts(ng="ng", start="ng serve", build="ng build", watch="ng build --watch"),
            ),
            "angular.json": "{}",
            "src/main.ts": "",
        },
        ("TypeScript", "Angular", "npm", "src/main.ts", "npm start", 4200),
    ),
    "Create React App": (
        {
            "package.json": package(
                "react",
                "react-scripts",
                scripts=scripts(start="react-scripts start", build="react-scripts build"),
            ),
            "src/index.js": "",
            "public/index.html": "",
        },
        ("JavaScript", "Create React App", "npm", "src/index.js", "npm start", 3000),
    ),
    "Create React App on another port": (
        {
            "package.json": package("react-scripts", scripts=scripts(start="PORT=3006 react-scripts start")),
            "src/index.tsx": "",
        },
        ("TypeScript", "Create React App", "npm", "src/index.tsx", "npm start", 3006),
    ),
    "Express": (
        {
            "package.json": package("express", main="index.js", scripts=scripts(start="node server.js")),
            "server.js": "const port = process.env.PORT || 4000;\napp.listen(port)",
        },
        ("JavaScript", "Express", "npm", "server.js", "npm start", 4000),
    ),
    "Express without scripts": (
        {"package.json": package("express", main="./app.js"), "app.js": "app.listen(3003)"},
        ("JavaScript", "Express", "npm", "app.js", "node app.js", 3003),
    ),
    "Express in TypeScript": (
        {
            "package.json": package(
                "express",
                dev=("tsx", "typescript"),
                scripts=scripts(dev="tsx watch src/index.ts", build="tsc", start="node dist/index.js"),
            ),
            "src/index.ts": "app.listen(Number(process.env.PORT ?? '5050'))",
        },
        ("TypeScript", "Express", "npm", "src/index.ts", "npm run dev", 5050),
    ),
    "Express in TypeScript without a script": (
        {"package.json": package("express", dev=("tsx",)), "src/server.ts": ""},
        ("TypeScript", "Express", "npm", "src/server.ts", "npx --no-install tsx src/server.ts", 3000),
    ),
    "Fastify": (
        {
            "package.json": package("fastify", scripts=scripts(dev="node --watch app.js")),
            "app.js": "await app.listen({ port: 3333 })",
        },
        ("JavaScript", "Fastify", "npm", "app.js", "npm run dev", 3333),
    ),
    "NestJS": (
        {
            "package.json": package(
                "@nestjs/core",
                "express",
                scripts=scripts(build="nest build", start="nest start", start__dev="nest start --watch"),
            ),
            "src/main.ts": "await app.listen(process.env.PORT ?? 3100);",
        },
        ("TypeScript", "NestJS", "npm", "src/main.ts", "npm run start:dev", 3100),
    ),
    "Koa": (
        {"package.json": package("koa", scripts=scripts(start="node index.js")), "index.js": "app.listen(PORT)"},
        ("JavaScript", "Koa", "npm", "index.js", "npm start", 3000),
    ),
    "Hono on Workers": (
        {
            "package.json": package("hono", dev=("wrangler",), scripts=scripts(dev="wrangler dev src/index.ts")),
            "src/index.ts": "",
        },
        ("TypeScript", "Hono", "npm", "src/index.ts", "npm run dev", 8787),
    ),
    "node's own server": (
        {"package.json": package(main="server.js"), "server.js": "http.createServer(handle).listen(8000, '127.0.0.1')"},
        ("JavaScript", None, "npm", "server.js", "node server.js", 8000),
    ),
    "node's own server without a manifest": (
        {"server.mjs": "createServer(handle).listen(port)\nconst port = 8124"},
        ("JavaScript", None, None, "server.mjs", "node server.mjs", 8124),
    ),
    "a server beside the client it serves": (
        {
            "package.json": package(
                "express",
                "react",
                dev=("vite", "concurrently"),
                scripts=scripts(
                    dev='concurrently "npm:server" "npm:client"',
                    server="node server/index.js",
                    client="vite --port 5200",
                ),
            ),
            "server/index.js": "app.listen(3001)",
            "src/main.jsx": "",
        },
        ("JavaScript", "Vite + React", "npm", "src/main.jsx", "npm run dev", 5200),
    ),
    "a server that Vite only serves through": (
        {
            "package.json": package(
                "express",
                "react",
                dev=("vite", "tsx"),
                scripts=scripts(dev="NODE_ENV=development tsx server/index.ts", build="vite build"),
            ),
            "server/index.ts": "server.listen(5000)",
            "client/src/main.tsx": "",
        },
        ("TypeScript", "Express", "npm", "server/index.ts", "npm run dev", 5000),
    ),
    "pages served by a package": (
        {
            "package.json": package(dev=("http-server",), scripts=scripts(start="http-server public -c-1")),
            "public/index.html": "",
        },
        ("JavaScript", None, "npm", None, "npm start", 8080),
    ),
    "Bun": (
        {
            "package.json": package("elysia", scripts=scripts(dev="bun run --watch src/index.ts")),
            "bun.lock": "",
            "src/index.ts": "app.listen(3000)",
        },
        ("TypeScript", "Elysia", "bun", "src/index.ts", "bun run dev", 3000),
    ),
    "Bun's own server": (
        {"index.ts": "Bun.serve({ port: 4001, fetch })"},
        ("TypeScript", None, "bun", "index.ts", "bun run index.ts", 4001),
    ),
    "a library": (
        {
            "package.json": package(
                dev=("vite", "vitest", "typescript"),
                main="dist/index.js",
                scripts=scripts(dev="tsup --watch", build="tsup", test="vitest"),
            ),
            "src/index.ts": "",
        },
        ("TypeScript", None, "npm", "src/index.ts", None, None),
    ),
    "a library with a site of documents": (
        {
            "package.json": package(
                dev=("vitepress",), scripts=scripts(build="rollup -c", docs__dev="vitepress dev docs")
            ),
            "src/index.js": "",
        },
        ("JavaScript", None, "npm", "src/index.js", None, None),
    ),
    "a desktop program": (
        {
            "package.json": package(dev=("electron",), main="main.js", scripts=scripts(start="electron .")),
            "main.js": "createWindow()",
        },
        ("JavaScript", None, "npm", "main.js", None, None),
    ),
}


@pytest.mark.parametrize(("files", "expected"), CASES.values(), ids=CASES.keys())
def test_a_project_is_recognised(files: dict[str, str], expected: Shown) -> None:
    found = stack_of(files)
    shown = (
        found.language,
        found.framework,
        found.package_manager,
        found.entry,
        found.dev_command,
        found.dev_port,
    )
    assert shown == expected


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (scripts(start="npm run build && node server.js"), "node server.js"),
        (scripts(dev="npm install && node server.js", start="node server.js"), "npm start"),
        (scripts(start="tsc && node server.js"), "node server.js"),
        (scripts(dev="yarn && node server.js"), "node server.js"),
        (scripts(dev="run-s build serve", build="webpack", serve="node server.js"), "npm run serve"),
        (scripts(dev="npm run prepare && node server.js", prepare="vite build"), "node server.js"),
        (scripts(start="node server.js", prestart="npm run build", build="webpack"), "npm start --ignore-scripts"),
        (scripts(start="node server.js", prestart="echo starting"), "npm start"),
        (scripts(dev="tsc --noEmit && node server.js"), "npm run dev"),
        (scripts(dev='concurrently "tsc -w" "node --watch server.js"'), "npm run dev"),
        (scripts(dev="dotenv -e .env -- node server.js"), "npm run dev"),
        (scripts(dev="cross-env NODE_ENV=development nodemon server.js"), "npm run dev"),
        (scripts(dev="webpack serve"), "npm run dev"),
        (scripts(dev="webpack --watch", start="node server.js"), "npm start"),
        (scripts(dev="npm run dev"), "node server.js"),
    ],
)
def test_the_command_neither_installs_nor_builds_first(named: dict[str, str], expected: str) -> None:
    files = {"package.json": package("express", scripts=named), "server.js": "app.listen(3000)"}
    assert stack_of(files).dev_command == expected


def test_a_hook_that_installs_is_avoided_where_the_package_manager_cannot_skip_it() -> None:
    manifest = package("vite", "vue", scripts=scripts(dev="vite", predev="pnpm install"))
    stack = stack_of({"package.json": manifest, "pnpm-lock.yaml": "", "index.html": ""})
    assert stack.dev_command == "pnpm exec vite"


@pytest.mark.parametrize(
    ("lock", "manager", "command"),
    [
        ("README.md", "npm", "npm run dev"),
        ("package-lock.json", "npm", "npm run dev"),
        ("pnpm-lock.yaml", "pnpm", "pnpm dev"),
        ("yarn.lock", "yarn", "yarn dev"),
        ("bun.lockb", "bun", "bun run dev"),
    ],
)
def test_the_lock_file_tells_the_package_manager(lock: str, manager: str, command: str) -> None:
    stack = stack_of({"package.json": package("next", scripts=scripts(dev="next dev")), lock: ""})
    assert (stack.package_manager, stack.dev_command) == (manager, command)


def test_the_manifest_names_the_package_manager_before_a_lock_file_does() -> None:
    manifest = package("next", scripts=scripts(dev="next dev"), packageManager="pnpm@9.1.0+sha512.abc")
    assert stack_of({"package.json": manifest, "package-lock.json": ""}).package_manager == "pnpm"
