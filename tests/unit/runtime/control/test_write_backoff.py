import pytest

from kagenti_operator.runtime.control.write_backoff import (
    FIRST_PAUSE_SECONDS,
    FREE,
    LASTED_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Rewrites,
)
from tests.unit.controllers.agents.test_rollout_slots import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def rewrites(clock: ManualClock) -> Rewrites:
    return Rewrites(clock)


def write(rewrites: Rewrites, times: int, what: str = "a") -> None:
    for _ in range(times):
        rewrites.wrote("key", what)


def test_the_pause_comes_after_a_few_times_and_doubles(rewrites: Rewrites, clock: ManualClock) -> None:
    write(rewrites, FREE - 1)
    assert rewrites.wait("key", "a") == 0
    pauses: list[float] = []
    for _ in range(8):
        write(rewrites, 1)
        pauses.append(rewrites.wait("key", "a"))
        clock.time += pauses[-1]
        assert rewrites.wait("key", "a") == 0
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_something_else_and_somebody_else_do_not_wait(rewrites: Rewrites) -> None:
    write(rewrites, FREE)
    assert rewrites.wait("key", "a") > 0
    assert rewrites.wait("key", "b") == 0
    assert rewrites.wait("other", "a") == 0
    write(rewrites, 1, "b")
    assert rewrites.wait("key", "a") == 0


def test_what_lasted_is_forgotten(rewrites: Rewrites, clock: ManualClock) -> None:
    write(rewrites, FREE)
    clock.time += FIRST_PAUSE_SECONDS + LASTED_SECONDS
    write(rewrites, FREE - 1)
    assert rewrites.wait("key", "a") == 0


def test_nothing_is_kept_of_what_lasted_or_is_gone(rewrites: Rewrites, clock: ManualClock) -> None:
    write(rewrites, FREE)
    rewrites.forget("key")
    assert rewrites.wait("key", "a") == 0
    for number in range(100):
        rewrites.wrote(str(number), "a")
    rewrites.forget_what_lasted()
    assert len(rewrites) == 100
    clock.time += LASTED_SECONDS
    rewrites.forget_what_lasted()
    assert len(rewrites) == 0


def test_one_who_has_to_wait_long_makes_nobody_elses_changes_count(
    rewrites: Rewrites, clock: ManualClock
) -> None:
    write(rewrites, FREE + 5)
    for _ in range(2 * FREE):
        rewrites.wrote("other", "a")
        assert rewrites.wait("other", "a") == 0
        clock.time += LASTED_SECONDS
