"""Bounds how many requests one namespace costs whose objects change over and over.

Whatever happens to an object once costs what it costs, at once, also to thousands of a namespace. Only a key
that has sent many requests lately shares a rate with all such keys of its namespace, in every controller.
"""

from collections.abc import Generator, Hashable
from contextlib import contextmanager

from kagenti_operator import clock
from kagenti_operator.requests_sent import counting
from kagenti_operator.runtime.control.generations import Generations

# So many requests of a key are free in ten to twenty minutes: an agent needs five to be configured, and six
# to be released.
FREE = 20
FREE_SECONDS = 600.0
# What all that is beyond that costs in a namespace.
PER_SECOND = 10.0
BURST = 40.0
# Of more keys what was spent is forgotten sooner: twice as many are kept, in about 2 MiB.
MOST_KEYS = 20_000


class OverBudget(Exception):
    """The key has to wait until its namespace may send requests again, `retry_after` seconds from now."""

    def __init__(self, namespace: str, wait: float) -> None:
        super().__init__(f"objects of namespace {namespace} change too often to be followed at once")
        self.retry_after = wait


class RequestBudget:
    """What keys have spent lately, and until when namespaces have to save."""

    def __init__(self) -> None:
        self._sent = Generations[int](seconds=FREE_SECONDS, most=MOST_KEYS)
        # Until when all that a namespace has sent is paid for.
        self._paid_at: dict[str, float] = {}

    def __len__(self) -> int:
        """Of how many keys and namespaces something is remembered."""
        return len(self._sent) + len(self._paid_at)

    @contextmanager
    def spending(self, key: Hashable, namespace: str) -> Generator[None]:
        """Charge the namespace with what the block sends for that key. Raises OverBudget before the block."""
        digest = hash(key)
        if wait := self._wait(digest, namespace):
            raise OverBudget(namespace, wait)
        with counting() as sent:
            try:
                yield
            finally:
                if sent.number:
                    self._charge(digest, namespace, sent.number)

    def _wait(self, key: int, namespace: str) -> float:
        paid_at = self._paid_at.get(namespace)
        if paid_at is None or self._spent(key) < FREE:
            return 0.0
        return max(0.0, paid_at - BURST / PER_SECOND - clock.monotonic())

    def _charge(self, key: int, namespace: str, requests: int) -> None:
        now = clock.monotonic()
        if self._sent.age():
            self._paid_at = {namespace: at for namespace, at in self._paid_at.items() if at > now}
        free = max(FREE - self._spent(key), 0)
        self._sent.young[key] = self._sent.young.get(key, 0) + requests
        if requests > free:
            paid_at = max(self._paid_at.get(namespace, now), now)
            self._paid_at[namespace] = paid_at + (requests - free) / PER_SECOND

    def _spent(self, key: int) -> int:
        return self._sent.young.get(key, 0) + self._sent.old.get(key, 0)
