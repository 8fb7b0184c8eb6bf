"""The store in one SQLite file."""

from vaporform_mcp.stores.sqlite.bundle import new_bundle, open_bundle
from vaporform_mcp.stores.sqlite.store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "new_bundle", "open_bundle", "open_sqlite"]
