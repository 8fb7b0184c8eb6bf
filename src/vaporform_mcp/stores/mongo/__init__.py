"""The store in a MongoDB database, its blobs in GridFS."""

from vaporform_mcp.stores.mongo.store import MongoStore, open_mongo

__all__ = ["MongoStore", "open_mongo"]
