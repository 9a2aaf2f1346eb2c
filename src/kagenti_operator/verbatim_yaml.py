"""YAML that somebody else wrote, read and written again with every scalar as it was.

Collector and sidecar read YAML 1.2 and we YAML 1.1, so what a scalar means is not decided here: `1e3`, `on`
and `"7"` are written back as they came. Aliases, tags and duplicate keys are refused, and so is what is too
deep or has too many parts: a few bytes of YAML can otherwise become gigabytes.
"""

from collections.abc import Mapping
from typing import Any, cast

import yaml

_MAX_DEPTH = 30
_MAX_NODES = 20_000
_YAML = "tag:yaml.org,2002:"
_STRING, _NULL, _TIMESTAMP, _DEFAULT = (f"{_YAML}{name}" for name in ("str", "null", "timestamp", "value"))
_SCALARS = {_STRING, _NULL, _TIMESTAMP, _DEFAULT, *(f"{_YAML}{name}" for name in ("int", "float", "bool"))}


class VerbatimError(ValueError):
    """The text is no YAML that can be taken over; the message says why, and where."""


class Scalar(str):
    """A scalar as it was written; `plain`: without quotes."""

    plain: bool
    tag: str

    @classmethod
    def of(cls, node: yaml.ScalarNode) -> "Scalar":
        """Keep the text and the style of a node."""
        scalar = cls(node.value)
        # What we take for a time, or for a default value, is a text for those who read it.
        scalar.plain = not node.style and node.tag not in (_TIMESTAMP, _DEFAULT)
        scalar.tag = node.tag
        return scalar

    def represent(self) -> yaml.ScalarNode:
        """Build the node that is written for it."""
        if self.plain:
            return yaml.ScalarNode(self.tag, str(self))
        return yaml.ScalarNode(_STRING, str(self), style="|" if "\n" in self else '"')


def read_verbatim(text: str, most_nodes: int = _MAX_NODES) -> dict[str, Any] | None:
    """The mapping that the text is, its scalars as `Scalar` or None; None where the text is empty.

    Raises VerbatimError.
    """
    try:
        _bound(text, most_nodes)
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise VerbatimError(f"is no YAML: {error.problem or error.context}{where}") from error
    except yaml.YAMLError as error:
        raise VerbatimError(f"is no YAML: {error}") from error
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == _NULL):
        return None
    if not isinstance(node, yaml.MappingNode):
        raise VerbatimError("is no mapping")
    return cast("dict[str, Any]", _value(node))


def _bound(text: str, most_nodes: int) -> None:
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        match event:
            case yaml.AliasEvent():
                raise VerbatimError(f"has an alias{_line(event)}: write out what it stands for")
            case yaml.DocumentStartEvent():
                documents += 1
            case yaml.CollectionStartEvent():
                depth, nodes = depth + 1, nodes + 1
            case yaml.CollectionEndEvent():
                depth -= 1
            case yaml.ScalarEvent():
                nodes += 1
            case _:
                pass
        if documents > 1:
            raise VerbatimError("holds more than one document: use a key for each")
        if depth > _MAX_DEPTH or nodes > most_nodes:
            raise VerbatimError(f"is nested deeper than {_MAX_DEPTH}, or has more than {most_nodes} parts")


def _value(node: yaml.Node) -> Any:
    match node:
        case yaml.MappingNode() if node.tag == f"{_YAML}map":
            return _mapping(node)
        case yaml.SequenceNode() if node.tag == f"{_YAML}seq":
            return [_value(item) for item in node.value]
        case yaml.ScalarNode() if node.tag in _SCALARS:
            return None if node.tag == _NULL else Scalar.of(node)
        case _:
            raise VerbatimError(f"has the tag {node.tag}{_line(node)}, which is not supported")


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != _STRING:
            raise VerbatimError(f"has a key that is no text{_line(key)}: quote it")
        if key.value in found:
            raise VerbatimError(f"has the key {key.value!r} twice{_line(key)}")
        found[key.value] = _value(value)
    return found


def _line(thing: yaml.Node | yaml.Event) -> str:
    mark = thing.start_mark
    return f" in line {mark.line + 1}" if mark else ""


def is_mapping_or_empty(value: object) -> bool:
    """Whether the collector takes that for a component's settings."""
    return value is None or isinstance(value, Mapping)
