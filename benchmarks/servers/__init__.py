"""Servers that exist to be measured against."""
