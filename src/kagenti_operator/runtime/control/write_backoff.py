"""Bounds how often an object is changed anew where somebody undoes the same change each time."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from kagenti_operator.runtime.clock import Clock

# So many times it is changed at once: people edit a workload a few times in a row.
FREE = 3
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0
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
        if self.times < FREE:
            return self.at
        doublings = min(self.times - FREE, 10)
        return self.at + min(FIRST_PAUSE_SECONDS * 2**doublings, LONGEST_PAUSE_SECONDS)

    def is_fresh(self, now: float) -> bool:
        """Whether it may still turn out to be undone."""
        return now < self.free_at + LASTED_SECONDS


class Rewrites:
    """What was written lately, by key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._written: OrderedDict[str, _Written] = OrderedDict()

    def __len__(self) -> int:
        """Of how many something is remembered."""
        return len(self._written)

    def wait(self, key: str, what: Hashable) -> float:
        """For how many seconds not to write that again; 0 where it may be at once."""
        written = self._written.get(key)
        if written is None or written.what != hash(what):
            return 0.0
        return max(0.0, written.free_at - self._clock.monotonic())

    def wrote(self, key: str, what: Hashable) -> None:
        """It was written now."""
        now, digest = self._clock.monotonic(), hash(what)
        before = self._written.get(key)
        again = before is not None and before.what == digest and before.is_fresh(now)
        self._written[key] = _Written(digest, before.times + 1 if before and again else 1, now)
        self._written.move_to_end(key)

    def forget(self, key: str) -> None:
        """It is gone."""
        self._written.pop(key, None)

    def forget_what_lasted(self) -> None:
        """Drop what nobody has undone in time; cheap, to be called again and again."""
        now = self._clock.monotonic()
        # In the order of writing: who has to wait long may keep some others for a while.
        while self._written:
            key, written = next(iter(self._written.items()))
            if written.is_fresh(now):
                return
            del self._written[key]
