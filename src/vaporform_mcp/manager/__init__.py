"""The workspaces of one server: opened once however many ask, listed, put into the trash and taken out again."""

from vaporform_mcp.manager.core import Manager, open_manager
from vaporform_mcp.manager.requests import OpenRequest

__all__ = ["Manager", "OpenRequest", "open_manager"]
