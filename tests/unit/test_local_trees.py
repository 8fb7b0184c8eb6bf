"""Which folders are known as toolchains, and that none is shown for what is in it alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.unpacked import UNPACKED, conda_environment, link, program, seen, sources, unpacked_go, unpacked_node


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("name", "unpack"), UNPACKED.items())
def test_a_toolchain_unpacked_by_hand_is_known_by_its_layout(
    home: Path, tmp_path: Path, name: str, unpack: Callable[[Path], Path]
) -> None:
    for tree in (unpack(home / "tools/it"), unpack(tmp_path / "mnt/it")):
        assert [(one.name, one.bind.source) for one in seen(home, tree / "bin")] == [(name, str(tree))]


@pytest.mark.parametrize("unpack", UNPACKED.values(), ids=UNPACKED)
def test_a_toolchain_is_not_shown_with_what_else_lies_in_its_folder(home: Path, unpack: Callable[[Path], Path]) -> None:
    beside_folder, beside_file = unpack(home / "work"), unpack(home / "more")
    (beside_folder / "secret-project").mkdir()
    (beside_file / "notes.txt").write_text("")
    assert seen(home, beside_folder / "bin", beside_file / "bin") == []


@pytest.mark.parametrize("file", ["bin/node", "bin/npm", "lib/node_modules/npm/bin/npm-cli.js"])
def test_a_toolchain_is_found_behind_a_link_to_any_of_its_programs(home: Path, file: str) -> None:
    tree = unpacked_node(home / "apps/node-v22")
    link(home / "bin/npm", tree / file)
    assert sources(seen(home, home / "bin")) == [str(tree)]


@pytest.mark.parametrize("name", ["terraform", "protoc", "gcc", "node", "python", "python3", "go", "java", "cargo"])
@pytest.mark.parametrize(
    "folder", ["work/bin", "go/bin", "Documents/tools/bin", "bin", "../mnt/data/bin", ".local/bin"]
)
def test_a_folder_is_not_shown_because_it_holds_a_program_of_a_known_name(home: Path, name: str, folder: str) -> None:
    file = program(home / folder / name)
    (file.parents[1] / "private").mkdir()
    (file.parents[1] / "src").mkdir()
    assert [one for one in sources(seen(home, file.parent)) if one != str(file.resolve())] == []


def test_a_link_to_a_program_does_not_show_the_folder_that_it_lies_in(home: Path) -> None:
    link(home / "bin/node", program(home / "Documents/private/bin/node"))
    program(home / "proj/scripts/python")
    (home / "proj/bin").mkdir()
    assert seen(home, home / "bin", home / "proj/scripts") == []


@pytest.mark.parametrize(
    "tree",
    [
        ".sdkman/candidates/java/21.0.2-tem",
        ".goenv/versions/1.22.0",
        ".config/nvm/versions/node/v22.0.0",
        ".rye/py/cpython@3.12.1",
        ".jdks/openjdk-21",
        ".local/share/pnpm/nodejs/22.0.0",
    ],
)
def test_the_places_of_managers_are_known(home: Path, tree: str) -> None:
    program(home / tree / "bin/it")
    assert sources(seen(home, home / tree / "bin")) == [str(home / tree)]
    assert seen(home, program((home / tree).parent / "bin/it").parent) == []


def test_a_manager_that_is_somewhere_else_is_found_by_its_variable(home: Path, tmp_path: Path) -> None:
    tree = program(tmp_path / "big-disk/nvm/versions/node/v22/bin/node").parents[1]
    assert seen(home, tree / "bin") == []
    assert sources(seen(home, tree / "bin", variables={"NVM_DIR": str(tmp_path / "big-disk/nvm")})) == [str(tree)]
    mise = program(tmp_path / "xdg/mise/installs/node/22/bin/node").parents[1]
    assert sources(seen(home, mise / "bin", variables={"XDG_DATA_HOME": str(tmp_path / "xdg")})) == [str(mise)]


def test_the_folder_of_a_persons_own_go_programs_is_not_shown_as_a_go(home: Path) -> None:
    usual, other, downloads = (unpacked_go(home / name) for name in ("go", "code", "both"))
    for tree in (usual, other):
        (tree / "src/private").mkdir()
    (downloads / "pkg/mod").mkdir()
    assert seen(home, usual / "bin", downloads / "bin") == []
    assert seen(home, other / "bin", variables={"GOPATH": f"{home}/x:{other}"}) == []


@pytest.mark.parametrize("secret", ["etc/npmrc", "credentials.toml", ".env", ".git/config", "pip.conf"])
def test_a_tree_with_a_password_or_a_project_in_it_is_not_shown(home: Path, secret: str) -> None:
    node = program(home / ".nvm/versions/node/v22/bin/node").parents[1]
    (node / secret).parent.mkdir(exist_ok=True)
    (node / secret).write_text("secret")
    assert seen(home, node / "bin") == []


@pytest.mark.parametrize("name", ["node", "python3", "go", "java"])
def test_a_toolchain_unpacked_by_hand_has_nothing_but_programs_among_its_programs(home: Path, name: str) -> None:
    trees = [UNPACKED[name](home / place) for place in ("hidden", "plain", "deep", "clean")]
    program(trees[0] / "bin/.env")
    (trees[1] / "bin/passwords.txt").write_text("")
    (trees[2] / "bin/project").mkdir()
    assert sources(seen(home, *(tree / "bin" for tree in trees))) == [str(trees[3])]


def test_a_conda_is_not_shown_with_the_variables_of_one_of_its_environments(home: Path) -> None:
    base = conda_environment(home / "miniforge3")
    inner = conda_environment(base / "envs/app")
    assert sources(seen(home, inner / "bin", base / "bin")) == [str(inner), str(base)]
    (inner / "conda-meta/state").write_text('{"env_vars": {"KEY": "secret"}}')
    assert seen(home, inner / "bin", base / "bin") == []


def test_scripts_are_not_shown_as_programs_of_one_file(home: Path) -> None:
    program(home / "bin/task", "#!/bin/sh\nTOKEN=secret\n")
    program(home / "bin/gh", "#!/bin/sh\n")
    rg = program(home / "bin/rg")
    link(home / "bin/jq", program(home / "Documents/private/jq"))
    assert sources(seen(home, home / "bin")) == [str(rg), str(home / "Documents/private/jq")]
