"""Bounds how many failed keys are tried again per second, whatever the number that fail.

client-go has a token bucket over all keys beside each key's own backoff as well, and gives every key its
moment in advance. Here keys wait for a token and not for a moment, the buckets of the work queue in turn: who
fails ten thousand times over does not hold up the one retry of somebody else.
"""

import asyncio
from collections.abc import Callable, Hashable

from kagenti_operator.runtime.control.turns import Turns
from kagenti_operator.token_bucket import TokenBucket

# Ten thousand keys have had their turn within five minutes.
PER_SECOND = 40.0
BURST = 100.0


class RetryPacer[K: Hashable]:
    """Holds keys whose backoff is over until there is a token for them."""

    def __init__(self, release: Callable[[K], None], bucket: Callable[[K], Hashable] | None) -> None:
        self._release = release
        self._waiting = Turns[K](bucket)
        self._tokens = TokenBucket(BURST, PER_SECOND)
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many keys wait for a token."""
        return len(self._waiting)

    def offer(self, key: K) -> None:
        """Its backoff is over: release it as soon as there is a token."""
        self._waiting.add(key)
        if self._alarm is None:
            self._release_some()

    def withdraw(self, key: K) -> None:
        """It need not be tried again."""
        self._waiting.discard(key)

    def shut_down(self) -> None:
        """Release nothing more."""
        self._waiting.clear()
        if self._alarm:
            self._alarm.cancel()

    def _release_some(self) -> None:
        self._alarm = None
        while self._waiting and self._tokens.spend():
            self._release(self._waiting.pop())
        if self._waiting:
            self._alarm = asyncio.get_running_loop().call_later(1 / PER_SECOND, self._release_some)
