"""Which of a user's toolchains a sandbox shows, and where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.unpacked import link, program, seen, sources, unpacked_go, unpacked_node, unpacked_python
from vaporform_mcp.errors import InvalidArgument
from vaporform_mcp.sandboxes.local.toolchains import discover, shown_anyway


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_a_node_of_nvm_is_shown_by_its_own_tree(home: Path) -> None:
    node = program(home / ".nvm/versions/node/v22.1.0/bin/node").parents[1]
    program(home / ".nvm/versions/node/v18.0.0/bin/node")
    (found,) = seen(home, node / "bin", "/usr/bin")
    assert (found.name, found.bind.source) == ("nvm", str(node))
    assert found.path == f"{found.bind.target}/bin"


def test_a_node_of_fnm_is_found_behind_the_link_of_its_session(home: Path) -> None:
    node = program(home / ".local/share/fnm/node-versions/v22.1.0/installation/bin/node").parents[1]
    session = link(home / "run/fnm_multishells/1_2", node)
    assert sources(seen(home, session / "bin")) == [str(node)]


def test_a_python_of_pyenv_is_found_behind_its_shims(home: Path) -> None:
    python = program(home / ".pyenv/versions/3.12.4/bin/python3").parents[1]
    program(home / ".pyenv/versions/3.11.2/bin/python3")
    program(home / ".pyenv/shims/python3", "#!/bin/sh\n")
    (home / ".pyenv/version").write_text("3.12\n")
    assert sources(seen(home, home / ".pyenv/shims")) == [str(python)]
    older = seen(home, home / ".pyenv/shims", variables={"PYENV_VERSION": "3.11.2"})
    assert sources(older) == [str(home / ".pyenv/versions/3.11.2")]


def test_the_tools_of_asdf_are_those_that_the_home_chooses(home: Path) -> None:
    node = program(home / ".asdf/installs/nodejs/22.1.0/bin/node").parents[1]
    program(home / ".asdf/installs/ruby/3.3.0/bin/ruby")
    program(home / ".asdf/shims/node")
    (home / ".tool-versions").write_text("nodejs 22.1.0 # the long-term one\nruby system\n")
    assert sources(seen(home, home / ".asdf/shims")) == [str(node)]


def test_the_tools_of_mise_are_those_that_its_settings_choose(home: Path) -> None:
    node = program(home / ".local/share/mise/installs/node/22.1.0/bin/node").parents[1]
    go = program(home / ".local/share/mise/installs/go/1.23.1/bin/go").parents[1]
    program(home / ".local/share/mise/shims/node")
    settings = home / ".config/mise/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('[tools]\nnode = ["22", "20"]\ngo = { version = "1.23.1" }\n')
    assert sources(seen(home, home / ".local/share/mise/shims")) == [str(node), str(go)]


def test_the_node_of_volta_is_its_default(home: Path) -> None:
    node = program(home / ".volta/tools/image/node/20.11.1/bin/node").parents[1]
    program(home / ".volta/bin/node")
    platform = home / ".volta/tools/user/platform.json"
    platform.parent.mkdir(parents=True)
    platform.write_text(json.dumps({"node": {"runtime": "20.11.1", "npm": None}, "yarn": None}))
    assert sources(seen(home, home / ".volta/bin")) == [str(node)]


def test_rust_is_the_default_toolchain_without_the_folder_that_holds_credentials(home: Path) -> None:
    rust = program(home / ".rustup/toolchains/stable-x86_64/bin/cargo").parents[1]
    program(home / ".cargo/bin/cargo")
    program(home / ".cargo/bin/rustup")
    (home / ".cargo/credentials.toml").write_text("secret")
    (home / ".rustup/settings.toml").write_text('default_toolchain = "stable-x86_64"\n')
    (found,) = seen(home, home / ".cargo/bin")
    assert (found.name, found.bind.source) == ("rustup", str(rust))


def test_a_python_of_uv_is_found_behind_a_link_in_the_users_bin(home: Path) -> None:
    python = program(home / ".local/share/uv/python/cpython-3.13/bin/python3.13").parents[1]
    link(python / "bin/python3", "python3.13")
    link(home / ".local/bin/python3", python / "bin/python3.13")
    found = seen(home, home / ".local/bin")
    assert [(one.name, one.bind.source) for one in found] == [("uv", str(python))]


def test_programs_of_one_file_are_shown_alone(home: Path) -> None:
    uv = program(home / ".local/bin/uv")
    program(home / ".local/bin/my-secrets")
    (found,) = seen(home, home / ".local/bin")
    assert (found.bind.source, found.bind.target) == (str(uv), f"{found.path}/uv")


def test_a_tree_that_knows_its_own_path_is_shown_there(home: Path) -> None:
    python = program(home / ".pyenv/versions/3.12.4/bin/python3").parents[1]
    program(python / "bin/pip", f"#!{python}/bin/python3\n")
    (found,) = seen(home, python / "bin")
    assert found.bind.target == found.bind.source == str(python)


def test_any_other_tree_tells_nothing_of_the_home(home: Path) -> None:
    go = unpacked_go(home / "sdk/go1.23")
    (found,) = seen(home, go / "bin")
    assert str(home) not in found.bind.target


def test_the_order_is_that_of_the_path_and_each_tree_comes_once(home: Path) -> None:
    go, node = unpacked_go(home / "sdk/go1.23"), unpacked_node(home / "node")
    assert sources(seen(home, node / "bin", go / "bin", node / "bin")) == [str(node), str(go)]


def test_a_version_that_is_a_link_is_what_it_leads_to(home: Path) -> None:
    program(home / "work/bin/python3")
    program(home / ".pyenv/shims/python3", "#!/bin/sh\n")
    link(home / ".pyenv/versions/mine", home / "work")
    (home / ".pyenv/version").write_text("mine\n")
    assert seen(home, home / ".pyenv/shims") == seen(home, home / ".pyenv/versions/mine/bin") == []
    (home / ".pyenv/version").write_text("own\n")
    link(home / ".pyenv/versions/own", unpacked_python(home / "builds/python"))
    assert sources(seen(home, home / ".pyenv/shims")) == [str(home / "builds/python")]


def test_shims_outside_the_place_of_their_manager_lead_nowhere(home: Path) -> None:
    program(home / "work/versions/1/bin/python3")
    program(home / "work/shims/python3", "#!/bin/sh\n")
    (home / "work/version").write_text("1\n")
    assert seen(home, home / "work/shims") == []
    assert sources(seen(home, home / "work/shims", variables={"PYENV_ROOT": str(home / "work")})) == [
        str(home / "work/versions/1")
    ]


@pytest.mark.parametrize("manager", ["rbenv", "nodenv", "goenv"])
def test_managers_made_after_pyenv_are_understood_as_it_is(home: Path, manager: str) -> None:
    root = home / f".{manager}"
    tree = program(root / "versions/1.2.3/bin/it").parents[1]
    program(root / "versions/1.1.0/bin/it")
    program(root / "shims/it", "#!/bin/sh\n")
    (root / "version").write_text("1.2.3\n")
    assert [(one.name, one.bind.source) for one in seen(home, root / "shims")] == [(manager, str(tree))]
    older = seen(home, root / "shims", variables={f"{manager.upper()}_VERSION": "1.1.0"})
    assert sources(older) == [str(root / "versions/1.1.0")]


@pytest.mark.parametrize("folder", ["", ".local/", ".cargo/"])
def test_what_holds_more_than_a_toolchain_is_never_shown(home: Path, folder: str) -> None:
    program(home / f"{folder}bin/node")
    assert seen(home, home / f"{folder}bin") == []


def test_virtual_environments_are_not_shown(home: Path) -> None:
    program(home / "project/.venv/bin/python3")
    (home / "project/.venv/pyvenv.cfg").write_text("")
    assert seen(home, home / "project/.venv/bin") == []


def test_the_servers_own_data_is_not_shown(home: Path) -> None:
    program(home / "data/sandboxes/x-1/home/tool/bin/node")
    assert seen(home, home / "data/sandboxes/x-1/home/tool/bin") == []


def test_what_the_system_has_is_seen_anyway(home: Path) -> None:
    assert seen(home, "/usr/bin", "/bin", "/usr/local/bin", "relative", "") == []


class TestAdjustments:
    @pytest.fixture
    def path(self, home: Path) -> str:
        go = unpacked_go(home / ".local/go") / "bin"
        node = program(home / ".nvm/versions/node/v22/bin/node").parent
        return f"{go}:{node}"

    def test_auto_is_what_is_without(self, home: Path, path: str) -> None:
        assert seen(home, path, adjust=("auto",)) == seen(home, path) != []

    def test_none_is_nothing(self, home: Path, path: str) -> None:
        assert seen(home, path, adjust=("none",)) == []

    def test_one_can_be_left_out(self, home: Path, path: str) -> None:
        assert [one.name for one in seen(home, path, adjust=("-nvm",))] == ["go"]

    def test_only_those_named_are_kept(self, home: Path, path: str) -> None:
        assert [one.name for one in seen(home, path, adjust=("nvm",))] == ["nvm"]

    def test_a_folder_can_be_added(self, home: Path, path: str, tmp_path: Path) -> None:
        tool = program(tmp_path / "tools/zig/bin/zig").parents[1]
        assert sources(seen(home, path, adjust=("none", f"+{tool}"))) == [str(tool)]

    def test_what_is_named_is_shown_as_it_is_named(self, home: Path, path: str) -> None:
        program(home / "work/bin/terraform")
        (home / "work/notes").mkdir()
        assert sources(seen(home, path, adjust=("none", f"+{home}/work"))) == [str(home / "work")]

    def test_what_holds_the_servers_data_cannot_be_added(self, home: Path, path: str) -> None:
        program(home / "state/bin/node")
        with pytest.raises(InvalidArgument):
            discover({"HOME": str(home), "PATH": path}, (f"+{home}/state",), private=home / "state/data")

    @pytest.mark.parametrize("word", ["+relative", "+/no/such/folder", "a b", "-", "../x"])
    def test_what_has_no_meaning_is_refused(self, home: Path, path: str, word: str) -> None:
        with pytest.raises(InvalidArgument):
            seen(home, path, adjust=(word,))

    def test_a_home_cannot_be_added(self, home: Path, path: str) -> None:
        for folder in (home, home.parent, Path("/")):
            with pytest.raises(InvalidArgument):
                seen(home, path, adjust=(f"+{folder}",))


def test_settings_of_managers_that_make_no_sense_are_passed_over(home: Path) -> None:
    program(home / ".volta/bin/node")
    (home / ".volta/tools/image/node").mkdir(parents=True)
    (home / ".volta/tools/user").mkdir()
    (home / ".volta/tools/user/platform.json").write_text("[1")
    program(home / ".cargo/bin/rustup")
    (home / ".rustup").mkdir()
    (home / ".rustup/settings.toml").write_text("= =")
    (home / ".pyenv/versions").mkdir(parents=True)
    (home / ".pyenv/shims").mkdir()
    (home / ".pyenv/version").write_text("../../..\n")
    assert seen(home, home / ".volta/bin", home / ".cargo/bin", home / ".pyenv/shims") == []


def test_folders_of_the_path_that_every_sandbox_sees_stay_on_it(tmp_path: Path) -> None:
    link(tmp_path / "to-usr", "/usr/bin")
    assert shown_anyway(f"/usr/local/go/bin:{tmp_path}:{tmp_path}/to-usr:relative::/usr/local/go/bin") == [
        "/usr/local/go/bin",
        "/usr/bin",
    ]
