"""The grammar of label selectors, so that one that the API server would refuse is refused at the start."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(r"\s*([!=]=|[=!<>(),]|[^\s=!<>(),]+)")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PREFIX = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_COMPARISONS = ("=", "==", "!=")
_ORDERS = ("<", ">")
_END = ""


class SelectorError(ValueError):
    """What is wrong with a selector, as the end of a sentence."""


def normalize_selector(text: str) -> str:
    """Return a selector of equality- or set-based requirements in one spelling.

    The grammar is that of `labels.Parse` in Kubernetes' apimachinery. Raises SelectorError; also on an empty
    selector, which selects every object.
    """
    tokens = _Tokens(text)
    requirements = [_parse_requirement(tokens)]
    while tokens.peek() == ",":
        tokens.take()
        requirements.append(_parse_requirement(tokens))
    if tokens.peek() != _END:
        raise SelectorError(f"',' or the end is expected, not '{tokens.peek()}'")
    return ",".join(dict.fromkeys(requirements))


class _Tokens:
    """The tokens of a selector, one looked at ahead."""

    def __init__(self, text: str) -> None:
        self._rest = _split(text)
        self._next = next(self._rest, _END)

    def peek(self) -> str:
        return self._next

    def take(self) -> str:
        taken, self._next = self._next, next(self._rest, _END)
        return taken


def _split(text: str) -> Iterator[str]:
    # Every character is a blank or part of a token.
    return (match[1] for match in _TOKEN.finditer(text.strip()))


def _parse_requirement(tokens: _Tokens) -> str:
    if tokens.peek() == "!":
        tokens.take()
        return f"!{_parse_key(tokens)}"
    key = _parse_key(tokens)
    operator = tokens.peek()
    if operator in (_END, ","):
        return key
    tokens.take()
    if operator in ("in", "notin"):
        return f"{key} {operator} ({','.join(_parse_values(tokens))})"
    if operator in _COMPARISONS:
        value = "" if tokens.peek() in (_END, ",") else tokens.take()
        return f"{key}{'=' if operator == '==' else operator}{_check_value(value)}"
    if operator in _ORDERS:
        value = tokens.take()
        if not re.fullmatch(r"-?[0-9]+", value):
            raise SelectorError(f"a whole number is expected after '{operator}', not '{value}'")
        return f"{key}{operator}{value}"
    raise SelectorError(f"=, ==, !=, in, notin, < or > is expected after '{key}', not '{operator}'")


def _parse_key(tokens: _Tokens) -> str:
    key = tokens.take()
    prefix, slash, name = key.rpartition("/")
    prefixed = not slash or (len(prefix) <= 253 and _PREFIX.fullmatch(prefix))
    if not (prefixed and _NAME.fullmatch(name)):
        raise SelectorError(f"'{key}' is no label's name" if key else "a label's name is missing")
    return key


def _parse_values(tokens: _Tokens) -> list[str]:
    if (opened := tokens.take()) != "(":
        raise SelectorError(f"'(' is expected, not '{opened}'")
    values = [""]
    while (token := tokens.take()) != ")":
        if token == ",":
            values.append("")
        elif token == _END or values[-1]:
            raise SelectorError(f"',' or ')' is expected, not '{token}'")
        else:
            values[-1] = _check_value(token)
    return list(dict.fromkeys(values))


def _check_value(value: str) -> str:
    if value and not _NAME.fullmatch(value):
        raise SelectorError(f"'{value}' is no label's value")
    return value
