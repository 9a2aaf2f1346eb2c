"""Whatever is added, delayed and fails: no key twice at once, nothing lost, no bucket starved."""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from kagenti_operator.runtime.control.workqueue import WorkQueue
from kagenti_operator.runtime.telemetry.metrics import Metrics
from tests.support.virtual_time import VirtualTimeLoop, advance, settle


@dataclass(frozen=True)
class Step:
    """Ask for a key after a delay, then let time pass."""

    key: str
    after: float
    pause: float


STEPS = st.lists(
    st.builds(
        Step,
        key=st.sampled_from(["x/a", "x/b", "y/a"]),
        after=st.sampled_from([0.0, 0.0, 0.005, 3.0]),
        pause=st.sampled_from([0.0, 0.002, 0.4, 2.0]),
    ),
    min_size=1,
    max_size=25,
)
# How long the work on each successive key takes, and whether it fails.
WORK = st.lists(st.tuples(st.sampled_from([1.0, 0.003, 0.0]), st.booleans()), min_size=3, max_size=30)


class Workers:
    """Several workers on one queue, which notice what must never happen."""

    def __init__(self, queue: WorkQueue[str], work: list[tuple[float, bool]]) -> None:
        self._queue = queue
        self._work = iter(work)
        self._in_work: set[str] = set()
        self.requests = 0
        self.wanted: dict[str, int] = {}
        self.seen: dict[str, int] = defaultdict(int)
        self.starts = Counter[str]()
        self.twice_at_once: set[str] = set()
        self.most_at_once = 0

    def want(self, key: str, after: float) -> None:
        """Ask for a look at the key that begins later than this."""
        self.requests += 1
        self.wanted[key] = self.requests
        self._queue.add_after(key, after)

    async def run(self) -> None:
        with contextlib.suppress(asyncio.QueueShutDown):
            while True:
                await self._one(await self._queue.get())

    async def _one(self, key: str) -> None:
        if key in self._in_work:
            self.twice_at_once.add(key)
        self._in_work.add(key)
        self.most_at_once = max(self.most_at_once, len(self._in_work))
        self.seen[key] = self.requests
        self.starts[key] += 1
        seconds, fails = next(self._work, (0.0, False))
        await asyncio.sleep(seconds)
        if fails:
            self._queue.add_rate_limited(key)
        else:
            self._queue.forget(key)
        self._in_work.remove(key)
        self._queue.done(key)


async def play(
    steps: list[Step], work: list[tuple[float, bool]], *, buckets: bool, most_in_work: int | None
) -> None:
    queue = WorkQueue[str](
        observer=Metrics().controller("test"),
        rng=random.Random(7),
        bucket=(lambda key: key.split("/")[0]) if buckets else None,
        most_in_work=most_in_work,
    )
    workers = Workers(queue, work)
    tasks = [asyncio.create_task(workers.run()) for _ in range(3)]
    for step in steps:
        workers.want(step.key, step.after)
        await advance(step.pause)
    await advance(120)

    assert not workers.twice_at_once
    assert workers.most_at_once <= (most_in_work or 3) * (2 if buckets else 1)
    assert not {key for key, request in workers.wanted.items() if workers.seen[key] < request}
    assert queue.depth == 0
    assert queue.delayed == 0
    assert sum(workers.starts.values()) <= len(steps) + len(work)

    queue.shut_down()
    await settle()
    assert all(task.done() for task in tasks)


@settings(deadline=None, max_examples=200)
@given(STEPS, WORK, st.booleans(), st.sampled_from([None, 1, 2]))
def test_a_key_is_never_worked_on_twice_at_once_and_nothing_added_is_lost(
    steps: list[Step], work: list[tuple[float, bool]], buckets: bool, most_in_work: int | None
) -> None:
    playing = play(steps, work, buckets=buckets, most_in_work=most_in_work)
    asyncio.run(playing, loop_factory=VirtualTimeLoop)


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60), st.integers(0, 30))
def test_no_bucket_waits_longer_than_one_round(buckets: list[str], storm: int) -> None:
    async def serve() -> list[str]:
        queue = WorkQueue[str](
            observer=Metrics().controller("test"), rng=random.Random(7), bucket=lambda key: key[0]
        )
        for number in range(storm):
            queue.add(f"s{number}")
        for number, bucket in enumerate(buckets):
            queue.add(f"{bucket}{number}")
        return [(await queue.get())[0] for _ in range(queue.depth)]

    served = asyncio.run(serve(), loop_factory=VirtualTimeLoop)
    for bucket in set(served):
        turns = [-1, *(turn for turn, b in enumerate(served) if b == bucket)]
        for last, this in pairwise(turns):
            between = served[last + 1 : this]
            assert len(between) == len(set(between))
