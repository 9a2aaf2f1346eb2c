"""Metrics of MLflow, read from the caches when somebody scrapes. See docs/metrics.md."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kagenti_operator import clock
from kagenti_operator.controllers.metrics import gauge
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.mlflow import status

_STATES = ("Managed", "Unmanaged", "Removed", "unset")


class RequestMetrics(Collector):
    """Requests to MLflow's REST API."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._last_success: float | None = None
        self._requests = Counter(
            "kagenti_mlflow_requests_total",
            "Requests to MLflow's REST API, by status code; <error> where no answer came",
            ("code",),
            registry=registry,
        )

    def observe(self, code: str) -> None:
        """Count a request; `<error>` where no answer came."""
        self._requests.labels(code).inc()
        if code == "200":
            self._last_success = clock.now().timestamp()

    def collect(self) -> Iterator[Metric]:
        """When MLflow last answered, once it has."""
        if self._last_success is not None:
            yield gauge(
                "kagenti_mlflow_last_contact_timestamp_seconds",
                "When MLflow's REST API last answered the operator with a success",
                self._last_success,
            )


class MLflowMetrics(Collector):
    """What the platform says of MLflow."""

    def __init__(self, mlflow: MLflowFacts) -> None:
        self._mlflow = mlflow

    def collect(self) -> Iterator[Metric]:
        """The component's state, the CR's condition, the Service's endpoints."""
        current, cr = self._mlflow.state or "unset", self._mlflow.cr
        states = GaugeMetricFamily(
            "kagenti_mlflow_management_state",
            "1 for the managementState of component mlflowoperator in the DataScienceCluster",
            labels=("state",),
        )
        for state in _STATES:
            states.add_metric((state,), state == current)
        yield states
        available = cr is not None and status.is_available(cr)
        yield gauge("kagenti_mlflow_available", "Whether the MLflow CR says that it is Available", available)
        yield gauge(
            "kagenti_mlflow_ready", "Whether MLflow's Service has a ready endpoint", self._mlflow.ready
        )
