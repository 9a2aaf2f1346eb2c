"""Where a configuration that somebody else wrote delivers to."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import yaml

# They show or drop what they get.
_NOWHERE = {"debug", "logging", "nop"}


def find_deliveries(yaml_text: str) -> tuple[str, ...]:
    """The exporters of its pipelines that deliver somewhere, sorted; none where it cannot be read."""
    try:
        # Every scalar is a text to it, so that none in somebody else's part can be no date or no number.
        document: object = yaml.load(yaml_text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return ()
    exporters = set(_mapping(_mapping(document).get("exporters")))
    pipelines = _mapping(_mapping(_mapping(document).get("service")).get("pipelines"))
    # What is no exporter of its own is a connector, from which another pipeline goes on.
    used = {id_ for pipeline in pipelines.values() for id_ in _texts(_mapping(pipeline).get("exporters"))}
    return tuple(sorted(id_ for id_ in used & exporters if id_.partition("/")[0] not in _NOWHERE))


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    return {key: it for key, it in cast("Mapping[object, Any]", value).items() if isinstance(key, str)}


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(it for it in cast("Sequence[object]", value) if isinstance(it, str))
