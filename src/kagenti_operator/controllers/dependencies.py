"""What every controller may use."""

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from kagenti_operator.controllers.settings import Settings
from kagenti_operator.controllers.suspended import Suspended
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.cache.shared_informers import SharedInformers
from kagenti_operator.runtime.control.controller import Controller, Reconcile, build_controller
from kagenti_operator.runtime.control.workqueue import WorkQueue
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Clients, caches and recorders; `agents_mlflow` gives up sooner than `mlflow`: queues move on."""

    settings: Settings
    client: KubeClient
    informers: SharedInformers
    mlflow: MLflowClient
    agents_mlflow: MLflowClient
    events: EventRecorder
    metrics: Metrics
    rng: random.Random
    suspended: Suspended = field(default_factory=Suspended)

    def queue[K: Hashable](self, name: str, bucket: Callable[[K], Hashable]) -> WorkQueue[K]:
        """A work queue with buckets for the controller of that name."""
        return WorkQueue[K](observer=self.metrics.controller(name), rng=self.rng, bucket=bucket)

    def controller[K: Hashable](
        self, name: str, reconcile: Reconcile[K], *, queue: WorkQueue[K] | None = None, workers: int = 1
    ) -> Controller[K]:
        """A controller whose failures to reach MLflow are expected ones."""
        expected = (MLflowError,)
        return build_controller(
            name, reconcile, self.metrics, self.rng, queue=queue, workers=workers, expected=expected
        )
