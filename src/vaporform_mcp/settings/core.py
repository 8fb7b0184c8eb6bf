"""What a person may set, read from the environment once and checked whole."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticUndefined
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from vaporform_mcp.errors import InvalidArgument, VaporformError
from vaporform_mcp.settings.groups import (
    DaytonaSettings,
    GitSettings,
    LocalSettings,
    MirrorSettings,
    MongoSettings,
    Word,
)
from vaporform_mcp.types import parse_name

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One variable. `default` is empty where there is none to name."""

    name: str
    meaning: str
    default: str


class InvalidSettings(InvalidArgument):
    """The settings cannot be used. The message has one line for each fault: which setting, and how to mend it."""

    code = "invalid_settings"


class Settings(BaseSettings):
    """Everything that can be set. Fields are named as the variables are, in lower case and without the prefix."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix=PREFIX, env_nested_delimiter=DELIMITER, env_ignore_empty=True
    )

    sandbox: Annotated[Literal["local", "daytona"], Word] = Field(default="local", description="Where sandboxes run")
    store: Annotated[Literal["sqlite", "mongo"], Word] = Field(default="sqlite", description="Where the mirror is")
    data_dir: Path = Field(
        default_factory=lambda: _user_data_dir(), description="Folder of the store's file and of local sandboxes"
    )
    workspace: str = Field(default="default", description="Workspace of a call that names none")
    tools: Annotated[Literal["core", "standard", "all"], Word] = Field(
        default="standard", description="Which tools clients are offered"
    )
    wait_limit_s: float = Field(
        default=45, ge=1, le=55, description="Seconds after which a call answers while its work goes on"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Word] = Field(
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
    groups = dict(_groups(model))
    for name, field in model.model_fields.items():
        if name in groups:
            yield from _settings_of(groups[name], f"{prefix}{name.upper()}{DELIMITER}")
        else:
            default = "" if field.default is PydanticUndefined or field.default == () else str(field.default)
            yield Setting(name=prefix + name.upper(), meaning=field.description or "", default=default)


def _groups(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield name, field.annotation


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
    return details["loc"] not in {(name,) for name, _ in _groups(Settings)}


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
