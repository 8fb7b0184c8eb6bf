"""What requests to the control plane carry, as far as the SDK sends it."""

from __future__ import annotations

from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from tests.emulators.daytona.machine.wire import Refusal

__all__ = ["BuildInfo", "CreateSandbox", "CreateSnapshot", "Labels", "Named", "Network", "Resize", "read_body"]


class Body(BaseModel):
    # Like the service, which knows more fields than are used here, it takes what it does not know.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class BuildInfo(Body):
    dockerfile_content: str


class CreateSandbox(Body):
    name: str | None = Field(default=None, min_length=1)
    snapshot: str | None = None
    user: str | None = None
    env: dict[str, str] = {}
    labels: dict[str, str] = {}
    public: bool = False
    target: str | None = None
    cpu: int | None = Field(default=None, ge=1)
    gpu: int | None = Field(default=None, ge=0)
    memory: int | None = Field(default=None, ge=1)
    disk: int | None = Field(default=None, ge=1)
    auto_stop_interval: int | None = Field(default=None, ge=0)
    auto_pause_interval: int | None = Field(default=None, ge=0)
    auto_archive_interval: int | None = Field(default=None, ge=0)
    auto_delete_interval: int | None = Field(default=None, ge=-1)
    ttl_minutes: int | None = Field(default=None, ge=0)
    network_block_all: bool = False
    network_allow_list: str | None = None
    domain_allow_list: str | None = None
    build_info: BuildInfo | None = None

    @property
    def names_resources(self) -> bool:
        return any(each is not None for each in (self.cpu, self.gpu, self.memory, self.disk))


class CreateSnapshot(Body):
    name: str = Field(min_length=1)
    image_name: str | None = None
    build_info: BuildInfo | None = None
    cpu: int | None = Field(default=None, ge=1)
    memory: int | None = Field(default=None, ge=1)
    disk: int | None = Field(default=None, ge=1)


class Named(Body):
    name: str | None = Field(default=None, min_length=1)


class Labels(Body):
    labels: dict[str, str]


class Network(Body):
    network_block_all: bool | None = None
    network_allow_list: str | None = None
    domain_allow_list: str | None = None


class Resize(Body):
    cpu: int | None = Field(default=None, ge=1)
    memory: int | None = Field(default=None, ge=1)
    disk: int | None = Field(default=None, ge=1)


T = TypeVar("T", bound=BaseModel)


async def read_body(request: web.Request, shape: type[T]) -> T:
    """Raises `Refusal` with 400 where the body is none of this shape."""
    try:
        return shape.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refusal(400, f"{place}: {first['msg']}") from error
