"""The main job as a scripted client does it with the real server, told step by step."""

from vaporform_mcp.demo.run import Outcome, run_demo
from vaporform_mcp.demo.source import Folder, Repository, parse_source
from vaporform_mcp.demo.telling import Differs, Step, Teller

__all__ = ["Differs", "Folder", "Outcome", "Repository", "Step", "Teller", "parse_source", "run_demo"]
