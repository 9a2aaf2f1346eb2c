"""Parts of documents that somebody else wrote, which may be anything."""

from collections.abc import Mapping
from typing import Any, cast


def as_mapping(value: object) -> Mapping[str, Any]:
    """What of the value is a mapping with keys that are texts: nothing where it is no mapping."""
    if not isinstance(value, Mapping):
        return {}
    return {key: it for key, it in cast("Mapping[object, Any]", value).items() if isinstance(key, str)}
