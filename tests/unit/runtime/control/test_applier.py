from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.runtime.control.applier import first_difference, is_subset

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=1), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("desired", "current"),
    [
        ({}, {}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": "x"}}, {"a": {"b": "x", "c": "y"}}),
        ({"a": [{"b": 1}, "x"]}, {"a": ({"b": 1, "c": 2}, "x")}),
        ({"a": []}, {"a": []}),
        ({"a": None}, {}),
        ({"a": None}, {"a": None}),
    ],
)
def test_what_is_there_already_needs_no_request(desired: object, current: object) -> None:
    assert is_subset(desired, current)


@pytest.mark.parametrize(
    ("desired", "current", "where"),
    [
        ({"a": 1}, {}, ".a"),
        ({"a": 1}, {"a": None}, ".a"),
        ({"a": 1}, {"a": 2}, ".a"),
        ({"a": {"b": "x"}}, {"a": None}, ".a"),
        ({"a": {}}, {"a": None}, ".a"),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, ".a.b"),
        ({"a": [1]}, {"a": [1, 2]}, ".a"),
        ({"a": [1, 2]}, {"a": [1]}, ".a"),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, ".a[1].b"),
        ({"a": [1, 2]}, {"a": [2, 1]}, ".a[0]"),
        ({"a": "ab"}, {"a": ["a", "b"]}, ".a"),
        ({"a": ["a", "b"]}, {"a": "ab"}, ".a"),
        ({"a": None}, {"a": 1}, ".a"),
    ],
)
def test_what_is_missing_or_other_is_found(desired: object, current: object, where: str) -> None:
    assert not is_subset(desired, current)
    assert first_difference(desired, current) == where


@given(JSON)
def test_everything_is_a_subset_of_itself(value: Any) -> None:
    assert is_subset(value, value)


@given(st.dictionaries(st.text("abc", max_size=1), JSON), st.dictionaries(st.text("xyz", max_size=1), JSON))
def test_what_others_add_does_not_matter(desired: dict[str, Any], added: dict[str, Any]) -> None:
    assert is_subset(desired, {**added, **desired})


@given(JSON, JSON)
def test_it_never_fails_and_names_a_place_exactly_when_it_differs(desired: Any, current: Any) -> None:
    assert (first_difference(desired, current, "root") is None) is is_subset(desired, current)
