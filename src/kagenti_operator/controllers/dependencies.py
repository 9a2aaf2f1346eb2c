"""What every controller may use."""

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from kagenti_operator.controllers.settings import Settings
from kagenti_operator.controllers.suspended import Suspended
from kagenti_operator.keycloak.client import KeycloakClient
from kagenti_operator.keycloak.errors import KeycloakError
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.cache.shared_informers import SharedInformers
from kagenti_operator.runtime.control.controller import Controller, Reconcile, build_controller
from kagenti_operator.runtime.control.request_budget import RequestBudget
from kagenti_operator.runtime.control.workqueue import WorkQueue
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """Clients, caches and recorders; `agents_mlflow` gives up sooner than `mlflow`: queues move on.

    `unfenced`: writes from replicas that do not lead too, with an Event recorder of its own: for what every
    replica serves. `keycloak`: None where clients are not registered. `budget`: what each namespace may cost,
    for every controller that works for tenants.
    """

    settings: Settings
    client: KubeClient
    unfenced: KubeClient
    informers: SharedInformers
    mlflow: MLflowClient
    agents_mlflow: MLflowClient
    events: EventRecorder
    unfenced_events: EventRecorder
    metrics: Metrics
    rng: random.Random
    keycloak: KeycloakClient | None = None
    suspended: Suspended = field(default_factory=Suspended)
    budget: RequestBudget = field(default_factory=RequestBudget)

    def queue[K: Hashable](
        self, name: str, bucket: Callable[[K], Hashable], *, most_in_work: int | None = None
    ) -> WorkQueue[K]:
        """A work queue for the controller of that name, with buckets: see WorkQueue."""
        observer = self.metrics.controller(name)
        return WorkQueue[K](observer=observer, rng=self.rng, bucket=bucket, most_in_work=most_in_work)

    def controller[K: Hashable](
        self, name: str, reconcile: Reconcile[K], *, queue: WorkQueue[K] | None = None, workers: int = 1
    ) -> Controller[K]:
        """A controller whose failures to reach MLflow and Keycloak are expected ones."""
        expected = (MLflowError, KeycloakError)
        return build_controller(
            name, reconcile, self.metrics, self.rng, queue=queue, workers=workers, expected=expected
        )
