"""Settings are read from the environment alone, checked whole, and every fault says how it is mended."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import ValidationError

import vaporform_mcp
from vaporform_mcp.sandboxes.local.config import LocalConfig
from vaporform_mcp.settings import InvalidSettings, Settings, host_environment, known_settings, load


def faults_of(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings) as refused:
        load()
    return refused.value.message.splitlines()


def test_nothing_has_to_be_set() -> None:
    settings = load()
    assert (settings.sandbox, settings.store, settings.workspace, settings.tools) == (
        "local",
        "sqlite",
        "default",
        "standard",
    )
    assert settings.local.network == "internet"
    assert settings.data_dir.is_absolute()


def test_the_local_defaults_are_those_of_the_provider() -> None:
    theirs = LocalConfig(data_dir=Path("/"))
    ours = load().local
    shared = {each.name for each in fields(LocalConfig)} - {"data_dir", "host_environment"}
    assert {name: getattr(ours, name) for name in shared} == {name: getattr(theirs, name) for name in shared}
    assert set(type(ours).model_fields) == shared


def test_values_come_from_variables_with_the_prefix_and_nested_ones_with_two_underscores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VAPORFORM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("VAPORFORM_TOOLS", "core")
    monkeypatch.setenv("VAPORFORM_WAIT_LIMIT_S", "12.5")
    monkeypatch.setenv("VAPORFORM_LOCAL__NETWORK", "none")
    monkeypatch.setenv("VAPORFORM_LOCAL__LINGER_S", "0")
    settings = load()
    assert (settings.data_dir, settings.tools, settings.wait_limit_s) == (tmp_path, "core", 12.5)
    assert (settings.local.network, settings.local.linger_s) == ("none", 0)


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAPORFORM_LOCAL__EGRESS_ALLOW", "packages.example.org, *.example.com,,")
    monkeypatch.setenv("VAPORFORM_LOCAL__EGRESS_PRIVATE", "10.1.0.0/16,db.internal:5432,[fd00::1]:443")
    settings = load()
    assert settings.local.egress_allow == ("packages.example.org", "*.example.com")
    assert settings.local.egress_private == ("10.1.0.0/16", "db.internal:5432", "[fd00::1]:443")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAPORFORM_SANDBOX", "")
    monkeypatch.setenv("VAPORFORM_LOCAL__NETWORK", "")
    assert load() == Settings()


def test_words_are_taken_in_either_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAPORFORM_STORE", "SQLite")
    monkeypatch.setenv("VAPORFORM_LOCAL__NETWORK", "None")
    assert (load().store, load().local.network) == ("sqlite", "none")


def test_the_home_folder_may_be_written_with_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VAPORFORM_DATA_DIR", "~/data")
    assert load().data_dir == tmp_path / "data"


def test_a_file_of_the_folder_where_it_is_started_sets_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("VAPORFORM_TOOLS=core\nVAPORFORM_NONSENSE=1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load().tools == "standard"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("VAPORFORM_SANBOX", "VAPORFORM_SANDBOX"),
        ("VAPORFORM_DATADIR", "VAPORFORM_DATA_DIR"),
        ("VAPORFORM_NETWORK", "VAPORFORM_LOCAL__NETWORK"),
        ("VAPORFORM_LOCAL__LINGER", "VAPORFORM_LOCAL__LINGER_S"),
        ("VAPORFORM_LOCAL_EGRESS_ALLOW", "VAPORFORM_LOCAL__EGRESS_ALLOW"),
        ("vaporform_tool", "VAPORFORM_TOOLS"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    (fault,) = faults_of(monkeypatch, **{name: "1"})
    assert fault.startswith(f"{name} ")
    assert f"the nearest is {nearest}:" in fault


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("VAPORFORM_SANDBOX", "docker", "'local' or 'daytona'"),
        ("VAPORFORM_SANDBOX", "daytona", "set VAPORFORM_DAYTONA__API_KEY (or DAYTONA_API_KEY)"),
        ("VAPORFORM_DAYTONA__API_URL", "app.daytona.io", "https://host/path"),
        ("VAPORFORM_DAYTONA__API_URL", "https://me:secret@host/", "without user or password"),
        ("VAPORFORM_DAYTONA__AUTO_STOP_MIN", "-1", "greater than or equal to 0"),
        ("VAPORFORM_STORE", "postgres", "'sqlite' or 'mongo'"),
        ("VAPORFORM_STORE", "mongo", "set VAPORFORM_MONGO__URI (or MONGODB_URI)"),
        ("VAPORFORM_MONGO__DATABASE", "my database", "without spaces"),
        ("VAPORFORM_MONGO", "{}", "VAPORFORM_MONGO__"),
        ("VAPORFORM_DATA_DIR", "data", "absolute path"),
        ("VAPORFORM_WORKSPACE", "My App", "lowercase letters"),
        ("VAPORFORM_TOOLS", "many", "'core', 'standard' or 'all'"),
        ("VAPORFORM_WAIT_LIMIT_S", "60", "less than or equal to 55"),
        ("VAPORFORM_WAIT_LIMIT_S", "nan", "equal to 55"),
        ("VAPORFORM_LOCAL__NETWORK", "internt", "'internet', 'none' or 'host'"),
        ("VAPORFORM_LOCAL__PROCESSES", "many", "valid integer"),
        ("VAPORFORM_LOCAL__MEMORY_MB", str(10**30), "less than or equal to"),
        ("VAPORFORM_LOCAL__EGRESS_ALLOW", "https://packages.example.org/simple", "without scheme"),
        ("VAPORFORM_LOCAL__EGRESS_PRIVATE", "http://10.0.0.1", "without scheme"),
        ("VAPORFORM_LOCAL", "{}", "VAPORFORM_LOCAL__"),
        ("VAPORFORM_LOCAL", "{", "VAPORFORM_LOCAL__"),
    ],
)
def test_a_fault_names_the_setting_and_its_mend(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, mend: str
) -> None:
    (fault,) = faults_of(monkeypatch, **{name: value})
    assert fault.startswith(f"{name} ")
    assert mend in fault


def test_every_fault_is_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = faults_of(
        monkeypatch,
        VAPORFORM_SANBOX="local",
        VAPORFORM_STORE="postgres",
        VAPORFORM_WAIT_LIMIT_S="0",
        VAPORFORM_LOCAL__NETWORK="lan",
    )
    assert [fault.split()[0] for fault in faults] == [
        "VAPORFORM_SANBOX",
        "VAPORFORM_STORE",
        "VAPORFORM_WAIT_LIMIT_S",
        "VAPORFORM_LOCAL__NETWORK",
    ]


def test_an_account_in_the_environment_selects_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAYTONA_API_KEY", "dtn_test")
    monkeypatch.setenv("MONGODB_URI", "mongodb://localhost")
    assert (load().sandbox, load().store) == ("local", "sqlite")


def test_the_daytona_account_is_named_by_its_own_variables_or_by_the_usual_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VAPORFORM_SANDBOX", "daytona")
    monkeypatch.setenv("DAYTONA_API_KEY", "dtn_usual")
    monkeypatch.setenv("DAYTONA_API_URL", "https://usual.example/api/")
    assert (load().daytona.api_key.get_secret_value(), load().daytona.api_url) == (
        "dtn_usual",
        "https://usual.example/api",
    )
    monkeypatch.setenv("VAPORFORM_DAYTONA__API_KEY", "dtn_own")
    monkeypatch.setenv("VAPORFORM_DAYTONA__API_URL", "http://127.0.0.1:3000/prefix/api")
    assert load().daytona.api_key.get_secret_value() == "dtn_own"
    assert load().daytona.api_url == "http://127.0.0.1:3000/prefix/api"
    assert "dtn" not in repr(load())


def test_an_image_and_a_snapshot_are_not_both_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAPORFORM_DAYTONA__IMAGE", "debian:12")
    (fault,) = faults_of(monkeypatch, VAPORFORM_DAYTONA__SNAPSHOT="warm")
    assert "set one of them" in fault


def test_the_mongo_server_is_named_by_its_own_variable_or_by_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAPORFORM_STORE", "mongo")
    monkeypatch.setenv("MONGODB_URI", "mongodb://usual/")
    assert load().mongo.uri.get_secret_value() == "mongodb://usual/"
    monkeypatch.setenv("VAPORFORM_MONGO__DATABASE", "mine")
    assert load().mongo.uri.get_secret_value() == "mongodb://usual/"
    monkeypatch.setenv("VAPORFORM_MONGO__URI", "mongodb+srv://ada:secret@cluster.example.net")
    mongo = load().mongo
    assert (mongo.uri.get_secret_value(), mongo.database) == ("mongodb+srv://ada:secret@cluster.example.net", "mine")
    assert "secret" not in repr(load())


def test_what_is_in_a_uri_is_not_told_by_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    (fault,) = faults_of(monkeypatch, VAPORFORM_MONGO__URI="http://ada:secret@host/")
    assert fault.startswith("VAPORFORM_MONGO__URI cannot be used: it should be mongodb://")
    assert "secret" not in fault


def test_settings_cannot_be_changed() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        settings.tools = "all"
    with pytest.raises(ValidationError):
        settings.local.network = "host"


def test_every_setting_says_what_it_is_for() -> None:
    assert [setting.name for setting in known_settings() if not setting.meaning] == []


def test_the_environment_handed_on_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    copy = host_environment()
    copy.clear()
    assert host_environment()["HTTPS_PROXY"] == "http://proxy:3128"


def test_only_the_settings_read_the_environment() -> None:
    source = Path(vaporform_mcp.__file__).parent
    reading = [
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if "inside" not in path.parts
        and ("os.environ" in (text := path.read_text(encoding="utf-8")) or "getenv" in text)
    ]
    # The SDK's adapter says there what the SDK would otherwise read from a `.env` in the working directory.
    assert sorted(reading) == ["sandboxes/daytona/connection.py", "settings/core.py", "settings/groups.py"]


def test_bad_settings_end_the_server_with_status_2_and_every_fault_on_stderr() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vaporform_mcp"],
        env={**host_environment(), "VAPORFORM_STORE": "postgres", "VAPORFORM_TOOL": "all"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "VAPORFORM_STORE" in done.stderr
    assert "VAPORFORM_TOOLS" in done.stderr
    assert "Traceback" not in done.stderr
