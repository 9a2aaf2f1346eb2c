"""Bounds how many workloads the operator rolls at once, so that labelling a fleet does not restart it all."""

from collections.abc import Callable

from kagenti_operator.kube.models import Agent
from kagenti_operator.runtime.clock import Clock

# A rollout that does not end (no capacity, a broken image) gives its place back after this time.
PATIENCE_SECONDS = 300.0


class RollSlots:
    """Places for rollouts in progress, keyed as the work queue is."""

    def __init__(self, limit: int, clock: Clock, on_free: Callable[[str], None]) -> None:
        self._limit = limit
        self._clock = clock
        self._on_free = on_free
        self._rolling: dict[str, float] = {}
        # Insertion order is the order of arrival.
        self._waiting: dict[str, None] = {}

    @property
    def rolling(self) -> int:
        """How many rollouts are in progress."""
        return len(self._rolling)

    def take(self, key: str) -> bool:
        """Take a place for `key`; False: it will be woken when one is free."""
        self._expire()
        if key not in self._rolling and len(self._rolling) >= self._limit:
            self._waiting[key] = None
            return False
        self._waiting.pop(key, None)
        self._rolling[key] = self._clock.monotonic() + PATIENCE_SECONDS
        return True

    def release(self, key: str) -> None:
        """Give a place back, whether or not it was taken, and wake the next that waits."""
        self._waiting.pop(key, None)
        if self._rolling.pop(key, None) is not None:
            self._wake()

    def follow(self, key: str, agent: Agent | None) -> None:
        """Give the place back when the workload is gone or its rollout is through."""
        if key in self._rolling and (agent is None or agent.is_rolled_out):
            self.release(key)

    def _expire(self) -> None:
        now = self._clock.monotonic()
        for key in [k for k, deadline in self._rolling.items() if deadline <= now]:
            del self._rolling[key]

    def _wake(self) -> None:
        free = self._limit - len(self._rolling)
        for key in list(self._waiting)[: max(free, 0)]:
            del self._waiting[key]
            self._on_free(key)
