"""Bounds how many requests one namespace costs whose objects change over and over.

Whatever happens to an object once costs what it costs, at once, also to thousands of a namespace. Only keys
that have sent requests before and come again share a rate with all such keys of their namespace, in every
controller, however many they are and however rarely each comes. What takes something away is free, and waits
for nothing: it needs a grant before it, which is not.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass, field

from kagenti_operator import clock
from kagenti_operator.requests_sent import counting
from kagenti_operator.runtime.control.generations import Generations

# So many requests of a key are free until it has sent none for one to two hours: an agent needs five to be
# configured.
FREE = 12
FREE_SECONDS = 3600.0
# What all that is beyond that costs in a namespace. Taking it away again comes on top, about as much.
PER_SECOND = 8.0
BURST = 100.0
# Nobody waits longer for what was sent before, however much that was.
MOST_DEBT_SECONDS = 10.0
# Between two that waited: what the first one sends is known by then.
TURN_SECONDS = 0.05
# Of more keys what was spent is forgotten sooner: twice as many are kept, in about 2 MiB.
MOST_KEYS = 20_000


class OverBudget(Exception):
    """The key has to wait until its namespace may send requests again.

    `wait`: takes what to call when it is the key's turn: once, however often it comes meanwhile.
    """

    def __init__(self, namespace: str, wait: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(f"objects of namespace {namespace} change too often to be followed at once")
        self.wait = wait


@dataclass(slots=True)
class _Account:
    """What a namespace owes, and who waits until it is paid: first in, first out."""

    # Until when all that was sent is paid for.
    paid_at: float
    waiting: OrderedDict[int, Callable[[], None]] = field(
        default_factory=OrderedDict[int, Callable[[], None]]
    )
    # Whose turn it is.
    called: set[int] = field(default_factory=set[int])
    alarm: asyncio.TimerHandle | None = None

    @property
    def ready_at(self) -> float:
        return self.paid_at - BURST / PER_SECOND

    def charge(self, requests: int) -> None:
        now = clock.monotonic()
        paid_at = max(self.paid_at, now) + requests / PER_SECOND
        self.paid_at = min(paid_at, now + BURST / PER_SECOND + MOST_DEBT_SECONDS)

    def may_go(self, key: int) -> bool:
        if key in self.called:
            self.called.remove(key)
            return True
        return not self.waiting and self.ready_at <= clock.monotonic()

    def wait(self, key: int, wake: Callable[[], None]) -> None:
        self.waiting.setdefault(key, wake)
        if self.alarm is None:
            self._set_alarm(self.ready_at)

    def _set_alarm(self, when: float) -> None:
        self.alarm = asyncio.get_running_loop().call_at(max(when, clock.monotonic()), self._call_next)

    def _call_next(self) -> None:
        self.alarm, now = None, clock.monotonic()
        if self.waiting and self.ready_at <= now:
            key, wake = self.waiting.popitem(last=False)
            self.called.add(key)
            wake()
        if self.waiting:
            self._set_alarm(max(self.ready_at, now + TURN_SECONDS))


class RequestBudget:
    """What keys have spent lately, and until when namespaces have to save."""

    def __init__(self) -> None:
        self._sent = Generations[int](seconds=FREE_SECONDS, most=MOST_KEYS)
        self._accounts: dict[str, _Account] = {}
        # Who came to take something away, did not wait for it, and then took nothing.
        self._in_vain: set[int] = set()

    def __len__(self) -> int:
        """Of how many keys and namespaces something is remembered."""
        return len(self._sent) + len(self._accounts) + len(self._in_vain)

    @contextmanager
    def spending(
        self, key: Hashable, namespace: str, *, takes: Callable[[], bool] = lambda: False
    ) -> Generator[None]:
        """Charge the namespace with what the block sends for that key, unless it takes something away.

        `takes`: whether it may, asked only where it would have to wait. Raises OverBudget before the block.
        """
        digest, at_once = hash(key), False
        account = self._accounts.get(namespace)
        if account and self._spent(digest) >= FREE and not account.may_go(digest):
            at_once = digest not in self._in_vain and takes()
            if not at_once:
                raise OverBudget(namespace, lambda wake: account.wait(digest, wake))
        with counting() as sent:
            try:
                yield
            finally:
                if sent.took:
                    self._in_vain.discard(digest)
                elif sent.number > 0:
                    self._charge(digest, namespace, sent.number)
                    if at_once:
                        self._in_vain.add(digest)

    def _charge(self, key: int, namespace: str, requests: int) -> None:
        now = clock.monotonic()
        if self._sent.age():
            self._accounts = {
                namespace: account
                for namespace, account in self._accounts.items()
                if account.paid_at > now or account.waiting
            }
            self._in_vain &= self._sent.old.keys()
        spent = self._spent(key)
        self._sent.young[key] = spent + requests
        if spent + requests > FREE:
            account = self._accounts.setdefault(namespace, _Account(now))
            account.charge(min(spent + requests - FREE, requests))

    def _spent(self, key: int) -> int:
        return self._sent.young.get(key) or self._sent.old.get(key, 0)
