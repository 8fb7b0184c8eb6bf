"""Which script of a package.json starts a development server, without installing or building first."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Script", "choose"]

_ORDER = ("dev", "develop", "start:dev", "dev:start", "serve", "start", "web", "server", "dev:server", "dev:web")
_MANAGERS = frozenset({"npm", "pnpm", "yarn", "bun"})
_RUNNERS = re.compile(r"\b(?:npm|pnpm|yarn|bun|npm-run-all2?|run-s|run-p|concurrently|wireit)\b")
_WORD = re.compile(r"[\w:.@/*+-]+")
_STEP = re.compile(r"&&|\|\||[;&|\"'()]")
_ASSIGNMENT = re.compile(r"\w+=\S*")
_WRAPPERS = frozenset({"npx", "bunx", "cross-env", "cross-env-shell", "dotenv", "env-cmd", "env", "exec", "--", "-y"})
_DELEGATES = re.compile(
    r"\b(?:turbo|nx|lerna|moon|workspaces?)\b|--(?:filter|recursive|prefix|cwd|dir)\b|(?:^|\s)-(?:r|C|w|F)\s"
    r"|\bcd\s+[\w./-]+\s*&&"
)
# Compilers, bundlers and site generators that build when told so, or unless told to serve.
_TOLD_TO_BUILD = frozenset(
    {"next", "vite", "nuxt", "nuxi", "astro", "ng", "nest", "gatsby", "react-scripts", "vue-cli-service", "remix"}
    | {"react-router", "svelte-kit", "turbo", "parcel", "rsbuild", "docusaurus", "vitepress", "expo", "vinxi"}
)
_BUILDERS = frozenset({"webpack", "webpack-cli", "rollup", "esbuild", "tsup", "babel", "swc", "tsdown", "unbuild"})
_WATCHING_FLAGS = ("-w", "--watch", "-watch", "--noEmit")
_SUBCOMMANDS = frozenset({"", "install", "i", "ci", "add", "test", "t", "audit", "build", "exec"})
# What serves nothing itself. Runners are among them: the scripts that they run are looked at on their own.
_IDLE = {
    *("concurrently", "npm-run-all", "npm-run-all2", "run-s", "run-p", "wait-on", "wireit"),
    *("tsc", "vue-tsc", "sass", "node-sass", "tailwindcss", "@tailwindcss/cli", "postcss", "jest", "vitest", "mocha"),
    *("eslint", "prettier", "biome", "echo", "rm", "rimraf", "cp", "mkdir", "cd", "export", "set", "sleep", "cpx"),
    *("copyfiles", "husky", "electron", "electron-forge", "tauri", "changeset", "open", "exit", "true", "prisma"),
}
_MAX_SCRIPT_CHARS = 2_000
_MAX_REACHED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """`texts` are its own line and those of the scripts that it runs.

    `delegates`: it starts the packages in folders below. `skips_hooks`: its pre-script, which would build or
    install, must not run.
    """

    name: str
    texts: Sequence[str]
    delegates: bool
    skips_hooks: bool

    def mentions(self, program: str) -> bool:
        return any(re.search(rf"(?<![\w./@-]){re.escape(program)}(?![\w./-])", text) for text in self.texts)


def choose(scripts: Mapping[str, str], *, can_skip_hooks: bool) -> Script | None:
    """The first script, in the order of their usual names, that serves and neither installs nor builds."""
    scripts = {name: text[:_MAX_SCRIPT_CHARS] for name, text in scripts.items()}
    for name in _ORDER:
        if name not in scripts:
            continue
        texts = _reached(name, scripts)
        if any(_prepares(step) for text in texts for step in _steps(text)):
            continue
        delegates = any(_DELEGATES.search(text) for text in texts)
        if not delegates and all(_is_idle(step, scripts) for text in texts for step in _steps(text)):
            continue
        hook = f"pre{name}"
        skips = hook in scripts and any(_prepares(step) for text in _reached(hook, scripts) for step in _steps(text))
        if skips and not can_skip_hooks:
            continue
        return Script(name=name, texts=texts, delegates=delegates, skips_hooks=skips)
    return None


def _reached(name: str, scripts: Mapping[str, str]) -> Sequence[str]:
    """The script's text, then the texts of those that it runs by name, directly or through others."""
    names = [name]
    for current in names:  # grows as it goes
        text = scripts[current]
        if not _RUNNERS.search(text):
            continue
        for word in _WORD.findall(text):
            wanted = word.split(":", 1)[1] if word.split(":", 1)[0] in _MANAGERS and ":" in word else word
            found = [each for each in scripts if each.startswith(wanted[:-1])] if wanted.endswith(":*") else [wanted]
            names.extend(each for each in found if each in scripts and each not in names)
        if len(names) > _MAX_REACHED:
            break
    return [scripts[each] for each in names[:_MAX_REACHED]]


def _steps(text: str) -> list[list[str]]:
    """The commands of a line as their words, those in quotes (which runners take) as commands of their own."""
    steps: list[list[str]] = []
    for part in _STEP.split(text):
        words = part.split()
        if words[:1] in (["dotenv"], ["env-cmd"]) and "--" in words:
            words = words[words.index("--") + 1 :]
        if words and words[0] in _MANAGERS and words[1:2] in (["exec"], ["x"], ["dlx"]):
            del words[:2]
        while words and (words[0] in _WRAPPERS or words[0].startswith("-") or _ASSIGNMENT.fullmatch(words[0])):
            del words[0]
        if words:
            steps.append([words[0].removeprefix("./").removeprefix("node_modules/.bin/"), *words[1:]])
    return steps


def _prepares(step: Sequence[str]) -> bool:
    """Whether the command installs packages or builds, and then ends."""
    program, rest = step[0], step[1:]
    if program in _MANAGERS:
        words = _named(rest)
        installs = not words if program == "yarn" else False
        return installs or bool(words and (words[0] in {"install", "i", "ci", "add"} or _is_build(words[0])))
    if program in {"run-s", "run-p", "npm-run-all", "npm-run-all2"}:
        return any(_is_build(word) for word in rest)
    if program in {"pip", "pip3", "poetry"}:
        return rest[:1] == ["install"]
    watches = any(word in _WATCHING_FLAGS for word in rest)
    if program in {"tsc", "vue-tsc"} or (program in _BUILDERS and not _serves(rest)):
        return not watches
    return program in _TOLD_TO_BUILD and "build" in rest[:2] and not watches


def _is_idle(step: Sequence[str], scripts: Collection[str]) -> bool:
    """Whether the command serves nothing by itself."""
    program, rest = step[0], step[1:]
    if program in _BUILDERS:
        return not _serves(rest)
    if program in _MANAGERS:
        named = next(iter(_named(rest)), "")
        return named in scripts or named in _SUBCOMMANDS  # else a file, or a program that a package brings
    is_label = "," in program or program.partition(":")[0] in _MANAGERS
    return is_label or program in _IDLE or (program in _TOLD_TO_BUILD and "build" in rest[:2])


def _named(rest: Sequence[str]) -> list[str]:
    """What a package manager is told to run, and its arguments."""
    return [word for word in rest if not word.startswith("-") and word not in {"run", "run-script"}]


def _serves(words: Sequence[str]) -> bool:
    return any(word == "serve" or word.startswith("--serve") for word in words)


def _is_build(word: str) -> bool:
    return word == "build" or word.startswith(("build:", "build-"))
