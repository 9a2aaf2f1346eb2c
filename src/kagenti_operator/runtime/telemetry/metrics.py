"""The runtime's metrics, under the names that dashboards for controller-runtime already use.

No label ever holds an object's name: ten thousand agents make no more series than one.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

# A subset of controller-runtime's 40 buckets (0.24, pkg/internal/controller/metrics): quantiles can be drawn
# from them just as well.
_RECONCILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# client-go has twelve decades from 10 ns on; an event loop does nothing below 10 µs.
_QUEUE_BUCKETS = (1e-05, 1e-04, 1e-03, 1e-02, 1e-01, 1.0, 10.0, 100.0, 1000.0)
_RESULTS = ("success", "error", "requeue", "requeue_after")


class QueueState(Protocol):
    """What is read from a work queue when somebody scrapes; durations are in seconds."""

    @property
    def depth(self) -> int:
        """How many keys a worker could take now."""
        ...

    @property
    def unfinished_seconds(self) -> float:
        """How long the keys that are in work have been so, added up."""
        ...

    @property
    def longest_running_seconds(self) -> float:
        """How long the key that is longest in work has been so."""
        ...


class ControllerMetrics:
    """The series of one controller and its work queue; fulfils `QueueObserver`."""

    def __init__(self, metrics: "Metrics", controller: str) -> None:
        self._metrics = metrics
        self._controller = controller
        # A series that first appears with its first error would hide that error from `rate()`.
        self._results = {r: metrics.reconciles.labels(controller, r) for r in _RESULTS}
        self._errors = metrics.reconcile_errors.labels(controller)
        self._panics = metrics.reconcile_panics.labels(controller)
        self._time = metrics.reconcile_time.labels(controller)
        self._adds = metrics.queue_adds.labels(controller, controller)
        self._retries = metrics.queue_retries.labels(controller, controller)
        self._waits = metrics.queue_latency.labels(controller, controller)
        self._work = metrics.queue_work.labels(controller, controller)

    def show(self, queue: QueueState, *, workers: int, active: Callable[[], int]) -> None:
        """Read these whenever somebody scrapes."""
        name, metrics = self._controller, self._metrics
        metrics.max_workers.labels(name).set(workers)
        metrics.active_workers.labels(name).set_function(active)
        # The priority of a queue without priorities.
        metrics.queue_depth.labels(name, name, "").set_function(lambda: queue.depth)
        metrics.queue_unfinished.labels(name, name).set_function(lambda: queue.unfinished_seconds)
        metrics.queue_longest.labels(name, name).set_function(lambda: queue.longest_running_seconds)

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a reconciliation: `success`, `error`, `requeue` or `requeue_after`."""
        self._results[result].inc()
        self._time.observe(seconds)
        if result == "error":
            self._errors.inc()

    def broke(self) -> None:
        """Count a failure that nobody had foreseen, which is what a panic is in Go."""
        self._panics.inc()

    def added(self) -> None:
        """Count a key that was added to the queue."""
        self._adds.inc()

    def retried(self) -> None:
        """Count a key that will come again because it failed."""
        self._retries.inc()

    def waited(self, seconds: float) -> None:
        """Observe a key's time in the queue."""
        self._waits.observe(seconds)

    def worked(self, seconds: float) -> None:
        """Observe the time that work on a key took."""
        self._work.observe(seconds)


class Metrics:
    """Every family of the runtime, in a registry of its own, to which others may add theirs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)

        self.reconciles = Counter(
            "controller_runtime_reconcile_total",
            "Total number of reconciliations per controller",
            ("controller", "result"),
            registry=registry,
        )
        self.reconcile_errors = Counter(
            "controller_runtime_reconcile_errors_total",
            "Total number of reconciliation errors per controller",
            ("controller",),
            registry=registry,
        )
        self.reconcile_panics = Counter(
            "controller_runtime_reconcile_panics_total",
            "Total number of reconciliations per controller that failed by a bug of the operator",
            ("controller",),
            registry=registry,
        )
        self.reconcile_time = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Length of time per reconciliation per controller",
            ("controller",),
            buckets=_RECONCILE_BUCKETS,
            registry=registry,
        )
        self.active_workers = Gauge(
            "controller_runtime_active_workers",
            "Number of currently used workers per controller",
            ("controller",),
            registry=registry,
        )
        self.max_workers = Gauge(
            "controller_runtime_max_concurrent_reconciles",
            "Maximum number of concurrent reconciles per controller",
            ("controller",),
            registry=registry,
        )

        queue = ("name", "controller")
        self.queue_depth = Gauge(
            "workqueue_depth", "Current depth of workqueue", (*queue, "priority"), registry=registry
        )
        self.queue_adds = Counter(
            "workqueue_adds_total", "Total number of adds handled by workqueue", queue, registry=registry
        )
        self.queue_retries = Counter(
            "workqueue_retries_total",
            "Total number of retries handled by workqueue",
            queue,
            registry=registry,
        )
        self.queue_latency = Histogram(
            "workqueue_queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested",
            queue,
            buckets=_QUEUE_BUCKETS,
            registry=registry,
        )
        self.queue_work = Histogram(
            "workqueue_work_duration_seconds",
            "How long in seconds processing an item from workqueue takes",
            queue,
            buckets=_QUEUE_BUCKETS,
            registry=registry,
        )
        self.queue_unfinished = Gauge(
            "workqueue_unfinished_work_seconds",
            "Seconds of work in progress not yet in work_duration; large values mean stuck workers",
            queue,
            registry=registry,
        )
        self.queue_longest = Gauge(
            "workqueue_longest_running_processor_seconds",
            "How many seconds the longest running worker of the workqueue has been running",
            queue,
            registry=registry,
        )

        self.requests = Counter(
            "rest_client_requests_total",
            "Number of HTTP requests to the Kubernetes API, by status code, method and host",
            ("code", "host", "method"),
            registry=registry,
        )
        self.leader = Gauge(
            "leader_election_master_status",
            "Whether this replica holds the lease: 1 means that it leads",
            ("name",),
            registry=registry,
        )

    def controller(self, name: str) -> ControllerMetrics:
        """Return the series of the controller of that name, each from zero."""
        return ControllerMetrics(self, name)

    def observe_request(self, method: str, host: str, code: int | str) -> None:
        """Count a request to the API server; `code` is its status, or `<error>` where none came, as in Go."""
        self.requests.labels(str(code), host, method).inc()

    def render(self) -> bytes:
        """Return all series in the Prometheus text format."""
        return generate_latest(self.registry)


def build_metrics_app(metrics: Metrics, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """Return the web application that serves `/metrics`; every request passes through the middlewares."""

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(middlewares=middlewares)
    app.router.add_get("/metrics", scrape)
    return app
