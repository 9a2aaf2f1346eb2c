"""The loop that takes keys from a work queue and reconciles them, whatever happens to any of them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable, Iterable
from functools import partial
from typing import Any, Protocol, Self

import structlog

from kagenti_operator import clock
from kagenti_operator.cancellation import StrayCancellation, is_being_cancelled
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.runtime.cache.object_cache import Added, Event, Handler, ObjectCache
from kagenti_operator.runtime.control.failure_log import FailureLog
from kagenti_operator.runtime.control.request_budget import OverBudget
from kagenti_operator.runtime.control.workqueue import WorkQueue
from kagenti_operator.runtime.control.write_backoff import WritesReverted
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.metrics import ControllerMetrics, Metrics

log = structlog.get_logger(__name__)

# How many keys are kept while a controller is suspended, which may be for ever, whereas objects come and go.
MAX_KEPT = 10_000

# Returns after how many seconds to come again, None where only an event brings the key back.
type Reconcile[K: Hashable] = Callable[[K], Awaitable[float | None]]
# Which keys an event concerns.
type Mapper[T: KubeObject, K: Hashable] = Callable[[Event[T]], Iterable[K]]


class Watched[T: KubeObject](Protocol):
    """The part of an Informer that is needed here."""

    @property
    def name(self) -> str:
        """What people know it by."""
        ...

    @property
    def cache(self) -> ObjectCache[T]:
        """The objects."""
        ...

    @property
    def synced(self) -> bool:
        """Whether the cache is complete."""
        ...

    async def wait_synced(self) -> None:
        """Return when `synced`."""
        ...

    def subscribe(self, handler: Handler[T]) -> None:
        """Call the handler after every change of the cache."""
        ...


class Controller[K: Hashable]:
    """One reconcile function, its queue and its workers."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile[K],
        queue: WorkQueue[K],
        *,
        metrics: ControllerMetrics,
        workers: int = 1,
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        """`reconcile` is retried with backoff after what it raises.

        KubeError and the `expected` classes are logged in one line; anything else is a bug, and logged with
        its traceback. An exception with a `retry_after` in seconds is retried no sooner. WritesReverted is no
        failure: the key comes again when it says so, and who raises it has logged it; nor is OverBudget.
        """
        self.name = name
        self._reconcile = reconcile
        self._queue = queue
        self._metrics = metrics
        self._workers = workers
        self._expected = (KubeError, *expected)
        self._active = 0
        self._running = False
        self._needed: list[Watched[Any]] = []
        self._replays: list[Callable[[], None]] = []
        self._suspensions: list[Observable[bool]] = []
        # Keys that came while the controller was suspended, in their order.
        self._kept: dict[K, None] = {}
        self._kept_all = True
        self._failures = FailureLog[K](name)
        metrics.show(queue, workers=workers, active=lambda: self._active)

    def enqueue(self, *keys: K) -> None:
        """Have these reconciled; before `run` they are kept until then."""
        for key in keys:
            self._queue.add(key)

    def watches[T: KubeObject](
        self, informer: Watched[T], keys: Mapper[T, K], *, needed: bool = True
    ) -> Self:
        """Reconcile the keys that `keys` gives for each event of `informer` while this controller runs.

        `needed`: the controller does not start before it is complete. Who works without it must not take
        what is not in the cache for gone while `informer.late`.

        When the controller starts, what the informer holds by then comes first, as additions: a replica that
        does not lead keeps no keys of objects that come and go, and misses nothing when it takes over.
        """

        def on_event(event: Event[T]) -> None:
            if self._running:
                self.enqueue(*keys(event))

        def replay() -> None:
            for obj in informer.cache:
                try:
                    self.enqueue(*keys(Added(obj)))
                except Exception:
                    # As with later events: one object that the mapper chokes on must not cost all others.
                    log.exception("An event handler failed", controller=self.name, informer=informer.name)

        informer.subscribe(on_event)
        self._replays.append(replay)
        if needed:
            self._needed.append(informer)
        return self

    def follows(self, observable: Observable[Any], keys: Callable[[], Iterable[K]]) -> Self:
        """Reconcile the keys that `keys` gives after each change of a value."""
        observable.subscribe(lambda: self.enqueue(*keys()))
        return self

    def suspend_while(self, suspended: Observable[bool]) -> Self:
        """Reconcile nothing while that is true; what comes meanwhile is reconciled afterwards.

        Of more than MAX_KEPT keys those that came last are not kept: what the informers hold comes instead.
        """
        self._suspensions.append(suspended)
        suspended.subscribe(self._resume)
        return self

    def _resume(self) -> None:
        if not self._is_suspended:
            kept, self._kept = self._kept, {}
            self.enqueue(*kept)
            if not self._kept_all:
                self._kept_all = True
                self._replay()

    def _keep(self, key: K) -> None:
        if key in self._kept or len(self._kept) < MAX_KEPT:
            self._kept[key] = None
        else:
            self._kept_all = False

    def _replay(self) -> None:
        for replay in self._replays:
            replay()

    @property
    def _is_suspended(self) -> bool:
        return any(suspended.value for suspended in self._suspensions)

    @property
    def running(self) -> bool:
        """Whether it works."""
        return self._running

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The names of the informers that it needs and that are not complete."""
        return tuple(informer.name for informer in self._needed if not informer.synced)

    async def wait_for_caches(self) -> None:
        """Return when all that it needs is complete."""
        while late := [informer for informer in self._needed if not informer.synced]:
            for informer in late:
                await informer.wait_synced()

    def resync(self) -> None:
        """Reconcile everything that the informers hold, if it works: it began when one was not complete."""
        if self._running:
            self._replay()

    async def run(self) -> None:
        """Work until `stop` is called; then return once what was in work is done."""
        self._running = True
        self._replay()
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
            if self._is_suspended:
                self._keep(key)
                self._queue.done(key)
                continue
            self._active += 1
            try:
                await self._handle(key)
            finally:
                self._active -= 1
                self._queue.done(key)
            # Neither the queue nor a reconciliation that sends no request gives way to anybody else.
            await asyncio.sleep(0)

    async def _handle(self, key: K) -> None:
        started = clock.monotonic()
        try:
            again_in = await self._reconcile(key)
        except WritesReverted as reverted:
            self._failures.forget(key)
            result = self._come_again(key, reverted.retry_after)
        except OverBudget as over:
            # Nothing was looked at: what is known of earlier failures goes on to hold.
            over.wait(partial(self._queue.add, key))
            result = "requeue_after"
        except self._expected as error:
            self._failed(key, error, bug=False)
            result = "error"
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            # The worker would end, and a task group takes no notice of a task that was cancelled.
            self._failed(key, StrayCancellation("what it waited for was cancelled"), bug=False)
            result = "error"
        except Exception as error:  # noqa: BLE001 - logged in full, and no key may stop the others
            self._metrics.broke()
            self._failed(key, error, bug=True)
            result = "error"
        else:
            result = self._succeeded(key, again_in)
        self._metrics.reconciled(result, clock.monotonic() - started)

    def _succeeded(self, key: K, again_in: float | None) -> str:
        self._failures.succeeded(key)
        if again_in is not None and again_in <= 0:
            self._queue.add_rate_limited(key)
            return "requeue"
        return self._come_again(key, again_in)

    def _come_again(self, key: K, again_in: float | None) -> str:
        self._queue.forget(key)
        # What an earlier reconciliation asked for is out of date, and the object may be gone.
        self._queue.cancel(key)
        if again_in is None:
            return "success"
        self._queue.add_after(key, again_in)
        return "requeue_after"

    def _failed(self, key: K, error: Exception, *, bug: bool) -> None:
        retry_after = getattr(error, "retry_after", None)
        at_least = float(retry_after) if isinstance(retry_after, (int, float)) else 0.0
        retry_in = self._queue.add_rate_limited(key, at_least=at_least)
        self._failures.failed(key, error, retry_in=retry_in, bug=bug)


def build_controller[K: Hashable](
    name: str,
    reconcile: Reconcile[K],
    metrics: Metrics,
    rng: random.Random,
    *,
    queue: WorkQueue[K] | None = None,
    workers: int = 1,
    expected: tuple[type[Exception], ...] = (),
) -> Controller[K]:
    """Build a controller; without a `queue` it has one in which all keys are served first in, first out."""
    own = metrics.controller(name)
    if queue is None:
        queue = WorkQueue[K](observer=own, rng=rng)
    return Controller(name, reconcile, queue, metrics=own, workers=workers, expected=expected)
