"""Sandboxes of the Daytona service."""
