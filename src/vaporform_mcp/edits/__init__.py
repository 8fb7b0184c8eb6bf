"""Edits of a text by SEARCH/REPLACE blocks, and the diff that shows them."""

from vaporform_mcp.edits.application import Edited, apply
from vaporform_mcp.edits.blocks import Block, parse
from vaporform_mcp.edits.unified import hunks, unified

__all__ = ["Block", "Edited", "apply", "hunks", "parse", "unified"]
