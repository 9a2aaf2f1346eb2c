"""YAML that is read from ConfigMaps of others, and written into the workloads' own."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import yaml

from kagenti_operator.verbatim_yaml import Scalar, VerbatimError, read_verbatim

# The file of a sidecar has two KiB and a hundred parts. These bound the work that a tenant can make.
MAX_BYTES = 64 * 2**10
_MAX_PARTS = 4_000
# Namespaces have the platform's base, or one of a few. A larger one is read each time: it would fill memory.
_CACHED_BYTES = 4 * 2**10
# What everybody who reads YAML takes for a text. Others take more for numbers than we do: `1e3`, `0o7`.
_WORD = re.compile(r"[A-Za-z][\w./:@*-]*", re.ASCII)


def read_mapping(text: str) -> Mapping[str, Any]:
    """The mapping that a text is, empty for no text; texts in it are as they were written.

    It may be shared: it is never changed. Raises ValueError with what goes on from the name of the text.
    """
    if len(text) > MAX_BYTES:
        raise VerbatimError(f"is larger than {MAX_BYTES // 2**10} KiB")
    return _read_cached(text) if len(text) <= _CACHED_BYTES else _read(text)


def read_settings(text: str) -> Mapping[str, Any]:
    """The same for settings of the operator's own: texts are texts, and what is left empty is not there."""
    return _as_settings(read_mapping(text))


def _as_settings(value: Any) -> Any:
    match value:
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {key: _as_settings(item) for key, item in items if item is not None}
        case list():
            return [_as_settings(item) for item in cast("list[Any]", value)]
        case _:
            return str(value)


def _read(text: str) -> Mapping[str, Any]:
    return read_verbatim(text, _MAX_PARTS) or {}


_read_cached = lru_cache(maxsize=128)(_read)


def render(document: Mapping[str, Any]) -> str:
    """As YAML, the same text for the same document."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=2**31 - 1)


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent(_: _Dumper, scalar: Scalar) -> yaml.ScalarNode:
    return scalar.represent()


def _represent_text(_: _Dumper, text: str) -> yaml.ScalarNode:
    style = None if _WORD.fullmatch(text) else '"'
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(Scalar, _represent)
