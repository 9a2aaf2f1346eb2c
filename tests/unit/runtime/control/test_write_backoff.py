import pytest

from kagenti_operator.runtime.control.write_backoff import (
    FREE,
    LASTED_SECONDS,
    PAUSE,
    Rewrites,
)
from tests.support.virtual_time import skip

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def rewrites() -> Rewrites:
    return Rewrites()


def write(rewrites: Rewrites, times: int, what: str = "a") -> None:
    for _ in range(times):
        rewrites.wrote("key", what)


async def test_the_pause_comes_after_a_few_times_and_doubles(rewrites: Rewrites) -> None:
    write(rewrites, FREE - 1)
    assert rewrites.wait("key", "a") == 0
    pauses: list[float] = []
    for _ in range(8):
        write(rewrites, 1)
        pauses.append(rewrites.wait("key", "a"))
        skip(pauses[-1])
        assert rewrites.wait("key", "a") == 0
    assert pauses[:3] == [PAUSE.first, 2 * PAUSE.first, 4 * PAUSE.first]
    assert pauses[-1] == PAUSE.longest


async def test_something_else_and_somebody_else_do_not_wait(rewrites: Rewrites) -> None:
    write(rewrites, FREE)
    assert rewrites.wait("key", "a") > 0
    assert rewrites.wait("key", "b") == 0
    assert rewrites.wait("other", "a") == 0
    write(rewrites, 1, "b")
    assert rewrites.wait("key", "a") == 0


async def test_what_lasted_is_forgotten(rewrites: Rewrites) -> None:
    write(rewrites, FREE)
    skip(PAUSE.first + LASTED_SECONDS)
    write(rewrites, FREE - 1)
    assert rewrites.wait("key", "a") == 0


async def test_nothing_is_kept_of_what_lasted_or_is_gone(rewrites: Rewrites) -> None:
    write(rewrites, FREE)
    rewrites.forget("key")
    assert rewrites.wait("key", "a") == 0
    for number in range(100):
        rewrites.wrote(str(number), "a")
    rewrites.forget_what_lasted()
    assert len(rewrites) == 100
    skip(LASTED_SECONDS)
    rewrites.forget_what_lasted()
    assert len(rewrites) == 0


async def test_one_who_has_to_wait_long_makes_nobody_elses_changes_count(rewrites: Rewrites) -> None:
    write(rewrites, FREE + 5)
    for _ in range(2 * FREE):
        rewrites.wrote("other", "a")
        assert rewrites.wait("other", "a") == 0
        skip(LASTED_SECONDS)
