"""Reports an MLflow that says it is Available, but whose Service has no ready endpoint."""

from collections.abc import Iterable

from kagenti_operator import clock
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.http.service import Service
from kagenti_operator.kube.resources import MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

# The condition and the endpoints change one after the other, also where all is well.
PATIENCE_SECONDS = 10.0


def setup(dependencies: Dependencies, mlflow: MLflowFacts) -> Controller[str]:
    """Watch the MLflow CR and its endpoints."""
    reconciler = ReadinessReconciler(dependencies, mlflow)
    name = "mlflow-readiness"
    return build_singleton(dependencies, name, reconciler.reconcile, mlflow.mlflows, mlflow.endpoints)


def report_unready(service: Service) -> Iterable[Report]:
    """Report which Service is looked at, and what waits for it."""
    yield Report(
        reason="NoReadyEndpoint",
        message=f"MLflow is Available, but Service {service}, which its status.address names, has no "
        "ready endpoint: no access is granted and no experiment is made before it has one. Look at the "
        "Service's pods and EndpointSlices; if MLflow is elsewhere, correct the status.",
        log=True,
    )


class ReadinessReconciler:
    """Says so once it has lasted, and again before the Event expires."""

    def __init__(self, dependencies: Dependencies, mlflow: MLflowFacts) -> None:
        self._mlflow = mlflow
        self._reporter = Reporter[str](dependencies.events, __name__)
        self._since: float | None = None

    async def reconcile(self) -> float | None:
        """Compare the condition with the endpoints."""
        cr, service = self._mlflow.cr, self._mlflow.service
        if cr is None:
            self._since = None
            self._reporter.forget("endpoints")
            return None
        about = ObjectRef.of(MLFLOWS, cr)
        if service is None or self._mlflow.ready or not status.is_available(cr):
            self._since = None
            self._reporter.report("endpoints", about, ())
            return None
        now = clock.monotonic()
        self._since = self._since if self._since is not None else now
        left = self._since + PATIENCE_SECONDS - now
        if left > 0:
            return left
        self._reporter.report("endpoints", about, report_unready(service))
        return 300.0
