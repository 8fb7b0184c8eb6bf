"""What a person may set."""

from vaporform_mcp.settings.core import (
    InvalidSettings,
    Setting,
    Settings,
    host_environment,
    known_settings,
    load,
)
from vaporform_mcp.settings.groups import DaytonaSettings, LocalSettings, MongoSettings

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
