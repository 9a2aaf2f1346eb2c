"""Where a configuration that somebody else wrote delivers to."""

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import yaml

from kagenti_operator.mappings import as_mapping

# Reading is slow, and a ConfigMap of this size is written by no person.
MAX_CHARACTERS = 256 * 2**10
UNREAD = f"exporters that are not known, as it is larger than {MAX_CHARACTERS // 2**10} KiB and not read"

# They show or drop what they get.
_NOWHERE = {"debug", "logging", "nop"}


# Asked at every reconciliation of the one configuration that is there.
@lru_cache(maxsize=1)
def find_deliveries(yaml_text: str) -> tuple[str, ...]:
    """The exporters of its pipelines that deliver somewhere, sorted; none where it cannot be read.

    What is too large to read is taken for one that delivers: it says UNREAD in their place.
    """
    if len(yaml_text) > MAX_CHARACTERS:
        return (UNREAD,)
    try:
        # Every scalar is a text to it, so that none in somebody else's part can be no date or no number.
        document: object = yaml.load(yaml_text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return ()
    exporters = set(as_mapping(as_mapping(document).get("exporters")))
    pipelines = as_mapping(as_mapping(as_mapping(document).get("service")).get("pipelines"))
    # What is no exporter of its own is a connector, from which another pipeline goes on.
    used = {id_ for pipeline in pipelines.values() for id_ in _texts(as_mapping(pipeline).get("exporters"))}
    return tuple(sorted(id_ for id_ in used & exporters if id_.partition("/")[0] not in _NOWHERE))


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(it for it in cast("Sequence[object]", value) if isinstance(it, str))
