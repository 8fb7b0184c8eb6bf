"""Which of the user's own toolchains a sandbox shows: those on the PATH that lie where it otherwise sees nothing.

Each is shown read-only by its own tree, where `trees.py` knows it as one, never with the folder that it lies in; and
programs of one file by that file. A link in a tree that leads out of it leads nowhere inside. What finds itself
wherever it lies is shown under /toolchains; what has its own path written into it, at that path.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.sandboxes.local.bubblewrap import HOME, Bind
from vaporform_mcp.sandboxes.local.shims import behind
from vaporform_mcp.sandboxes.local.trees import KnownTrees, Tree

__all__ = ["Toolchain", "discover", "shown_anyway"]

log = logging.getLogger(__name__)

_BASE = "/toolchains"

# Programs that lead to the toolchain they are of, by a link from elsewhere.
_PROGRAMS = (
    *("python3", "python", "node", "npm", "pnpm", "yarn", "cargo", "rustc", "go", "java", "javac", "mvn", "gradle"),
    *("kotlinc", "scala", "sbt", "ruby", "bundle", "php", "composer", "perl", "julia", "dart", "flutter", "swift"),
    *("zig", "nim", "crystal", "elixir", "mix", "erl", "ghc", "cabal", "stack", "ocaml", "opam", "lua", "R", "dotnet"),
    *("cmake", "ninja", "clang", "gcc", "terraform", "protoc"),
)

# These are one file each, and need nothing that lies beside them.
_SINGLE = (
    *("uv", "uvx", "deno", "bun", "bunx", "just", "rg", "fd", "jq", "yq", "gh", "hugo", "task", "wasmtime", "ruff"),
    *("ty", "pixi", "pnpm", "esbuild", "biome", "ninja", "protoc", "buf", "terraform", "tofu", "shellcheck", "shfmt"),
    *("gopls", "dlv", "golangci-lint", "cargo-nextest", "wasm-pack", "sccache", "typst"),
)
_ELF = b"\x7fELF"

_MANAGERS = {
    ".nvm": "nvm",
    "nvm": "nvm",
    "fnm": "fnm",
    ".fnm": "fnm",
    ".pyenv": "pyenv",
    ".asdf": "asdf",
    "mise": "mise",
    "uv": "uv",
    ".rustup": "rustup",
    ".volta": "volta",
    ".sdkman": "sdkman",
    ".rbenv": "rbenv",
    "miniconda3": "conda",
    "anaconda3": "conda",
    "miniforge3": "conda",
}

_SHOWN_ANYWAY = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix/store", "/gnu/store")
_SCRIPTS_LOOKED_AT = 500
_MAX_TOOLCHAINS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """`name` is its manager's, or its program's. `bind` shows it, `path` is what it adds to the PATH inside."""

    name: str
    bind: Bind
    path: str

    @property
    def is_tree(self) -> bool:
        """Whether it is a folder; else it is a single program."""
        return f"{self.path}/".startswith(f"{self.bind.target}/")

    @property
    def host_path(self) -> str:
        """What a tree adds to the PATH where it is shown at its own place."""
        return self.bind.source + self.path.removeprefix(self.bind.target)


def discover(environment: Mapping[str, str], adjustments: Sequence[str], *, private: Path) -> list[Toolchain]:
    """The toolchains of the user whose PATH and HOME these are, in the order of their PATH.

    `adjustments` are names to keep (others are left out), `-name` to leave one out, `+/folder` to add a folder, `none`
    to begin with nothing, `auto` for what would be without. `private` is never shown, nor what it lies in.

    Raises:
        InvalidArgument: an adjustment is none of these, or adds what cannot be shown.
    """
    kept, dropped, added = _parsed(adjustments)
    home = Path(os.path.realpath(environment.get("HOME") or "/nonexistent"))
    known = KnownTrees(home, environment)
    found: list[Tree] = []
    for folder in _unseen(environment.get("PATH", "")):
        try:
            found += _in_folder(folder, known, home, environment)
        except OSError as error:
            # A PATH often has folders of another user's, or names that are none; they are no reason to have no sandbox.
            log.info("a folder of the PATH was passed over: %s", error.strerror)
    chosen = [one for one in found if (kept is None or one.name in kept) and one.name not in dropped]
    for folder in added:
        if not _may_show(folder, home, private):
            raise InvalidArgument(
                f"the toolchain folder {folder.name!r} cannot be shown in sandboxes",
                hint="VAPORFORM_LOCAL__TOOLCHAINS takes folders of toolchains themselves, not a home or what holds it.",
            )
        chosen.insert(0, Tree(_name_of(folder), folder))
    shown = dict.fromkeys(one for one in chosen if _may_show(one.root, home, private))
    return [_placed(one, number) for number, one in enumerate(list(shown)[:_MAX_TOOLCHAINS])]


def shown_anyway(path: str) -> list[str]:
    """Folders of a PATH that every sandbox sees, where they are what they are on the host."""
    found = [os.path.realpath(entry) for entry in path.split(":") if entry.startswith("/")]
    return [entry for entry in dict.fromkeys(found) if _is_shown(entry)]


def _parsed(adjustments: Sequence[str]) -> tuple[set[str] | None, set[str], list[Path]]:
    kept: set[str] | None = None
    dropped: set[str] = set()
    added: list[Path] = []
    for word in (part.strip() for part in adjustments):
        if word.startswith("+/"):
            path = Path(os.path.realpath(word[1:]))
            if not path.is_dir():
                raise InvalidArgument(
                    f"there is no folder {word[1:]!r}", hint="Mend VAPORFORM_LOCAL__TOOLCHAINS, or leave it out."
                )
            added.append(path)
        elif word.startswith("-") and len(word) > 1:
            dropped.add(word[1:])
        elif word == "none":
            kept = set() if kept is None else kept
        elif word.isidentifier() and word != "auto":
            kept = {word} if kept is None else kept | {word}
        elif word not in {"", "auto"}:
            raise InvalidArgument(
                f"{word!r} is no toolchain setting",
                hint="VAPORFORM_LOCAL__TOOLCHAINS takes auto, none, names such as pyenv, -name and +/folder.",
            )
    return kept, dropped, added


def _unseen(path: str) -> Iterator[Path]:
    """Folders of the PATH that a sandbox would not see."""
    seen: set[str] = set()
    for entry in path.split(":"):
        real = os.path.realpath(entry) if entry.startswith("/") else ""
        if real and real not in seen and not _is_shown(real):
            seen.add(real)
            yield Path(real)


def _is_shown(path: str) -> bool:
    return f"{path}/".startswith(tuple(f"{one}/" for one in _SHOWN_ANYWAY))


def _in_folder(folder: Path, known: KnownTrees, home: Path, environment: Mapping[str, str]) -> Iterator[Tree]:
    managed = behind(folder, home, environment)
    if managed is not None:
        name, roots = managed
        yield from (Tree(name, tree.root) for root in roots if (tree := known.tree_of(root)))
    if folder.name == "shims" or (managed is not None and managed[0] != "rustup"):
        return
    own = known.tree_of(folder)
    if own is not None:
        yield own
        return
    for program in _SINGLE:
        if _is_program(folder / program) and _begins(folder / program, _ELF):  # a script may be anybody's own
            yield Tree(program, Path(os.path.realpath(folder / program)))
    if managed is None:
        linked = (known.tree_of(folder / program) for program in _PROGRAMS if _is_program(folder / program))
        yield from (tree for tree in linked if tree is not None)


def _name_of(prefix: Path) -> str:
    managers = [_MANAGERS[part] for part in prefix.parts if part in _MANAGERS]
    if managers:
        return managers[-1]
    programs = [name for name in _PROGRAMS if _is_program(prefix / "bin" / name)]
    return programs[0] if programs else prefix.name


def _may_show(tree: Path, home: Path, private: Path) -> bool:
    if not tree.exists() or (tree / "pyvenv.cfg").exists():
        return False
    kept_out = (home, home / ".local", home / ".cargo", home / ".config", Path(os.path.realpath(private)), Path("/tmp"))  # noqa: S108  # not to write to
    return not any(one.is_relative_to(tree) for one in kept_out) and not tree.is_relative_to(kept_out[4])


def _placed(found: Tree, number: int) -> Toolchain:
    tree = str(found.root)
    if not found.root.is_dir():
        # Apart from one another, since the PATH is of folders.
        target = f"{_BASE}/{number}-{found.name}"
        return Toolchain(name=found.name, bind=Bind(tree, f"{target}/{found.name}"), path=target)
    target = tree if _knows_its_path(found.root) else f"{_BASE}/{number}-{found.name}"
    binaries = "bin" if (found.root / "bin").is_dir() else ""
    return Toolchain(name=found.name, bind=Bind(tree, target), path=f"{target}/{binaries}".rstrip("/"))


def _knows_its_path(tree: Path) -> bool:
    """Whether scripts in it name an interpreter in it, so that they run nowhere else."""
    if tree.is_relative_to(HOME) or tree.is_relative_to("/workspace"):
        return False  # where the sandbox's own home is, nothing else can be
    opening = f"#!{tree}/".encode()
    try:
        scripts = sorted((tree / "bin").iterdir())[:_SCRIPTS_LOOKED_AT]
    except OSError:
        return False
    return any(_begins(path, opening) for path in scripts)


def _begins(path: Path, opening: bytes) -> bool:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as source:
            return source.read(len(opening)) == opening
    except OSError:
        return False


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
