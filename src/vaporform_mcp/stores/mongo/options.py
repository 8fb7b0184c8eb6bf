"""The options of a URI, which the driver passes over in silence where it cannot use them."""

from __future__ import annotations

import re
import warnings

from pymongo.errors import PyMongoError
from pymongo.uri_parser import split_options

from vaporform_mcp.errors import InvalidArgument

__all__ = ["check_options"]


def check_options(uri: str) -> None:
    """Raises `InvalidArgument`, which names the options that would not be heeded, but no value: it may be a secret."""
    query = uri.partition("?")[2]
    given = [name for part in re.split("[&;]", query) if (name := part.partition("=")[0])]
    if not given:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they tell less, and go to stderr
            heeded = {name.lower() for name in split_options(query, warn=True, normalize=False)}
    except (PyMongoError, OSError, ValueError):
        return  # who connects is told by the driver that it cannot be used at all
    if ignored := [name for name in given if name.lower() not in heeded]:
        raise InvalidArgument(
            f"VAPORFORM_MONGO__URI (or MONGODB_URI) has options that are unknown or have values that they cannot have: "
            f"{', '.join(dict.fromkeys(ignored))}",
            hint="Mend their names or values, or leave them out.",
        )
