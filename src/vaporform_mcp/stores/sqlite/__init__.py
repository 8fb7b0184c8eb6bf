"""The store in one SQLite file."""

from vaporform_mcp.stores.sqlite.store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]
