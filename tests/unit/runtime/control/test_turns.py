"""Whose turn it is."""

from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.runtime.control.turns import Turns


def bucket_of(key: str) -> str:
    return key[0]


def drain(turns: Turns[str]) -> list[str]:
    taken: list[str] = []
    while turns:
        taken.append(turns.pop())
    return taken


def test_buckets_take_turns_and_within_one_the_first_comes_first() -> None:
    turns = Turns(bucket_of)
    for key in ("a1", "a2", "a3", "b1", "a1"):
        turns.add(key)
    assert len(turns) == 4
    assert drain(turns) == ["a1", "b1", "a2", "a3"]


def test_without_buckets_the_first_comes_first() -> None:
    turns = Turns[str](None)
    for key in ("b1", "a1"):
        turns.add(key)
    assert drain(turns) == ["b1", "a1"]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["a1", "a2", "b1", "c1"]))))
def test_who_waits_is_who_came_and_did_not_leave(steps: list[tuple[bool, str]]) -> None:
    turns, expected = Turns(bucket_of), set[str]()
    for comes, key in steps:
        if comes:
            turns.add(key)
            expected.add(key)
        else:
            turns.discard(key)
            expected.discard(key)
    assert len(turns) == len(expected)
    assert sorted(drain(turns)) == sorted(expected)
