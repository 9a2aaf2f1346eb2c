"""The loop that takes keys from a work queue and reconciles them, whatever happens to any of them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol

import structlog

from kagenti_operator import clock
from kagenti_operator.backoff import Backoff
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.runtime.cache.object_cache import Handler
from kagenti_operator.runtime.cache.store import Store
from kagenti_operator.runtime.control.workqueue import WorkQueue
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger("runtime.controller")

type Reconcile = Callable[[str], Awaitable[float | None]]


# A failure that stays the same is logged again after so long, in the end every ten minutes.
_REMINDER = Backoff(first=10.0, longest=600.0)


class Watched[T: KubeObject](Protocol):
    """The part of an Informer that is needed here."""

    @property
    def name(self) -> str:
        """What people know it by."""
        ...

    @property
    def store(self) -> Store[T]:
        """The cache."""
        ...

    def subscribe(self, handler: Handler[T]) -> None:
        """Call the handler after every change of the cache."""
        ...


class _Trouble:
    """What is wrong with one key, since when, and when people are to hear of it again."""

    def __init__(self, now: float) -> None:
        self.failures = 0
        self.since = now
        self._text = ""
        self._logged = 0
        self._remind_at = now

    def worth_telling(self, text: str, now: float) -> bool:
        """Take note of a failure; return whether it is new, or the last word on it is long ago."""
        self.failures += 1
        if text != self._text:
            self._text, self._logged = text, 0
        elif now < self._remind_at:
            return False
        self._logged += 1
        self._remind_at = now + _REMINDER.step(self._logged)
        return True


class Controller:
    """One reconcile function, its queue and its workers."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        *,
        metrics: Metrics,
        rng: random.Random,
        workers: int = 1,
        bucket: Callable[[str], Hashable] | None = None,
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        """`reconcile` returns the seconds after which to come again, or None.

        What it raises is tried again with backoff: KubeError and the `expected` classes are told in one line,
        anything else is a bug and told with its traceback. An exception with a `retry_after` in seconds is
        tried again no sooner. `bucket`: see `WorkQueue`.
        """
        self.name = name
        self._reconcile = reconcile
        self._metrics = metrics.controller(name)
        self._workers = workers
        self._expected = (KubeError, *expected)
        self._queue = WorkQueue[str](observer=self._metrics, rng=rng, bucket=bucket)
        self._active = 0
        self._running = False
        self._replays: list[Callable[[], None]] = []
        self._troubles: dict[str, _Trouble] = {}
        self._metrics.show(self._queue, workers=workers, active=lambda: self._active)

    def enqueue(self, key: str) -> None:
        """Have `key` reconciled; before `run` it is kept until then."""
        self._queue.add(key)

    def watches[T: KubeObject](self, informer: Watched[T], handler: Handler[T]) -> None:
        """Call `handler(old, new)` for every change that `informer` sees while this controller runs.

        When the controller starts, what the informer holds by then is told first, as additions: a replica
        that does not lead keeps no keys of objects that come and go, and misses nothing when it takes over.
        """

        def on_change(old: T | None, new: T | None) -> None:
            if self._running:
                handler(old, new)

        def replay() -> None:
            for obj in informer.store.values():
                try:
                    handler(None, obj)
                except Exception:
                    # As with later changes: one object that a handler chokes on must not cost all others.
                    log.exception("A handler failed", controller=self.name, informer=informer.name)

        informer.subscribe(on_change)
        self._replays.append(replay)

    async def run(self) -> None:
        """Work until `stop` is called; then return once what was in work is done."""
        self._running = True
        for replay in self._replays:
            replay()
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"{self.name} worker {number}")
        finally:
            self._running = False
            self._queue.shut_down()

    def stop(self) -> None:
        """Begin no further reconciliation."""
        self._queue.shut_down()

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except asyncio.QueueShutDown:
                return
            self._active += 1
            try:
                await self._handle(key)
            finally:
                self._active -= 1
                self._queue.done(key)
            # Neither the queue nor a reconciliation that sends no request gives way to anybody else.
            await asyncio.sleep(0)

    async def _handle(self, key: str) -> None:
        started = clock.monotonic()
        try:
            again_in = await self._reconcile(key)
        except self._expected as error:
            self._failed(key, error, bug=False)
            result = "error"
        except Exception as error:  # noqa: BLE001 - told in full, and no key may stop the others
            self._metrics.broke()
            self._failed(key, error, bug=True)
            result = "error"
        else:
            result = self._succeeded(key, again_in)
        self._metrics.reconciled(result, clock.monotonic() - started)

    def _succeeded(self, key: str, again_in: float | None) -> str:
        trouble = self._troubles.pop(key, None)
        if trouble:
            log.info(
                "Reconciled after failing",
                controller=self.name,
                key=key,
                failures=trouble.failures,
                seconds=round(clock.monotonic() - trouble.since, 3),
            )
        if again_in is not None and again_in <= 0:
            self._queue.add_rate_limited(key)
            return "requeue"
        self._queue.forget(key)
        # What an earlier reconciliation asked for is out of date, and the object may be gone.
        self._queue.cancel(key)
        if again_in is None:
            return "success"
        self._queue.add_after(key, again_in)
        return "requeue_after"

    def _failed(self, key: str, error: Exception, *, bug: bool) -> None:
        retry_after = getattr(error, "retry_after", None)
        at_least = float(retry_after) if isinstance(retry_after, (int, float)) else 0.0
        retry_in = self._queue.add_rate_limited(key, at_least=at_least)
        now = clock.monotonic()
        trouble = self._troubles.setdefault(key, _Trouble(now))
        if not trouble.worth_telling(f"{type(error).__name__}: {error}", now):
            return
        facts: dict[str, Any] = {
            "controller": self.name,
            "key": key,
            "error": str(error) or type(error).__name__,
            "failures": trouble.failures,
            "retryIn": f"{retry_in:.3g}s",
        }
        if bug:
            log.error("Reconciling broke, which is a bug of the operator", exc_info=error, **facts)
        else:
            log.warning("Reconciling failed, will try again", **facts)
