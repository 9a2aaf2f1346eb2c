"""Agents that MLflow refuses: how long each waits, so that MLflow is left alone however many there are."""

import random
from collections.abc import Callable

from kagenti_operator.controllers.agents.experiments import POLLS_PER_SECOND

REFUSED_SECONDS = 30.0


class ExperimentRefusals:
    """Who was refused, and waits for somebody to do something about it."""

    def __init__(self, wake: Callable[[str], None], rng: random.Random) -> None:
        self._wake = wake
        self._rng = rng
        self._waiting: set[str] = set()

    def refused(self, key: str) -> float:
        """Take note; return after how many seconds to try again: the more are refused, the later."""
        self._waiting.add(key)
        pause = max(REFUSED_SECONDS, len(self._waiting) / POLLS_PER_SECOND)
        return pause * self._rng.uniform(0.9, 1.1)

    def succeeded(self, key: str) -> None:
        """Somebody may have done something: where this one was refused before, the others are tried at once.

        They count as refused no longer, so that each of them that succeeds does not wake all others again.
        """
        if key not in self._waiting:
            return
        self._waiting.remove(key)
        woken, self._waiting = self._waiting, set()
        for other in woken:
            self._wake(other)

    def forget(self, key: str) -> None:
        """The agent is none any more."""
        self._waiting.discard(key)
