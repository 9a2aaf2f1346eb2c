"""Values that nest too deep are taken for null, and everything beside them is kept."""

import json
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.bounded_json import decode, prune


class Named(msgspec.Struct):
    name: str


def nested(depth: int) -> str:
    return '{"f":[' * (depth // 2) + "1" + "]}" * (depth // 2)


@pytest.mark.parametrize("depth", [10, 1_000, 10_000, 200_000])
def test_what_stands_beside_a_deep_value_is_read(depth: int) -> None:
    assert decode(f'{{"before": {nested(depth)}, "name": "a"}}'.encode(), Named).name == "a"


@pytest.mark.parametrize("body", ["[" * 200_000, '{"name": ' + nested(200_000)[:-1], "<html>", ""])
def test_what_is_no_json_is_refused(body: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(body.encode(), Named)


def test_a_deep_value_in_a_field_of_the_model_does_not_fit_it() -> None:
    with pytest.raises(msgspec.ValidationError, match="got `object`"):
        decode(f'{{"name": {nested(200_000)}}}'.encode(), Named)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\[]{},: \n'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='ab"\\[]{}'), inner),
)


def cut(value: Any, deepest: int) -> Any:
    if not isinstance(value, list | dict):
        return value
    if deepest == 0:
        return None
    if isinstance(value, list):
        return [cut(item, deepest - 1) for item in cast("list[Any]", value)]
    return {key: cut(item, deepest - 1) for key, item in cast("dict[str, Any]", value).items()}


@given(_VALUES, st.integers(0, 4))
def test_only_what_lies_deeper_is_cut(value: object, deepest: int) -> None:
    assert json.loads(prune(json.dumps(value).encode(), deepest)) == cut(value, deepest)
