import pytest

from kagenti_operator.runtime.control.write_backoff import FREE, LASTED_SECONDS, PAUSE, WriteBackoff
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
    for _ in range(8):
        write(writes, 1)
        pauses.append(writes.wait("key", "a"))
        skip(pauses[-1])
        assert writes.wait("key", "a") == 0
    assert pauses[:3] == [PAUSE.first, 2 * PAUSE.first, 4 * PAUSE.first]
    assert pauses[-1] == PAUSE.longest


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
    write(writes, FREE + 5)
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
