"""What a person may set, read from the environment once and checked whole."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticUndefined
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from vaporform_mcp.errors import InvalidArgument, VaporformError
from vaporform_mcp.types import Network, parse_name

__all__ = [
    "DaytonaSettings",
    "InvalidSettings",
    "LocalSettings",
    "MongoSettings",
    "Setting",
    "Settings",
    "host_environment",
    "known_settings",
    "load",
]

PREFIX = "VAPORFORM_"
DELIMITER = "__"
_SECRETS = ("VAPORFORM_MONGO__URI", "VAPORFORM_DAYTONA__API_KEY", "VAPORFORM_GIT__CREDENTIALS")

_MONGO_URI = re.compile(r"mongodb(\+srv)?://[^/]")
_NOT_IN_A_DATABASE = re.compile(r'[\s/\\."$*<>:|?\0]')
_SPACE_OR_SLASH = re.compile(r"[\s/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One variable. `default` is empty where there is none to name."""

    name: str
    meaning: str
    default: str


class InvalidSettings(InvalidArgument):
    """The settings cannot be used. The message has one line for each fault: which setting, and how to mend it."""

    code = "invalid_settings"


def _split(value: object) -> object:
    return tuple(part for each in value.split(",") if (part := each.strip())) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


_Word = BeforeValidator(_lower)
_Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class LocalSettings(BaseModel):
    """How sandboxes on this machine are made."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    network: Annotated[Network, _Word] = Field(
        default="internet",
        description="What commands reach: internet (through a proxy that refuses private addresses), none, host",
    )
    isolation: Annotated[Literal["auto", "namespaces", "restricted"], _Word] = Field(
        default="auto",
        description="How commands are isolated: namespaces, restricted (less: see docs/security.md), auto (the second "
        "where this machine denies the first)",
    )
    linger_s: float = Field(
        default=600, ge=0, le=604_800, description="Seconds that a sandbox outlives the last server using it"
    )
    toolchains: _Listed = Field(
        default=(), description="Your own toolchains shown inside: auto, none, names, -name, +/folder; comma separated"
    )
    egress_allow: _Listed = Field(
        default=(), description="Only these domains are reached, comma separated; empty: all public ones"
    )
    egress_private: _Listed = Field(
        default=(), description="Private hosts, networks and ports that are reached too, comma separated"
    )
    processes: int = Field(
        default=2048, ge=16, le=1_048_576, description="Most processes, threads counted, at once in a sandbox"
    )
    memory_mb: int = Field(
        default=16_384,
        ge=64,
        le=1_048_576,
        description="Most memory of one process, MiB; with a delegated cgroup, of the whole sandbox",
    )
    file_mb: int = Field(default=8_192, ge=1, le=1_048_576, description="Largest file that a command can write, MiB")
    open_files: int = Field(default=16_384, ge=64, le=1_048_576, description="Most open files of one process")
    tmp_mb: int = Field(default=2_048, ge=1, le=1_048_576, description="Size of a sandbox's /tmp, MiB")

    @field_validator("egress_allow")
    @classmethod
    def _are_domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if _SPACE_OR_SLASH.search(each):
                raise ValueError(
                    f"{each!r} is not a domain: give names such as example.org or *.example.com, without scheme"
                )
        return value

    @field_validator("egress_private")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if "://" in each or " " in each:
                raise ValueError(
                    f"{each!r} is not a host: give 10.0.0.0/8, db.internal:5432 or their kind, without scheme"
                )
        return value


class DaytonaSettings(BaseModel):
    """How sandboxes of the Daytona service are made; what the settings allow is the most that a tool may ask for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    api_key: SecretStr = Field(
        default_factory=lambda: SecretStr(os.environ.get("DAYTONA_API_KEY", "").strip()),
        description="API key of the account; DAYTONA_API_KEY is read where it is not set",
    )
    api_url: str = Field(
        default_factory=lambda: os.environ.get("DAYTONA_API_URL", "").strip() or "https://app.daytona.io/api",
        validate_default=True,
        description="Address of the service; DAYTONA_API_URL is read where it is not set",
    )
    toolbox_hosts: _Listed = Field(
        default=(), description="Further hosts that the key goes to, such as *.example.org, where the service says so"
    )
    target: str = Field(default="", description="Region of new sandboxes, such as us or eu; empty: the account's")
    image: str = Field(default="", description="Image of new sandboxes, with its tag; Python is added where it lacks")
    snapshot: str = Field(default="", description="Snapshot of new sandboxes; without image too: the service's own")
    public: bool = Field(default=True, description="Whether previews may be, and are, open to anyone with the link")
    network: Annotated[Literal["internet", "none"], _Word] = Field(
        default="internet", description="What commands reach: internet or none"
    )
    network_allow: _Listed = Field(
        default=(), description="Only these domains, and up to 5 networks such as 10.0.0.0/8, are reached; empty: all"
    )
    cpu: int = Field(default=0, ge=0, le=64, description="CPUs of a sandbox made from an image; 0: the service's own")
    memory_gb: int = Field(default=0, ge=0, le=512, description="Its memory, GiB; 0: the service's own")
    disk_gb: int = Field(default=0, ge=0, le=2_048, description="Its disk, GiB; 0: the service's own")
    auto_stop_min: int = Field(
        default=15, ge=0, le=525_600, description="Minutes without use until a sandbox sleeps; 0: never"
    )
    auto_archive_min: int = Field(
        default=1_440, ge=0, le=525_600, description="Minutes asleep until it is archived; 0: as late as can be"
    )
    auto_delete_min: int = Field(
        default=43_200, ge=-1, le=525_600, description="Minutes asleep until it is deleted; -1: never"
    )
    ephemeral: bool = Field(default=False, description="Whether a sandbox is deleted as soon as it would sleep")
    ttl_min: int = Field(default=0, ge=0, le=525_600, description="Minutes until it is deleted in any case; 0: never")
    max_running: int = Field(default=10, ge=1, le=10_000, description="Most sandboxes of this store that run at once")
    max_sandboxes: int = Field(default=50, ge=1, le=100_000, description="Most sandboxes of this store at all")
    ready_s: float = Field(default=60, ge=1, le=3_600, description="Seconds that a sandbox may take until it runs")
    build_s: float = Field(
        default=900, ge=1, le=7_200, description="The same where its image is built or it comes out of the archive"
    )
    preview_s: int = Field(default=3_600, ge=60, le=86_400, description="Seconds that a link to a private port is good")

    @field_validator("api_url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        if not re.match(r"https?://[^/\s@]+(/\S*)?$", value):
            raise ValueError("it should be https://host/path, without user or password")
        return value.rstrip("/")

    @field_validator("snapshot")
    @classmethod
    def _is_not_with_an_image(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("image"):
            raise ValueError("VAPORFORM_DAYTONA__IMAGE is set too: set one of them")
        return value


class MirrorSettings(BaseModel):
    """What of a workspace is mirrored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    exclude: _Listed = Field(
        default=(),
        description="Further files that stay out, in gitignore syntax, comma separated; !name takes a default back",
    )
    file_mb: int = Field(
        default=1_024, ge=1, le=1_048_576, description="Largest file that is mirrored, MiB; larger ones are reported"
    )

    @field_validator("exclude")
    @classmethod
    def _are_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from vaporform_mcp.exclusions import faulty_lines

        for each in faulty_lines(value):
            raise ValueError(f"{each!r} is no pattern: give gitignore lines such as data/, *.bin or !build/")
        return value


class GitSettings(BaseModel):
    """What repositories are cloned with."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    credentials: SecretStr = Field(
        default=SecretStr(""),
        description="For private repositories: https://user:token@host, with a path where it is for less, comma "
        "separated; no sandbox keeps them",
    )

    @field_validator("credentials")
    @classmethod
    def _are_credentials(cls, value: SecretStr) -> SecretStr:
        from vaporform_mcp.credentials import parse_credential

        for at, each in enumerate(_each_secret(value), 1):
            try:
                parse_credential(each)
            except ValueError as error:
                raise ValueError(f"number {at} of it is no credential: {error}") from None
        return value

    def each(self) -> Sequence[str]:
        return _each_secret(self.credentials)


def _each_secret(value: SecretStr) -> Sequence[str]:
    return [part for each in value.get_secret_value().split(",") if (part := each.strip())]


class MongoSettings(BaseModel):
    """Where the database of the MongoDB store is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uri: SecretStr = Field(
        default_factory=lambda: SecretStr(os.environ.get("MONGODB_URI", "").strip()),
        description="URI of the MongoDB server, with user and password; MONGODB_URI is read where it is not set",
    )
    database: str = Field(default="vaporform", description="Name of the database, which is made where it is not there")

    @field_validator("uri")
    @classmethod
    def _is_a_uri(cls, value: SecretStr) -> SecretStr:
        if not _MONGO_URI.match(value.get_secret_value().strip()):
            raise ValueError("it should be mongodb://host/ or mongodb+srv://host/, with user:password@ where needed")
        return SecretStr(value.get_secret_value().strip())

    @field_validator("database")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not value or len(value.encode()) > 63 or _NOT_IN_A_DATABASE.search(value):
            raise ValueError('it should be at most 63 bytes, without spaces and / \\ . " $ * < > : | ?')
        return value


class Settings(BaseSettings):
    """Everything that can be set. Fields are named as the variables are, in lower case and without the prefix."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix=PREFIX, env_nested_delimiter=DELIMITER, env_ignore_empty=True
    )

    sandbox: Annotated[Literal["local", "daytona"], _Word] = Field(default="local", description="Where sandboxes run")
    store: Annotated[Literal["sqlite", "mongo"], _Word] = Field(default="sqlite", description="Where the mirror is")
    data_dir: Path = Field(
        default_factory=lambda: _user_data_dir(), description="Folder of the store's file and of local sandboxes"
    )
    workspace: str = Field(default="default", description="Workspace of a call that names none")
    tools: Annotated[Literal["core", "standard", "all"], _Word] = Field(
        default="standard", description="Which tools clients are offered"
    )
    wait_limit_s: float = Field(
        default=45, ge=1, le=55, description="Seconds after which a call answers while its work goes on"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _Word] = Field(
        default="warning", description="What is logged, to stderr"
    )
    mongo: MongoSettings = Field(default_factory=MongoSettings)
    mirror: MirrorSettings = MirrorSettings()
    git: GitSettings = GitSettings()
    local: LocalSettings = LocalSettings()
    daytona: DaytonaSettings = Field(default_factory=DaytonaSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment alone: a `.env` in the folder where a client starts us is the user's project's, not ours."""
        return init_settings, env_settings

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            expanded = value.expanduser()
        except RuntimeError:
            raise ValueError("that home folder is not known: give an absolute path") from None
        if not expanded.is_absolute():
            # Clients start servers in folders of their own choosing.
            raise ValueError("it should be an absolute path, or begin with ~/")
        return expanded

    @field_validator("workspace")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        try:
            return parse_name(value)
        except VaporformError as error:
            raise ValueError(f"it is not a workspace name. {error.hint}") from None


def load() -> Settings:
    """The settings of this process's environment.

    Raises:
        InvalidSettings: names that are not known, or values that cannot be used; all of them at once.
    """
    faults = list(_unknown_names(os.environ))
    try:
        settings = Settings()
    except ValidationError as error:
        faults.extend(
            _fault(each) for each in error.errors(include_url=False, include_context=False) if _is_setting(each)
        )
    except SettingsError as error:
        if not faults:  # what is known to be raised for is a group's own name, which is among the unknown ones
            faults.append(str(error))
    else:
        faults.extend(_lacking(settings))
        if not faults:
            return settings
    raise InvalidSettings("\n".join(faults), hint="Mend the environment that the server is started with.")


def known_settings() -> Sequence[Setting]:
    """Every setting, in the order of the classes above."""
    return tuple(_settings_of(Settings, PREFIX))


def host_environment() -> dict[str, str]:
    """A copy of this process's whole environment."""
    return dict(os.environ)


def _settings_of(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            yield from _settings_of(group, f"{prefix}{name.upper()}{DELIMITER}")
        else:
            default = "" if field.default is PydanticUndefined or field.default == () else str(field.default)
            yield Setting(name=prefix + name.upper(), meaning=field.description or "", default=default)


def _lacking(settings: Settings) -> Iterator[str]:
    if settings.store == "mongo" and not settings.mongo.uri.get_secret_value():
        yield (
            "VAPORFORM_STORE is 'mongo', and no server is named: set VAPORFORM_MONGO__URI (or MONGODB_URI) to "
            "mongodb://user:password@host/, or leave VAPORFORM_STORE out"
        )
    if settings.sandbox == "daytona" and not settings.daytona.api_key.get_secret_value():
        yield (
            "VAPORFORM_SANDBOX is 'daytona', and there is no API key: set VAPORFORM_DAYTONA__API_KEY (or "
            "DAYTONA_API_KEY) to one of https://app.daytona.io/dashboard/keys, or leave VAPORFORM_SANDBOX out"
        )


def _unknown_names(environment: Mapping[str, str]) -> Iterator[str]:
    """The library would pass them over in silence, and a typing error would go unnoticed."""
    known = [setting.name for setting in known_settings()]
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            nearest = max(known, key=lambda each: (each.startswith(name.upper()), _likeness(each, name.upper())))
            yield f"{name} is no setting; the nearest is {nearest}: rename it or remove it"


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _is_setting(details: ErrorDetails) -> bool:
    """Not so for a group's own name, which was named among the unknown ones."""
    return details["loc"] not in {("daytona",), ("local",), ("mirror",), ("mongo",)}


def _fault(details: ErrorDetails) -> str:
    name = PREFIX + DELIMITER.join(part.upper() for part in details["loc"] if isinstance(part, str))
    said = details["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    default = next((setting.default for setting in known_settings() if setting.name == name), "")
    # What was given is one, or has one in it.
    given = "cannot be used" if name in _SECRETS else f"is {str(details['input'])[:80]!r}"
    return f"{name} {given}: {said}" + (f" (default: {default})" if default else "")


def _user_data_dir() -> Path:
    # Here, since a server whose folder is set does not need it.
    from platformdirs import user_data_path

    return user_data_path("vaporform-mcp", appauthor=False)
