"""Agents that MLflow denies: how long each waits, so that MLflow is left alone however many there are."""

import random
from collections.abc import Callable

from kagenti_operator.controllers.agents.experiments import POLLS_PER_SECOND
from kagenti_operator.controllers.agents.keys import AgentKey

DENIED_SECONDS = 30.0


class RetryAfterDenied:
    """Which agents were denied, and wait for somebody to act."""

    def __init__(self, enqueue: Callable[[AgentKey], None], rng: random.Random) -> None:
        self._enqueue = enqueue
        self._rng = rng
        self._waiting: set[AgentKey] = set()

    def denied(self, key: AgentKey) -> float:
        """Note it; return after how many seconds to retry: the more are denied, the later."""
        self._waiting.add(key)
        pause = max(DENIED_SECONDS, len(self._waiting) / POLLS_PER_SECOND)
        return pause * self._rng.uniform(0.9, 1.1)

    def succeeded(self, key: AgentKey) -> None:
        """Somebody may have acted: where this one was denied before, the others are retried at once.

        They count as denied no longer, so that each of them that succeeds does not wake all others again.
        """
        if key not in self._waiting:
            return
        self._waiting.remove(key)
        woken, self._waiting = self._waiting, set()
        for other in woken:
            self._enqueue(other)

    def forget(self, key: AgentKey) -> None:
        """It is no agent any more."""
        self._waiting.discard(key)
