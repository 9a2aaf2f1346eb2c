"""How long to wait before trying again."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_operator.backoff import Backoff, jittered
from tests.support.chance import Chance

EQUAL_JITTER = Backoff(first=0.25, longest=4.0, jitter=1.0)
SEEDS = st.integers()


def test_a_wait_doubles_with_every_failure_up_to_the_longest() -> None:
    backoff = Backoff(first=1, longest=30)
    assert [backoff.step(failures) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.step(10**9) == 30


def test_jitter_adds_up_to_its_part_of_the_wait() -> None:
    backoff = Backoff(first=10, longest=300, jitter=0.5)
    assert [backoff.delay(1, Chance(number)) for number in (0, 0.5)] == [10, 12.5]
    assert backoff.delay(20, Chance(0.5)) == 375
    assert jittered(2, 0.5, Chance(0.5)) == 2.5


@given(st.integers(1, 2000), SEEDS)
def test_waits_grow_to_a_limit_and_are_never_the_same_for_all(failures: int, seed: int) -> None:
    delay = EQUAL_JITTER.delay(failures, random.Random(seed))
    whole = min(8.0, 0.5 * 2 ** min(failures - 1, 10))
    assert whole / 2 <= delay <= whole


def test_a_server_that_asks_for_a_day_is_asked_again_in_ten_minutes() -> None:
    assert EQUAL_JITTER.delay(1, Chance(0.0), at_least=86400.0) == 600
    assert EQUAL_JITTER.delay(1, Chance(0.0), at_least=float("inf")) == 600


@given(st.integers(1, 50), st.floats(0, 600), SEEDS)
def test_a_wait_is_never_shorter_than_the_server_asked(failures: int, asked: float, seed: int) -> None:
    delay = EQUAL_JITTER.delay(failures, random.Random(seed), at_least=asked)
    assert asked <= delay <= asked + 8


@pytest.mark.parametrize("at_least", [0, 30])
def test_those_who_were_refused_together_do_not_come_together(at_least: float) -> None:
    rng = random.Random(7)
    assert len({EQUAL_JITTER.delay(1, rng, at_least=at_least) for _ in range(100)}) == 100
