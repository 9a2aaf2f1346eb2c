import asyncio
import random
from dataclasses import dataclass, field

import pytest

from kagenti_operator.runtime.control.workqueue import BACKOFF, WorkQueue
from tests.support.chance import Chance
from tests.support.virtual_time import advance, settle, timers

pytestmark = pytest.mark.virtual_time


@dataclass
class Observations:
    adds: int = 0
    retries: int = 0
    waits: list[float] = field(default_factory=list[float])
    works: list[float] = field(default_factory=list[float])

    def added(self) -> None:
        self.adds += 1

    def retried(self) -> None:
        self.retries += 1

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    def worked(self, seconds: float) -> None:
        self.works.append(seconds)


@pytest.fixture
def seen() -> Observations:
    return Observations()


@pytest.fixture
def queue(seen: Observations) -> WorkQueue[str]:
    return WorkQueue(observer=seen, rng=Chance())


async def take_all(queue: WorkQueue[str]) -> list[str]:
    taken: list[str] = []
    while queue.depth:
        key = await queue.get()
        queue.done(key)
        taken.append(key)
    return taken


async def test_keys_come_in_the_order_in_which_they_were_added(queue: WorkQueue[str]) -> None:
    for key in "cab":
        queue.add(key)
    assert await take_all(queue) == ["c", "a", "b"]


async def test_a_key_waits_at_most_once(queue: WorkQueue[str], seen: Observations) -> None:
    for _ in range(3):
        queue.add("a")
    assert queue.depth == 1
    assert await take_all(queue) == ["a"]
    assert seen.adds == 1


