"""What a project is made with, told from its file names and the content of its manifests."""

from vaporform_mcp.techstack.detection import detect
from vaporform_mcp.techstack.selection import MANIFESTS, wanted
from vaporform_mcp.techstack.stack import TechStack

__all__ = ["MANIFESTS", "TechStack", "detect", "wanted"]
