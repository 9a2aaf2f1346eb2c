import tracemalloc
from math import inf

import pytest

from kagenti_operator.runtime.control.write_backoff import (
    FREE,
    LAST,
    LASTED_SECONDS,
    MOST_STOPPED,
    PAUSE,
    WriteBackoff,
)
from tests.support.virtual_time import skip

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def writes() -> WriteBackoff[str]:
    return WriteBackoff()


def write(writes: WriteBackoff[str], times: int, what: str = "a") -> None:
    for _ in range(times):
        writes.wrote("key", what)


async def test_the_pause_comes_after_a_few_times_and_doubles(writes: WriteBackoff[str]) -> None:
    write(writes, FREE - 1)
    assert writes.wait("key", "a") == 0
    pauses: list[float] = []
    for _ in range(LAST - FREE):
        write(writes, 1)
        pauses.append(writes.wait("key", "a"))
        skip(pauses[-1])
        assert writes.wait("key", "a") == 0
    assert pauses == [PAUSE.first * 2**n for n in range(LAST - FREE)]


async def test_something_else_and_somebody_else_do_not_wait(writes: WriteBackoff[str]) -> None:
    write(writes, FREE)
    assert writes.wait("key", "a") > 0
    assert writes.wait("key", "b") == 0
    assert writes.wait("other", "a") == 0
    write(writes, 1, "b")
    assert writes.wait("key", "a") == 0


async def test_what_lasted_is_forgotten(writes: WriteBackoff[str]) -> None:
    write(writes, FREE)
    skip(PAUSE.first + LASTED_SECONDS)
    write(writes, FREE - 1)
    assert writes.wait("key", "a") == 0


async def test_nothing_is_kept_of_what_lasted_or_is_gone(writes: WriteBackoff[str]) -> None:
    write(writes, FREE)
    writes.forget("key")
    assert writes.wait("key", "a") == 0
    for number in range(100):
        writes.wrote(str(number), "a")
    writes.forget_what_lasted()
    assert len(writes) == 100
    skip(LASTED_SECONDS)
    writes.forget_what_lasted()
    assert len(writes) == 0


async def test_one_who_has_to_wait_long_makes_nobody_elses_changes_count(writes: WriteBackoff[str]) -> None:
    write(writes, LAST - 1)
    for _ in range(2 * FREE):
        writes.wrote("other", "a")
        assert writes.wait("other", "a") == 0
        skip(LASTED_SECONDS)


async def test_what_is_written_anew_after_a_pause_is_contested_until_it_lasts(
    writes: WriteBackoff[str],
) -> None:
    write(writes, FREE)
    assert not writes.is_contested("key")
    skip(PAUSE.first)
    write(writes, 1)
    assert writes.is_contested("key")
    assert not writes.is_contested("other")
    skip(2 * PAUSE.first + LASTED_SECONDS)
    assert not writes.is_contested("key")


async def test_what_is_undone_for_the_last_time_waits_until_the_object_changes_otherwise(
    writes: WriteBackoff[str],
) -> None:
    for version in range(LAST):
        writes.wrote("key", "a", str(10 * version))
    last = 10 * (LAST - 1)
    # A cache that has not seen the write yet shows no revert.
    assert writes.wait("key", "a", str(last - 1)) == inf
    assert writes.wait("key", "a", str(last + 1)) == inf
    skip(100 * LASTED_SECONDS)
    writes.forget_what_lasted()
    assert writes.wait("key", "a", str(last + 1)) == inf
    assert writes.wait("key", "a", str(last + 2)) == 0
    assert writes.is_contested("key")
    # One more write for each such change, and no new beginning.
    writes.wrote("key", "a", str(last + 3))
    assert writes.wait("key", "a", str(last + 4)) == inf
    assert writes.wait("key", "a", str(last + 5)) == PAUSE.longest
    assert writes.wait("key", "b", str(last + 4)) == 0


async def test_an_object_that_is_deleted_each_time_is_stopped_for_as_long_as_it_is_away(
    writes: WriteBackoff[str],
) -> None:
    for version in range(LAST):
        writes.wrote("key", "a", str(version), whole=True)
    assert writes.wait("key", "a") == inf
    skip(PAUSE.longest)
    assert writes.wait("key", "a") == inf
    assert writes.wait("key", "a", "100") == 0


async def test_a_fight_that_others_ended_is_over(writes: WriteBackoff[str]) -> None:
    write(writes, LAST)
    assert writes.wait("key", "a", "1") == inf
    writes.settled("key")
    assert writes.wait("key", "a", "2") == 0
    assert "key" not in writes


async def test_the_last_write_that_lasted_is_forgotten_as_any_other(writes: WriteBackoff[str]) -> None:
    write(writes, LAST)
    writes.settled("key")
    assert "key" in writes
    skip(PAUSE.longest + LASTED_SECONDS)
    assert writes.wait("key", "a", "1") == 0
    writes.forget_what_lasted()
    assert len(writes) == 0


async def test_a_write_that_changed_nothing_was_not_undone(writes: WriteBackoff[str]) -> None:
    for _ in range(2 * LAST):
        writes.wrote("key", "a", "7")
    assert writes.wait("key", "a", "6") == 0
    # But one that the API server does not keep is undone by it.
    for _ in range(LAST):
        writes.wrote("odd", "a", "7", kept=False)
    assert writes.wait("odd", "a", "7") == inf
    skip(PAUSE.longest)
    assert writes.wait("odd", "a", "8") == 0


@pytest.mark.parametrize("often", [60.0, 120.0, LASTED_SECONDS - 1])
async def test_who_deletes_what_was_made_now_and_then_is_answered_more_slowly_all_the_same(
    writes: WriteBackoff[str], often: float
) -> None:
    for _ in range(FREE):
        skip(often)
        assert writes.wait("key", "a") == 0
        writes.forget_what_lasted()
        writes.wrote("key", "a", whole=True)
    assert writes.wait("key", "a") > 0


async def test_what_was_made_and_lasted_is_forgotten(writes: WriteBackoff[str]) -> None:
    for _ in range(2 * LAST):
        skip(2 * LASTED_SECONDS)
        writes.wrote("key", "a", whole=True)
        assert writes.wait("key", "a") == 0
    skip(2 * LASTED_SECONDS)
    writes.forget_what_lasted()
    assert len(writes) == 0


async def test_of_fights_that_others_won_a_bounded_number_is_remembered(writes: WriteBackoff[str]) -> None:
    for number in range(MOST_STOPPED + 10):
        for _ in range(LAST):
            writes.wrote(f"key {number}", "a", "7", kept=False)
    assert len(writes) == MOST_STOPPED
    assert writes.wait("key 0", "a", "7") == 0
    assert writes.wait("key 10", "a", "7") == inf


async def test_what_is_not_wanted_for_a_while_may_be_made_as_often_as_that(writes: WriteBackoff[str]) -> None:
    for _ in range(2 * LAST):
        assert writes.wait("key", "a") == 0
        writes.wrote("key", "a", whole=True)
        writes.forget("key")
    assert len(writes) == 0


async def test_ten_thousand_agents_grants_are_remembered_in_two_mebibytes(writes: WriteBackoff[str]) -> None:
    tracemalloc.start()
    for number in range(20_000):
        writes.wrote(f"RoleBinding team{number}", f"body {number}", str(number), whole=True)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(writes) == 20_000
    assert memory < 2 * 2**20
