"""The parts of the settings that go together, each with what its values may be."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import NoDecode

from vaporform_mcp.types import Network

__all__ = ["DaytonaSettings", "GitSettings", "LocalSettings", "MirrorSettings", "MongoSettings", "Word"]

_MONGO_URI = re.compile(r"mongodb(\+srv)?://[^/]")
_NOT_IN_A_DATABASE = re.compile(r'[\s/\\."$*<>:|?\0]')
_SPACE_OR_SLASH = re.compile(r"[\s/]")


def _split(value: object) -> object:
    return tuple(part for each in value.split(",") if (part := each.strip())) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


Word = BeforeValidator(_lower)
_Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class LocalSettings(BaseModel):
    """How sandboxes on this machine are made."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    network: Annotated[Network, Word] = Field(
        default="internet",
        description="What commands reach: internet (through a proxy that refuses private addresses), none, host",
    )
    isolation: Annotated[Literal["auto", "namespaces", "restricted"], Word] = Field(
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
    network: Annotated[Literal["internet", "none"], Word] = Field(
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
