"""What a namespace may cost whose objects change over and over."""

import pytest

from kagenti_operator.requests_sent import count_request
from kagenti_operator.runtime.control.request_budget import (
    BURST,
    FREE,
    FREE_SECONDS,
    MOST_KEYS,
    PER_SECOND,
    OverBudget,
    RequestBudget,
)
from tests.support.virtual_time import advance

pytestmark = pytest.mark.virtual_time


def spend(budget: RequestBudget, key: str, requests: int, namespace: str = "team1") -> None:
    with budget.spending(key, namespace):
        for _ in range(requests):
            count_request()


async def test_what_a_key_costs_now_and_then_is_free_however_many_keys_there_are() -> None:
    budget = RequestBudget()
    for number in range(1000):
        spend(budget, f"agent-{number}", FREE)


async def test_a_key_that_costs_too_much_waits_and_what_all_of_them_cost_is_bounded() -> None:
    budget, sent, seconds = RequestBudget(), 0, 100
    keys = ("a", "b")
    for tick in range(100 * seconds):
        try:
            spend(budget, keys[tick % 2], 5)
            sent += 5
        except OverBudget:
            pass
        await advance(0.01)
    assert sent == pytest.approx(PER_SECOND * seconds + BURST + 2 * FREE, abs=10)


async def test_it_costs_no_other_namespace_anything_and_no_quiet_key_of_the_same() -> None:
    budget = RequestBudget()
    spend(budget, "a", 1000)
    with pytest.raises(OverBudget, match="namespace team1"):
        spend(budget, "a", 1)
    spend(budget, "b", 5)
    spend(budget, "c", 5, "team2")


async def test_the_wait_is_as_long_as_what_was_sent_is_not_paid_for() -> None:
    budget = RequestBudget()
    spend(budget, "a", FREE + 200)
    with pytest.raises(OverBudget) as over:
        spend(budget, "a", 1)
    assert over.value.retry_after == pytest.approx((200 - BURST) / PER_SECOND)
    await advance(over.value.retry_after)
    spend(budget, "a", 1)


async def test_what_fails_is_paid_for_as_well() -> None:
    budget = RequestBudget()

    def fail() -> None:
        with budget.spending("a", "team1"):
            for _ in range(1000):
                count_request()
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        fail()
    with pytest.raises(OverBudget):
        spend(budget, "a", 1)


async def test_what_is_long_ago_is_forgotten_and_little_is_kept() -> None:
    budget = RequestBudget()
    for number in range(3 * MOST_KEYS):
        spend(budget, f"agent-{number}", 1, f"team-{number % 7}")
    assert len(budget) <= 2 * MOST_KEYS + 7
    for _ in range(3):
        await advance(FREE_SECONDS)
        spend(budget, "a", 1)
    assert len(budget) <= 2
