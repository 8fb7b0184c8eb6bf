"""Choosing, of all that the folders of a tree may be, the application that its user means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from vaporform_mcp.techstack.compiled import find_go, find_java, find_rust
from vaporform_mcp.techstack.node import find_node
from vaporform_mcp.techstack.others import find_deno, find_elixir, find_php, find_ruby, find_site, find_static
from vaporform_mcp.techstack.project import Project
from vaporform_mcp.techstack.python import find_python
from vaporform_mcp.techstack.selection import candidate_directories, is_aside, is_vendored, preference
from vaporform_mcp.techstack.stack import Finding, Rank, TechStack

__all__ = ["detect"]

# Of equal rank the first wins. Those that keep a package.json for their assets come before Node.
_DETECTORS: Sequence[Callable[[Project], Finding | None]] = (
    find_ruby,
    find_php,
    find_elixir,
    find_node,
    find_deno,
    find_python,
    find_go,
    find_rust,
    find_java,
    find_site,
    find_static,
)

_LANGUAGES = {
    "C": (".c", ".h"),
    "C#": (".cs",),
    "C++": (".cpp", ".cc", ".cxx", ".hpp"),
    "Clojure": (".clj", ".cljs"),
    "Dart": (".dart",),
    "Elixir": (".ex", ".exs"),
    "Go": (".go",),
    "HTML": (".html",),
    "Haskell": (".hs",),
    "Java": (".java",),
    "JavaScript": (".js", ".jsx", ".mjs", ".cjs"),
    "Kotlin": (".kt", ".kts"),
    "Lua": (".lua",),
    "PHP": (".php",),
    "Perl": (".pl", ".pm"),
    "Python": (".py", ".ipynb"),
    "R": (".r",),
    "Ruby": (".rb",),
    "Rust": (".rs",),
    "Scala": (".scala",),
    "Shell": (".sh", ".bash"),
    "Swift": (".swift",),
    "TypeScript": (".ts", ".tsx", ".mts", ".cts"),
    "Zig": (".zig",),
}


def detect(paths: Collection[str], contents: Mapping[str, str]) -> TechStack:
    """The tech stack of the tree whose files are `paths`, relative to the workspace's root.

    `contents` maps some of them, best those that `wanted` names, to their text; only its beginning is looked at.
    Neither is trusted, and what is malformed is only less to go by. The root's application wins; where the root has
    none, the likeliest folder's, two levels down at most.
    """
    known = frozenset(path for path in paths if not is_vendored(path))
    directories = candidate_directories(known)
    suffixes = _suffixes(known, directories)
    root = Project(directory="", paths=known, contents=contents, suffixes=suffixes[""])
    projects = [replace(root, directory=directory, suffixes=suffixes[directory]) for directory in directories]
    found = [(project.directory, finding) for project in projects if (finding := _best(project))]
    if not found:
        language = _main_language(suffixes[""])
        return TechStack(language=language, entry=_only_file(known, language))
    chosen = found[0][1]
    if found[0][0] or chosen.rank < Rank.SERVER:
        chosen = max(found, key=_merit)[1]
    return _completed(chosen, [finding for directory, finding in found if directory and not is_aside(f"{directory}/")])


def _merit(candidate: tuple[str, Finding]) -> tuple[bool, int, int, int]:
    directory, finding = candidate
    return (
        not is_aside(f"{directory}/"),
        finding.rank,
        -preference(directory) if directory else 1,
        -directory.count("/"),
    )


def _best(project: Project) -> Finding | None:
    """The strongest finding for one folder; between mere languages, the one with the most files."""
    found = [finding for detector in _DETECTORS if (finding := detector(project))]
    if not found:
        return None
    best = max(found, key=lambda each: (each.rank, _files(project, each) if each.rank == Rank.LANGUAGE else 0))
    manifest = next((each for each in found if each.rank == Rank.LANGUAGE), None)
    if best.rank == Rank.STATIC and manifest:
        # Pages beside a manifest belong to that project.
        stack = replace(best.stack, language=manifest.stack.language, package_manager=manifest.stack.package_manager)
        return replace(best, stack=stack)
    return best


def _files(project: Project, finding: Finding) -> int:
    return sum(project.suffixes.get(suffix, 0) for suffix in _LANGUAGES.get(finding.stack.language or "", ()))


def _completed(chosen: Finding, below: Sequence[Finding]) -> TechStack:
    """Where the root's command starts the packages below it, what they are is what the project is."""
    applications = [finding for finding in below if finding.rank == Rank.FRAMEWORK]
    if not chosen.delegates or chosen.stack.framework or not applications:
        return chosen.stack
    part = min(applications, key=lambda each: preference(each.stack.directory)).stack
    return replace(
        chosen.stack,
        language=part.language,
        framework=part.framework,
        entry=part.entry,
        dev_port=chosen.stack.dev_port or part.dev_port,
    )


def _suffixes(paths: Set[str], directories: Collection[str]) -> Mapping[str, Mapping[str, int]]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    wanted = frozenset(directories)
    for path in paths:
        name = path.rpartition("/")[2].lower()
        if name.endswith((".d.ts", ".config.ts", ".config.js", ".config.mjs", ".config.cjs")):
            continue
        suffix = name[name.rfind(".") :] if "." in name else ""
        for directory in _holders(path):
            if directory in wanted:
                counts[directory][suffix] += 1
    return counts


def _holders(path: str) -> Iterator[str]:
    """The root, and the folders of the first two levels that hold `path`."""
    yield ""
    at = path.find("/")
    for _ in range(2):
        if at < 0:
            return
        yield path[:at]
        at = path.find("/", at + 1)


def _main_language(suffixes: Mapping[str, int]) -> str | None:
    counts = {language: sum(suffixes.get(each, 0) for each in ends) for language, ends in _LANGUAGES.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] else None


def _only_file(paths: Set[str], language: str | None) -> str | None:
    """The program of a project that is one file."""
    ends = _LANGUAGES.get(language or "", ())
    files = [path for path in paths if ends and path.lower().endswith(ends)]
    mains = [path for path in files if path.rpartition("/")[2].rpartition(".")[0] in {"main", "index", "app"}]
    return files[0] if len(files) == 1 else min(mains, key=lambda path: (path.count("/"), path), default=None)
