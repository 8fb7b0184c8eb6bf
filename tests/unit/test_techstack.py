"""Which folder of a tree is its application, and what untrusted content can do to detection: nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaporform_mcp.techstack import MANIFESTS, TechStack, detect, wanted

VENV = 'PATH="$PWD/.venv/bin:$PWD/venv/bin:$PATH" python3'
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
GIN = "module shop\n\nrequire github.com/gin-gonic/gin v1.10.0\n"
PYPROJECT = '[project]\nname = "shop"\ndependencies = ["click"]\n'


def stack_of(files: Mapping[str, str]) -> TechStack:
    """As the server does it: read what is wanted of the tree, and nothing else."""
    return detect(list(files), {path: files[path] for path in wanted(files)})


def package(*packages: str, dev: str = "", **fields: object) -> str:
    """A package.json with these dependencies, a dev script, and other fields by name."""
    scripts = {"scripts": {"dev": dev}} if dev else {}
    return json.dumps({"dependencies": dict.fromkeys(packages, "^1.0.0"), **scripts, **fields})


VITE = package("react", "vite", dev="vite")

# Folders --------------------------------------------------------------------------------------------------------


def test_a_frontend_in_a_folder_is_found_where_the_root_has_no_application() -> None:
    stack = stack_of({"README.md": "", "frontend/package.json": VITE, "frontend/src/main.jsx": ""})
    assert stack == TechStack(
        language="JavaScript",
        framework="Vite + React",
        package_manager="npm",
        entry="frontend/src/main.jsx",
        dev_command="npm run dev",
        dev_port=5173,
        directory="frontend",
    )


def test_what_is_seen_comes_before_what_stands_behind_it() -> None:
    stack = stack_of({"client/package.json": VITE, "backend/requirements.txt": "fastapi", "backend/main.py": FASTAPI})
    assert (stack.directory, stack.framework) == ("client", "Vite + React")


def test_a_backend_alone_is_found_in_its_folder() -> None:
    files = {"backend/requirements.txt": "fastapi", "backend/app/__init__.py": "", "backend/app/main.py": FASTAPI}
    stack = stack_of(files)
    assert stack.directory == "backend"
    assert stack.entry == "backend/app/main.py"
    assert stack.dev_command == f"{VENV} -m uvicorn app.main:app"


def test_the_application_at_the_root_wins_over_one_in_a_folder() -> None:
    stack = stack_of({"requirements.txt": "fastapi", "main.py": FASTAPI, "frontend/package.json": VITE})
    assert (stack.directory, stack.framework) == ("", "FastAPI")


def test_a_program_in_a_folder_of_a_project_runs_from_the_project() -> None:
    stack = stack_of({"requirements.txt": "fastapi", "backend/__init__.py": "", "backend/main.py": FASTAPI})
    assert (stack.directory, stack.dev_command) == ("", f"{VENV} -m uvicorn backend.main:app")


def test_a_django_project_in_a_folder_is_run_in_it() -> None:
    stack = stack_of({"requirements.txt": "django", "shop/manage.py": "django", "shop/shop/settings.py": ""})
    assert (stack.directory, stack.entry, stack.package_manager) == ("shop", "shop/manage.py", "pip")


def test_a_page_at_the_root_does_not_hide_an_application() -> None:
    files = {"index.html": "", "server/package.json": package("express"), "server/index.js": "app.listen(1234)"}
    stack = stack_of(files)
    assert (stack.directory, stack.dev_port) == ("server", 1234)


def test_pages_in_a_public_folder_are_served_from_it() -> None:
    stack = stack_of({"README.md": "", "public/index.html": ""})
    assert (stack.directory, stack.dev_command) == ("public", "python3 -m http.server 8000")


def test_a_workspace_is_started_from_its_root_and_described_by_its_application() -> None:
    stack = stack_of(
        {
            "package.json": package("turbo", dev="turbo run dev", workspaces=["apps/*"]),
            "pnpm-lock.yaml": "",
            "apps/docs/package.json": package("next", dev="next dev -p 3011"),
            "apps/web/package.json": package("next", dev="next dev -p 3010"),
            "apps/web/app/page.tsx": "",
            "packages/ui/package.json": package("react"),
        }
    )
    assert stack == TechStack(
        language="TypeScript",
        framework="Next.js",
        package_manager="pnpm",
        entry="apps/web/app/page.tsx",
        dev_command="pnpm dev",
        dev_port=3010,
        directory="",
    )


def test_a_command_that_only_enters_a_folder_is_described_by_what_is_there() -> None:
    files = {"package.json": package(dev="cd frontend && npm run dev"), "frontend/package.json": VITE}
    stack = stack_of(files)
    assert (stack.directory, stack.framework, stack.dev_port) == ("", "Vite + React", 5173)


def test_a_workspace_without_a_command_is_started_in_its_application() -> None:
    stack = stack_of(
        {
            "package.json": package(scripts={"build": "pnpm -r build"}),
            "pnpm-workspace.yaml": "",
            "packages/core/package.json": package(),
            "packages/web/package.json": VITE,
        }
    )
    assert (stack.directory, stack.package_manager, stack.dev_command) == ("packages/web", "pnpm", "pnpm dev")


def test_examples_and_documents_are_not_the_application() -> None:
    library = {"pyproject.toml": PYPROJECT, "shop/__init__.py": ""}
    aside = {"docs/package.json": VITE, "examples/web/package.json": VITE, "tests/fixtures/package.json": VITE}
    stack = stack_of({**library, **aside})
    assert (stack.language, stack.entry, stack.dev_command) == ("Python", "shop", None)


def test_an_example_is_better_than_nothing() -> None:
    assert stack_of({"examples/web/package.json": VITE}).directory == "examples/web"


def test_packages_of_others_are_not_looked_at() -> None:
    files = {"node_modules/next/package.json": VITE, "vendor/x/go.mod": GIN, ".venv/lib/app.py": FASTAPI, "x.sh": ""}
    assert wanted(files) == []
    assert stack_of(files).language == "Shell"


def test_the_language_of_a_mixed_project_is_that_of_most_files() -> None:
    files = {"package.json": package("prettier"), "pyproject.toml": PYPROJECT, "a.py": "", "b.py": ""}
    assert stack_of(files).language == "Python"


# Bounds and trust -----------------------------------------------------------------------------------------------


def test_what_is_wanted_is_bounded_and_the_root_comes_first() -> None:
    paths = [f"packages/p{number}/package.json" for number in range(500)]
    paths += [f"packages/p{number}/index.ts" for number in range(500)]
    paths += ["package.json", "server.js", "a/b/c/package.json", "apps/web/package.json"]
    names = wanted(paths)
    assert len(names) == 40
    assert names[:2] == ["package.json", "server.js"]
    assert "apps/web/package.json" in names
    assert "a/b/c/package.json" not in names
    assert any(name.endswith("index.ts") for name in names)


HOSTILE = {
    "nothing": "",
    "cut off": "{",
    "a list": "[]",
    "null": "null",
    "a string": '"text"',
    "binary": "\0\ufffd",
    "deep tables": '{"a":' * 50_000,
    "deep lists": "[" * 100_000,
    "scripts that are a list": '{"scripts": []}',
    "wrong types": '{"scripts": {"dev": 5}, "dependencies": ["express"], "main": {}, "packageManager": 3}',
    "scripts that run each other": '{"scripts": {"dev": "npm run start", "start": "npm run dev"}}',
    "open strings": '"\\"' * 60_000,
    "open comments": "/*" * 90_000,
    "a long number": '{"a": ' + "9" * 5_000 + "}",
    "wrong tables": "[project]\nname = 5\ndependencies = {}\n[tool]\npoetry = 1\n",
    "a key of many parts": "[tool." + "a." * 60_000 + "a]\n" + "a." * 30_000 + "a = 1\n",
    "one word": "a" * 300_000,
    "open blocks": "server: {" * 20_000,
    "many ports": "PORT " * 30_000,
    "many calls": "app.listen(" * 20_000,
    "many imports": "from a import\n" * 20_000,
    "no end of a name": "port" * 45_000,
    "spaces": "port" + " " * 190_000,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.timeout(60)
def test_a_malformed_manifest_is_only_less_to_go_by(content: str) -> None:
    alone = [{name: content, "x.py": ""} for name in MANIFESTS] if len(content) < 1_000 else []
    for files in (dict.fromkeys(MANIFESTS, content), *alone):
        assert stack_of(files).language


def test_a_manifest_counts_though_its_content_is_not_at_hand() -> None:
    assert detect(["package.json", "src/index.ts"], {}).language == "TypeScript"
    assert detect(["go.mod", "main.go"], {}).language == "Go"
    assert detect(["manage.py"], {}).framework == "Django"


def test_content_without_its_path_is_not_looked_at() -> None:
    assert detect(["README.md"], {"package.json": VITE}) == TechStack()


@pytest.mark.parametrize("folder", ["$(touch x)", "a b", "-rf", "a;b", "`x`", "'q'"])
def test_a_strange_name_stays_one_word_of_the_command(folder: str) -> None:
    go = stack_of({"go.mod": GIN, f"cmd/{folder}/main.go": ""})
    assert shlex.split(go.dev_command or "") == ["go", "run", f"./cmd/{folder}"]
    node = stack_of({"package.json": package("express", main=f"{folder}/x.js"), f"{folder}/x.js": ""})
    assert shlex.split(node.dev_command or "") in (["node", f"{folder}/x.js"], ["node", f"./{folder}/x.js"])
    python = stack_of({"requirements.txt": "streamlit", f"{folder}/app.py": "import streamlit"})
    assert folder.startswith("-") or f"{folder}/app.py" in shlex.split(python.dev_command or "")


@pytest.mark.parametrize("number", ["0", "00", "70000", "99999"])
def test_a_port_that_cannot_be_is_ignored(number: str) -> None:
    assert stack_of({"package.json": package("next", dev=f"next dev -p {number}")}).dev_port == 3000


names = st.sampled_from([*sorted(MANIFESTS)[:20], "index.html", "src", "cmd", "frontend", "-x", "a b", "docs"])
texts = st.one_of(
    st.text(max_size=30),
    st.recursive(
        st.none() | st.integers() | st.sampled_from(["vite", "next", "dev", "npm run dev", "node x.js"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["scripts", "dependencies", "dev", "start", "main", "next"]), inner)
        ),
        max_leaves=8,
    ).map(json.dumps),
)


@given(st.dictionaries(st.lists(names, min_size=1, max_size=3).map("/".join), texts, max_size=6))
def test_any_tree_gives_a_stack(files: dict[str, str]) -> None:
    stack = stack_of(files)
    assert stack.entry is None or stack.entry in files or any(path.startswith(f"{stack.entry}/") for path in files)
    assert stack.dev_port is None or stack.dev_command
    assert not stack.directory or any(path.startswith(f"{stack.directory}/") for path in files)


def test_a_tree_of_many_files_is_looked_through() -> None:
    paths = [f"src/d{number % 300}/f{number}.ts" for number in range(50_000)]
    paths += [f"packages/p{number}/package.json" for number in range(200)]
    stack = detect(paths, dict.fromkeys(wanted(paths), VITE))
    assert stack.framework == "Vite + React"