async def test_a_key_in_work_is_not_handed_out_again_until_it_is_done(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    second = asyncio.create_task(queue.get())
    await settle()
    assert not second.done()
    queue.done("a")
    assert await second == "a"


async def test_added_many_times_while_in_work_it_comes_once_more(queue: WorkQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    for _ in range(5):
        queue.add("a")
    queue.done("a")
    assert await take_all(queue) == ["a"]


async def test_each_key_goes_to_one_of_the_waiting_workers(queue: WorkQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    for key in "abc":
        queue.add(key)
    assert sorted(await asyncio.gather(*workers)) == ["a", "b", "c"]


async def test_a_cancelled_worker_takes_no_key_with_it(queue: WorkQueue[str]) -> None:
    leaving = asyncio.create_task(queue.get())
    staying = asyncio.create_task(queue.get())
    await settle()
    queue.add("a")
    leaving.cancel()
    assert await staying == "a"


async def test_a_delayed_key_comes_when_it_is_due(queue: WorkQueue[str]) -> None:
    queue.add_after("late", 10)
    queue.add_after("soon", 3)
    await advance(2.9)
    assert queue.depth == 0
    await advance(0.2)
    assert await take_all(queue) == ["soon"]
    await advance(7)
    assert await take_all(queue) == ["late"]


async def test_of_several_delays_the_earliest_counts(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    await advance(5)
    assert await take_all(queue) == ["a"]
    await advance(60)
    assert queue.depth == 0
    assert queue.delayed == 0


async def test_a_delay_of_nothing_is_no_delay(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0)
    assert queue.depth == 1


async def test_ten_thousand_delayed_keys_need_one_sleep(queue: WorkQueue[str]) -> None:
    for number in range(10_000):
        queue.add_after(str(number), 60 + number % 7)
    await settle()
    assert timers() == 1
    await advance(70)
    assert queue.depth == 10_000
    assert timers() == 0


async def test_replaced_delays_are_not_kept(queue: WorkQueue[str]) -> None:
    for _ in range(300):
        queue.add_after("a", 3600)
        queue.add_after("a", 0.001)
        await advance(0.001)
        await take_all(queue)
    assert queue.timers < 100


async def test_a_cancelled_delay_does_not_come(queue: WorkQueue[str]) -> None:
    for number in range(300):
        queue.add_after(str(number), 10)
        queue.cancel(str(number))
    queue.add_after("a", 5)
    queue.cancel("a")
    queue.add_after("a", 20)
    await advance(19)
    assert queue.depth == 0
    assert queue.timers < 100
    await advance(2)
    assert await take_all(queue) == ["a"]


async def test_failures_back_off_each_key_for_itself(queue: WorkQueue[str], seen: Observations) -> None:
    assert [queue.add_rate_limited("poisoned") for _ in range(4)] == pytest.approx([0.005, 0.01, 0.02, 0.04])
    assert queue.add_rate_limited("other") == pytest.approx(0.005)
    assert seen.retries == 5


async def test_keys_that_failed_together_do_not_come_together(seen: Observations) -> None:
    queue = WorkQueue[int](observer=seen, rng=random.Random(7))
    delays = [queue.add_rate_limited(number) for number in range(100)]
    assert len(set(delays)) == 100
    assert 0.005 <= min(delays) <= max(delays) <= 0.005 * 1.25


async def test_the_backoff_has_a_cap_and_can_be_forgotten(queue: WorkQueue[str]) -> None:
    delays = [queue.add_rate_limited("a") for _ in range(2000)]
    assert delays[-1] == BACKOFF.longest
    queue.forget("a")
    assert queue.add_rate_limited("a") == pytest.approx(0.005)


async def test_a_server_that_asks_for_more_time_than_the_backoff_gets_it(queue: WorkQueue[str]) -> None:
    assert queue.add_rate_limited("a", at_least=7) == 7
    await advance(6.9)
    assert queue.depth == 0
    await advance(0.2)
    assert queue.depth == 1


async def test_buckets_are_served_in_turn(seen: Observations) -> None:
    queue = WorkQueue[str](observer=seen, rng=Chance(), bucket=lambda key: key.split("/")[0])
    for number in range(2000):
        queue.add(f"storm/{number}")
    queue.add("calm/0")
    queue.add("still/0")
    queue.add("calm/1")
    first = [await queue.get() for _ in range(6)]
    assert first == ["storm/0", "calm/0", "still/0", "storm/1", "calm/1", "storm/2"]
    assert queue.depth == 1997


async def test_a_bucket_has_no_more_workers_than_it_may_have(seen: Observations) -> None:
    queue = WorkQueue[str](observer=seen, rng=Chance(), bucket=lambda key: key[0], most_in_work=2)
    for key in ("a1", "a2", "a3", "a4"):
        queue.add(key)
    assert [await queue.get() for _ in range(2)] == ["a1", "a2"]
    waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
    await settle()
    assert not any(task.done() for task in waiting)
    queue.add("b1")
    await settle()
    assert [task.result() for task in waiting if task.done()] == ["b1"]
    queue.done("a2")
    await settle()
    assert sorted(task.result() for task in waiting) == ["a3", "b1"]
    queue.done("b1")
    last = asyncio.create_task(queue.get())
    await settle()
    assert not last.done()
    # What comes again while it is in work has to wait as well.
    queue.add("a1")
    queue.done("a1")
    assert await last == "a4"
    queue.done("a3")
    assert await queue.get() == "a1"


async def test_whoever_waits_learns_of_the_shutdown(queue: WorkQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    queue.shut_down()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.QueueShutDown] * 3


async def test_after_the_shutdown_nothing_is_handed_out(queue: WorkQueue[str]) -> None:
    queue.add("waiting")
    queue.add_after("delayed", 1)
    queue.shut_down()
    queue.add("later")
    await advance(2)
    with pytest.raises(asyncio.QueueShutDown):
        await queue.get()
    assert timers() == 0


async def test_it_measures_how_long_keys_waited_and_were_in_work(
    queue: WorkQueue[str], seen: Observations
) -> None:
    queue.add("a")
    await advance(2)
    await queue.get()
    await advance(3)
    queue.add("b")
    await queue.get()
    await advance(1)
    assert queue.longest_running_seconds == pytest.approx(4)
    assert queue.unfinished_seconds == pytest.approx(5)
    queue.done("a")
    queue.done("b")
    assert seen.waits == pytest.approx([2, 0])
    assert seen.works == pytest.approx([4, 1])
    assert queue.longest_running_seconds == 0


async def test_however_many_fail_few_are_tried_again_in_a_second(seen: Observations) -> None:
    queue = WorkQueue[str](observer=seen, rng=random.Random(1))
    for number in range(10_000):
        queue.add(f"key-{number}")
    per_second: list[int] = []
    for _ in range(60):
        # All that comes fails.
        count = 0
        for _ in range(20):
            while queue.depth:
                key = await queue.get()
                queue.done(key)
                queue.add_rate_limited(key)
                count += 1
            await advance(0.05)
        per_second.append(count)
    assert per_second[0] > 10_000
    assert max(per_second[10:]) <= 50
    # Nobody is forgotten.
    assert queue.delayed + queue.depth == 10_000


async def test_many_failures_of_one_bucket_do_not_hold_up_the_retry_of_another(seen: Observations) -> None:
    queue = WorkQueue[str](observer=seen, rng=random.Random(1), bucket=lambda key: key[0])
    for number in range(10_000):
        queue.add_rate_limited(f"a{number}")
    await advance(1)
    await take_all(queue)
    queue.add_rate_limited("b")
    await advance(0.1)
    assert "b" in await take_all(queue)


async def test_what_fails_again_meanwhile_waits_for_its_longer_backoff(seen: Observations) -> None:
    queue = WorkQueue[str](observer=seen, rng=random.Random(1))
    for number in range(1000):
        queue.add_rate_limited(f"key-{number}")
    await advance(1)
    await take_all(queue)
    for _ in range(12):
        # An event brings it before its turn, and it fails again.
        queue.add("key-999")
        await take_all(queue)
        queue.add_rate_limited("key-999")
    await advance(10)
    assert "key-999" not in await take_all(queue)


async def test_what_succeeds_meanwhile_is_not_tried_again(seen: Observations) -> None:
    queue = WorkQueue[str](observer=seen, rng=random.Random(1))
    for number in range(1000):
        queue.add_rate_limited(f"key-{number}")
    await advance(1)
    await take_all(queue)
    for number in range(1000):
        queue.cancel(f"key-{number}")
    assert queue.delayed == 0
    await advance(60)
    assert queue.depth == 0
