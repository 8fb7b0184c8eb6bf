"""The store in a MongoDB database, its blobs in GridFS."""

from vaporform_mcp.stores.mongo.options import check_options
from vaporform_mcp.stores.mongo.store import MongoStore, open_mongo

__all__ = ["MongoStore", "check_options", "open_mongo"]
