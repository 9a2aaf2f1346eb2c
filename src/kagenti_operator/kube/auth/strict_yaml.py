"""YAML without its surprises: text, booleans, null, lists and mappings only."""

import re
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
# The last ones are how numbers, dates, << and = are resolved: they stay text.
_TAGS = {
    f"{_TAG}{kind}"
    for kind in ("map", "seq", "str", "bool", "null", "int", "float", "timestamp", "merge", "value")
}
_BOOLEANS = yaml.SafeLoader.bool_values
# Neither a path nor a header can carry these.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def parse_yaml(content: bytes) -> Any:
    """Return the only document, None for nothing. Raises ValueError with the line and what is wrong.

    A number or a date stays the text that it is. Aliases are refused, because a few lines of them unfold to
    gigabytes, and so are keys that are there twice.
    """
    try:
        node = yaml.compose(content.decode(), _Loader)
        return None if node is None else _build(node)
    except yaml.MarkedYAMLError as error:
        # Its own text would quote the line, which may hold a token.
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = ", ".join(filter(None, (error.context, error.problem)))
        raise ValueError(f"{line}{problem}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ValueError("it is not text: it holds bytes or escapes that are no characters") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


class _Loader(yaml.SafeLoader):
    def fetch_alias(self) -> None:
        raise yaml.MarkedYAMLError(None, None, "aliases are not supported; write it out", self.get_mark())


def _build(node: yaml.Node) -> Any:
    if node.tag not in _TAGS:
        raise _refusal(f"the tag {node.tag} is not supported", node)
    match node:
        case yaml.MappingNode():
            return _build_mapping(node)
        case yaml.SequenceNode():
            return [_build(item) for item in node.value]
        case _:
            return _build_scalar(node)


def _build_mapping(node: yaml.MappingNode) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refusal("a key must be text", key)
        if key.value in mapping:
            raise _refusal(f"the key '{key.value}' is there twice", key)
        mapping[key.value] = _build(value)
    return mapping


def _build_scalar(node: yaml.Node) -> str | bool | None:
    if node.tag == f"{_TAG}null":
        return None
    if node.tag == f"{_TAG}bool":
        return _BOOLEANS.get(node.value.lower(), node.value)
    if _NO_TEXT.search(node.value):
        raise _refusal("an escape stands for no character", node)
    return node.value


def _refusal(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, problem, node.start_mark)
