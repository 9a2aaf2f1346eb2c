"""What a namespace may cost whose objects change over and over."""

from collections.abc import Callable

import pytest

from kagenti_operator import clock
from kagenti_operator.requests_sent import count_request, excuse_request, note_taken
from kagenti_operator.runtime.control.request_budget import (
    BURST,
    FREE,
    FREE_SECONDS,
    MOST_DEBT_SECONDS,
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


def take(budget: RequestBudget, key: str, requests: int, *, took: bool = True) -> None:
    with budget.spending(key, "team1", takes=lambda: True):
        for _ in range(requests):
            count_request()
        if took:
            note_taken()


class Keys:
    """Reconciled as a work queue would have it: who has to wait comes again when it is called."""

    def __init__(self, budget: RequestBudget, cost: int = 5) -> None:
        self.done: list[tuple[str, float]] = []
        self.calls = 0
        self._budget = budget
        self._cost = cost

    def add(self, key: str) -> None:
        self.calls += 1
        try:
            spend(self._budget, key, self._cost)
        except OverBudget as over:
            over.wait(self._again(key))
        else:
            self.done.append((key, clock.monotonic()))

    def _again(self, key: str) -> Callable[[], None]:
        return lambda: self.add(key)


async def test_what_a_key_costs_now_and_then_is_free_however_many_keys_there_are() -> None:
    budget = RequestBudget()
    for number in range(1000):
        spend(budget, f"agent-{number}", FREE)


@pytest.mark.parametrize("keys", [1, 2, 300])
async def test_what_keys_cost_that_come_again_is_bounded_for_all_of_them_together(keys: int) -> None:
    """Each of 300 comes every three seconds only."""
    budget, sent, seconds = RequestBudget(), 0, 300
    for tick in range(100 * seconds):
        try:
            spend(budget, f"agent-{tick % keys}", 5)
            sent += 5
        except OverBudget:
            pass
        await advance(0.01)
    # Nobody waits with the one that goes beyond what is free.
    assert PER_SECOND * seconds < sent < PER_SECOND * (seconds + 1) + BURST + keys * (FREE + 5)


async def test_who_comes_rarely_pays_as_well_until_it_has_not_come_for_an_hour() -> None:
    budget = RequestBudget()
    for _ in range(10):
        spend(budget, "a", FREE // 2)
        await advance(FREE_SECONDS / 3)
    spend(budget, "a", 1000)
    with pytest.raises(OverBudget):
        spend(budget, "a", 1)
    await advance(2 * FREE_SECONDS)
    spend(budget, "b", 1000)
    spend(budget, "a", FREE)


async def test_it_costs_no_other_namespace_anything_and_no_quiet_key_of_the_same() -> None:
    budget = RequestBudget()
    spend(budget, "a", 1000)
    with pytest.raises(OverBudget, match="namespace team1"):
        spend(budget, "a", 1)
    spend(budget, "b", 5)
    spend(budget, "c", 5, "team2")


async def test_nobody_waits_longer_than_ten_seconds_for_what_was_sent_before() -> None:
    budget = RequestBudget()
    keys = Keys(budget)
    spend(budget, "a", 100_000)
    began = clock.monotonic()
    keys.add("a")
    await advance(MOST_DEBT_SECONDS - 1)
    assert not keys.done
    await advance(1.1)
    assert keys.done[0][1] - began == pytest.approx(MOST_DEBT_SECONDS)


async def test_who_waits_is_served_in_the_order_of_arrival_and_called_once() -> None:
    budget = RequestBudget()
    keys, names = Keys(budget), [f"agent-{number}" for number in range(200)]
    for name in names:
        spend(budget, name, FREE)
    spend(budget, "storm", 100_000)
    for name in names:
        keys.add(name)
        # Further events of its own do not bring it forward.
        keys.add(names[0])
    began = clock.monotonic()
    keys.calls = 0
    await advance(200 * 5 / PER_SECOND + MOST_DEBT_SECONDS + 1)
    assert [key for key, _ in keys.done] == names
    assert keys.calls == len(names)
    rate = 200 * 5 / (keys.done[-1][1] - began)
    assert rate <= PER_SECOND * 1.1


async def test_what_takes_something_away_waits_for_nothing_and_is_free() -> None:
    budget = RequestBudget()
    spend(budget, "a", FREE)
    for _ in range(1000):
        take(budget, "a", 6)
    spend(budget, "a", 1)
    spend(budget, "a", 100_000)
    take(budget, "a", 6)
    with pytest.raises(OverBudget):
        spend(budget, "a", 1)


async def test_who_looks_in_vain_for_something_to_take_waits_the_next_time() -> None:
    """A label that flaps is gone when it is looked at, and there again a moment later."""
    budget = RequestBudget()
    spend(budget, "a", 100_000)
    take(budget, "a", 3, took=False)
    with pytest.raises(OverBudget):
        take(budget, "a", 3)
    await advance(MOST_DEBT_SECONDS + 1)
    take(budget, "a", 6)
    spend(budget, "a", 100_000)
    take(budget, "a", 6)


async def test_what_fails_is_paid_for_as_well_but_not_what_the_server_failed_at() -> None:
    budget = RequestBudget()

    def fail(*, excused: bool) -> None:
        with budget.spending("a", "team1"):
            for _ in range(1000):
                count_request()
                if excused:
                    excuse_request()
            raise ValueError("refused")

    for _ in range(3):
        with pytest.raises(ValueError, match="refused"):
            fail(excused=True)
    with pytest.raises(ValueError, match="refused"):
        fail(excused=False)
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
