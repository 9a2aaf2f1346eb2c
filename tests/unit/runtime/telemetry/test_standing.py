import pytest

from kagenti_operator.backoff import Backoff
from kagenti_operator.runtime.telemetry.standing import Standing
from tests.support.virtual_time import skip

pytestmark = pytest.mark.virtual_time


async def test_what_holds_is_said_once_for_each_key() -> None:
    standing = Standing[str]()
    assert standing.holds("a", "broken")
    assert standing.holds("b", "broken")
    skip(1e6)
    assert not standing.holds("a", "broken")
    assert not standing.holds("b", "broken")


async def test_another_text_is_said_at_once() -> None:
    standing = Standing[str]()
    said = [standing.holds("a", text) for text in ("broken", "gone", "gone", "broken")]
    assert said == [True, True, False, True]


async def test_what_lasts_is_said_again_more_and_more_seldom() -> None:
    standing = Standing[str](Backoff(first=10.0, longest=40.0))
    said: list[int] = []
    for second in range(151):
        if standing.holds("a", "broken"):
            said.append(second)
        skip(1)
    assert said == [0, 10, 30, 70, 110, 150]


async def test_another_text_starts_the_reminders_anew() -> None:
    standing = Standing[str](Backoff(first=10.0, longest=600.0))
    for _ in range(100):
        standing.holds("a", "broken")
        skip(1)
    assert standing.holds("a", "gone")
    skip(9)
    assert not standing.holds("a", "gone")
    skip(1)
    assert standing.holds("a", "gone")


async def test_when_it_ends_it_is_known_how_often_and_how_long_it_held() -> None:
    standing = Standing[str]()
    standing.holds("a", "broken")
    skip(5)
    standing.holds("a", "gone")
    skip(2)
    ended = standing.ends("a")
    assert ended
    assert (ended.count, ended.seconds) == (2, 7)
    assert standing.ends("a") is None
    assert standing.get("a") is None
    assert len(standing) == 0


async def test_what_comes_back_after_it_ended_is_new() -> None:
    standing = Standing[str]()
    standing.holds("a", "broken")
    standing.ends("a")
    assert standing.holds("a", "broken")
    again = standing.get("a")
    assert again
    assert (again.count, again.seconds) == (1, 0)


async def test_of_too_many_the_oldest_is_forgotten_and_new_when_it_comes_again() -> None:
    standing = Standing[str](most=2)
    for key in "abc":
        assert standing.holds(key, "broken")
    assert len(standing) == 2
    assert not standing.holds("c", "broken")
    assert standing.holds("a", "broken")
