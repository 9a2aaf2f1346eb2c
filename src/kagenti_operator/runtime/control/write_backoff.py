"""Bounds how often an object is written anew where another writer reverts the same change each time."""

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from kagenti_operator import clock
from kagenti_operator.backoff import Backoff
from kagenti_operator.runtime.control.generations import Generations

# So many times it is changed at once: people edit a workload a few times in a row.
FREE = 3
# As the kubelet pauses between the starts of a container that crashes: each change rolls pods too.
PAUSE = Backoff(first=10.0, longest=300.0)
# So many times in a row it is written in all; then not before the object changes otherwise.
LAST = 8
# Twice as much is kept of what was written once, in about 2 MiB.
MOST_ONCE = 20_000
# Of so many a fight that the other writer has won is remembered, in about 2 MiB; the latest ones.
MOST_STOPPED = 5_000
# What lasted so long was not undone: the next change begins to count anew. Longer than GitOps tools pause.
LASTED_SECONDS = 900.0


class WritesReverted(Exception):
    """Another writer keeps reverting what is written; the text says of which object, and what to do.

    `retry_after`: seconds until it is written again; None where only another change of the object helps.
    """

    def __init__(self, text: str, wait: float) -> None:
        """`wait` is what `WriteBackoff.wait` returned."""
        super().__init__(text)
        self.retry_after = None if math.isinf(wait) else wait


@dataclass(slots=True)
class _Written:
    what: int
    times: int
    at: float
    # That the object had afterwards.
    version: str
    # That it had once the last write was undone; None as long as that was not seen.
    reverted: str | None = None

    @property
    def free_at(self) -> float:
        """When it may be written again."""
        return self.at if self.times < FREE else self.at + PAUSE.step(self.times - FREE + 1)

    def is_fresh(self, now: float) -> bool:
        """Whether it may still turn out to be undone, or was for the last time."""
        return self.reverted is not None or now < self.free_at + LASTED_SECONDS


class _WrittenOnce:
    """What was made or deleted once lately, by key: hashes, since a fleet that is granted makes many."""

    def __init__(self) -> None:
        self._kept = Generations[int](seconds=LASTED_SECONDS, most=MOST_ONCE)

    def __len__(self) -> int:
        return len(self._kept)

    def age(self) -> None:
        """Drop what is old enough."""
        self._kept.age()

    def add(self, key: Hashable, what: int) -> None:
        self._kept.age()
        self._kept.young[hash(key)] = what

    def pop(self, key: Hashable) -> int | None:
        self._kept.age()
        old, young = self._kept.old.pop(hash(key), None), self._kept.young.pop(hash(key), None)
        return old if young is None else young


class WriteBackoff[K: Hashable]:
    """What was written lately, by key."""

    def __init__(self) -> None:
        self._written: OrderedDict[K, _Written] = OrderedDict()
        self._once = _WrittenOnce()
        # Written and undone for the last time.
        self._stopped: dict[K, _Written] = {}

    def __len__(self) -> int:
        """Of how many something is remembered."""
        return len(self._written) + len(self._stopped) + len(self._once)

    def __contains__(self, key: K) -> bool:
        return key in self._written or key in self._stopped

    def wait(self, key: K, what: Hashable, version: str = "") -> float:
        """For how many seconds not to write that again: 0 where it may be at once, infinite once stopped.

        `version`: the object's as it is known now, empty where it does not exist. Who stopped goes on when it
        becomes another one than the last revert left, at most every five minutes.
        """
        written = self._get(key)
        now = clock.monotonic()
        if written is None or written.what != hash(what) or not written.is_fresh(now):
            return 0.0
        if written.times >= LAST and self._is_as_reverted(key, written, version):
            return math.inf
        return max(0.0, written.free_at - now)

    def is_contested(self, key: K) -> bool:
        """Whether a change was written anew after a pause: another writer keeps reverting it."""
        written = self._get(key)
        return written is not None and written.times > FREE and written.is_fresh(clock.monotonic())

    def wrote(
        self, key: K, what: Hashable, version: str = "", *, kept: bool = True, whole: bool = False
    ) -> None:
        """It was written now, and has that version.

        `kept`: the API server took it as it was sent. `whole`: it was made, or deleted.
        """
        now, digest, before = clock.monotonic(), hash(what), self._get(key)
        once = self._once.pop(key)
        self.forget(key)
        times = 1
        if before and before.what == digest and before.is_fresh(now):
            # Where nothing changed it was not undone: a cache had not seen the write before.
            untouched = kept and version != "" and version == before.version
            times = before.times if untouched else before.times + 1
        elif once == digest:
            times = 2
        elif whole and kept:
            self._once.add(key, digest)
            return
        self._written[key] = _Written(digest, times, now, version)
        if times >= LAST and not kept:
            self._stop(key, version)

    def forget(self, key: K) -> None:
        """It is gone, or not wanted any more."""
        self._written.pop(key, None)
        self._stopped.pop(key, None)
        self._once.pop(key)

    def settled(self, key: K) -> None:
        """It is as wanted. Once writing was stopped, that is the other writer's doing: nothing is undone."""
        self._stopped.pop(key, None)

    def forget_what_lasted(self) -> None:
        """Drop what nobody has undone in time; cheap, to be called again and again."""
        self._once.age()
        now = clock.monotonic()
        # In the order of writing: who has to wait long may keep some others for a while.
        while self._written:
            key, written = next(iter(self._written.items()))
            if written.is_fresh(now):
                return
            del self._written[key]

    def _get(self, key: K) -> _Written | None:
        return self._stopped.get(key) or self._written.get(key)

    def _is_as_reverted(self, key: K, written: _Written, version: str) -> bool:
        if written.reverted is None and _is_other(version, written.version):
            self._stop(key, version)
        return written.reverted in (None, version)

    def _stop(self, key: K, version: str) -> None:
        written = self._stopped[key] = self._written.pop(key)
        written.reverted = version
        if len(self._stopped) > MOST_STOPPED:
            # It begins anew when it comes again, with all pauses.
            del self._stopped[next(iter(self._stopped))]


def _is_other(version: str, written: str) -> bool:
    """Whether a version is later than what was written, not what a cache still had of before."""
    if version.isdecimal() and written.isdecimal():
        return int(version) > int(written)
    return version != written
