"""Examining a machine: whether an agent can work here, and how to mend what keeps it from that."""

from vaporform_mcp.doctor.examination import examine
from vaporform_mcp.doctor.report import Check, Report, State

__all__ = ["Check", "Report", "State", "examine"]
