"""Bounds how often an object is written anew where another writer reverts the same change each time."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from kagenti_operator import clock
from kagenti_operator.backoff import Backoff

# So many times it is changed at once: people edit a workload a few times in a row.
FREE = 3
# As the kubelet pauses between the starts of a container that crashes: each change rolls pods too.
PAUSE = Backoff(first=10.0, longest=300.0)
# What lasted so long was not undone: the next change begins to count anew.
LASTED_SECONDS = 60.0


@dataclass(slots=True)
class _Written:
    what: int
    times: int
    at: float

    @property
    def free_at(self) -> float:
        """When it may be written again."""
        return self.at if self.times < FREE else self.at + PAUSE.step(self.times - FREE + 1)

    def is_fresh(self, now: float) -> bool:
        """Whether it may still turn out to be undone."""
        return now < self.free_at + LASTED_SECONDS


class WriteBackoff[K: Hashable]:
    """What was written lately, by key."""

    def __init__(self) -> None:
        self._written: OrderedDict[K, _Written] = OrderedDict()

    def __len__(self) -> int:
        """Of how many something is remembered."""
        return len(self._written)

    def wait(self, key: K, what: Hashable) -> float:
        """For how many seconds not to write that again; 0 where it may be at once."""
        written = self._written.get(key)
        if written is None or written.what != hash(what):
            return 0.0
        return max(0.0, written.free_at - clock.monotonic())

    def is_contested(self, key: K) -> bool:
        """Whether a change was written anew after a pause: another writer keeps reverting it."""
        written = self._written.get(key)
        return written is not None and written.times > FREE and written.is_fresh(clock.monotonic())

    def wrote(self, key: K, what: Hashable) -> None:
        """It was written now."""
        now, digest = clock.monotonic(), hash(what)
        before = self._written.get(key)
        again = before is not None and before.what == digest and before.is_fresh(now)
        self._written[key] = _Written(digest, before.times + 1 if before and again else 1, now)
        self._written.move_to_end(key)

    def forget(self, key: K) -> None:
        """It is gone."""
        self._written.pop(key, None)

    def forget_what_lasted(self) -> None:
        """Drop what nobody has undone in time; cheap, to be called again and again."""
        now = clock.monotonic()
        # In the order of writing: who has to wait long may keep some others for a while.
        while self._written:
            key, written = next(iter(self._written.items()))
            if written.is_fresh(now):
                return
            del self._written[key]
