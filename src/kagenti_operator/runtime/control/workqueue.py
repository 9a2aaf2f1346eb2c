"""The queue between events and workers.

The semantics are those of client-go's work queue: a key waits at most once, however often it is added; it is
never worked on twice at once; added while in work, it comes once more when that work is done. Keys may be put
into buckets, which are served in turn, so that one bucket with many keys does not delay the others; nor does
one whose keys take long, where no bucket may have all workers.
"""

import asyncio
import heapq
import random
import sys
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Protocol

from kagenti_operator import clock
from kagenti_operator.backoff import Backoff
from kagenti_operator.runtime.control.retry_pacer import RetryPacer
from kagenti_operator.runtime.control.turns import Turns

# client-go begins with 5 ms too but goes up to 1000 s: people who repaired the cause should not wait so long.
# It has no jitter: keys that failed together would come together again.
BACKOFF = Backoff(first=0.005, longest=60.0, jitter=0.25)
_STALE_TIMERS_KEPT = 64


class QueueObserver(Protocol):
    """What observes a work queue; durations are in seconds."""

    def added(self) -> None:
        """A key was added that was not waiting yet."""
        ...

    def retried(self) -> None:
        """A key will come again because it failed."""
        ...

    def waited(self, seconds: float) -> None:
        """A key was taken to work on after that time in the queue."""
        ...

    def worked(self, seconds: float) -> None:
        """Work on a key took that long."""
        ...


class WorkQueue[K: Hashable]:
    """A deduplicating, delaying, fair queue for one event loop."""

    def __init__(
        self,
        *,
        observer: QueueObserver,
        rng: random.Random,
        bucket: Callable[[K], Hashable] | None = None,
        most_in_work: int | None = None,
    ) -> None:
        """`bucket` names the bucket of a key; without it there is one, served first in, first out.

        `most_in_work`: of one bucket no more keys than that are in work at once.
        """
        self._observer = observer
        self._rng = rng
        self._ready = Turns[K](bucket)
        self._most_in_work = most_in_work or sys.maxsize
        # How many keys of each bucket are in work.
        self._busy = Counter[Hashable]()
        # One permit per key that may be taken; a semaphore because it already gets cancellation of waiters
        # right.
        self._permits = asyncio.Semaphore(0)
        # Keys that wait to be worked on, in `_ready` or until their current work is done, and since when.
        self._dirty: dict[K, float] = {}
        self._in_work: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        # Whose delay is the backoff after a failure.
        self._backing_off: set[K] = set()
        self._pacer = RetryPacer(self.add, bucket)
        # When a delayed key is due. The heap may also hold entries that an earlier due time has replaced.
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._timers_made = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._shut_down = False

    def others_wait(self, bucket: Hashable) -> bool:
        """Whether a key of another bucket waits for a worker, and not for one of its own bucket."""
        return any(it != bucket and self._busy[it] < self._most_in_work for it in self._ready.buckets)

    @property
    def depth(self) -> int:
        """How many keys a worker could take now."""
        return len(self._ready)

    @property
    def delayed(self) -> int:
        """How many keys wait for their time, or to be tried again in turn."""
        return len(self._due) + len(self._pacer)

    @property
    def timers(self) -> int:
        """How many timers are kept for them, replaced ones included."""
        return len(self._timers)

    @property
    def unfinished_seconds(self) -> float:
        """How long the keys that are in work have been so, added up."""
        now = clock.monotonic()
        return sum(now - started for started in self._in_work.values())

    @property
    def longest_running_seconds(self) -> float:
        """How long the key that is longest in work has been so."""
        return clock.monotonic() - min(self._in_work.values()) if self._in_work else 0.0

    def add(self, key: K) -> None:
        """Have `key` worked on as soon as a worker is free. Does nothing once the queue is shut down."""
        if self._shut_down or key in self._dirty:
            return
        self._dirty[key] = clock.monotonic()
        self._observer.added()
        if key not in self._in_work:
            self._make_ready(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Add `key` in that time; of several due times of one key the earliest counts."""
        if self._shut_down:
            return
        if seconds <= 0:
            self.add(key)
            return
        due = clock.monotonic() + seconds
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._timers_made += 1
        heapq.heappush(self._timers, (due, self._timers_made, key))
        self._drop_replaced_timers()
        self._set_alarm()

    def add_rate_limited(self, key: K, *, at_least: float = 0.0) -> float:
        """Add `key` after its backoff, which doubles with every call until `forget`; return those seconds.

        Where many keys fail it may take longer: see RetryPacer.
        """
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = BACKOFF.delay(failures, self._rng, at_least=at_least)
        self._observer.retried()
        # It may wait for its turn since an earlier failure, and was added meanwhile.
        self._pacer.withdraw(key)
        self._backing_off.add(key)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Start the backoff of `key` anew."""
        self._failures.pop(key, None)

    def cancel(self, key: K) -> None:
        """Do not add `key` at the time that it waits for, if there is one."""
        self._backing_off.discard(key)
        self._pacer.withdraw(key)
        if self._due.pop(key, None) is not None:
            self._drop_replaced_timers()

    async def get(self) -> K:
        """Wait for a key; `done` must be called with it. Raises asyncio.QueueShutDown once shut down."""
        await self._permits.acquire()
        if self._shut_down:
            # The permit that shutting down gave is handed from one waiting worker to the next.
            self._permits.release()
            raise asyncio.QueueShutDown
        key = self._ready.pop({bucket for bucket, n in self._busy.items() if n >= self._most_in_work})
        self._busy[self._ready.bucket_of(key)] += 1
        now = clock.monotonic()
        self._observer.waited(now - self._dirty.pop(key))
        self._in_work[key] = now
        return key

    def done(self, key: K) -> None:
        """End the work on `key`; it comes again if it was added meanwhile."""
        self._observer.worked(clock.monotonic() - self._in_work.pop(key))
        self._end(self._ready.bucket_of(key))
        if key in self._dirty:
            self._make_ready(key)

    def shut_down(self) -> None:
        """Hand out no further key: what waits is dropped, whoever waits in `get` gets QueueShutDown."""
        self._shut_down = True
        if self._alarm:
            self._alarm.cancel()
        self._timers.clear()
        self._due.clear()
        self._backing_off.clear()
        self._pacer.shut_down()
        self._permits.release()

    def _make_ready(self, key: K) -> None:
        self._ready.add(key)
        bucket = self._ready.bucket_of(key)
        if self._ready.waiting(bucket) + self._busy[bucket] <= self._most_in_work:
            self._permits.release()

    def _end(self, bucket: Hashable) -> None:
        if self._ready.waiting(bucket) + self._busy[bucket] > self._most_in_work:
            # One that had to wait for this.
            self._permits.release()
        self._busy[bucket] -= 1
        if not self._busy[bucket]:
            del self._busy[bucket]

    def _drop_replaced_timers(self) -> None:
        if len(self._timers) > 2 * len(self._due) + _STALE_TIMERS_KEPT:
            self._timers = [timer for timer in self._timers if self._due.get(timer[2]) == timer[0]]
            heapq.heapify(self._timers)

    def _set_alarm(self) -> None:
        if not self._timers or (self._alarm and self._alarm.when() <= self._timers[0][0]):
            return
        if self._alarm:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(self._timers[0][0], self._add_due)

    def _add_due(self) -> None:
        self._alarm = None
        now = clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer_due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == timer_due:
                del self._due[key]
                if key in self._backing_off:
                    self._pacer.offer(key)
                else:
                    self.add(key)
        self._set_alarm()
