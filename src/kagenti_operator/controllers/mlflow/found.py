"""Logs which MLflow is found, and reports addresses in its status that are none."""

import structlog

from kagenti_operator import contract
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.traces_url import TracesURL, find_traces_url
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.resources import MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.standing import Standing

log = structlog.get_logger(__name__)


def setup(
    dependencies: Dependencies, mlflow: MLflowFacts, traces: Observable[TracesURL | None]
) -> Controller[str]:
    """Watch the MLflow CR, its CRD, and where it takes spans."""
    reconciler = FoundReconciler(dependencies, mlflow, traces)
    return build_singleton(
        dependencies,
        "mlflow-found",
        reconciler.reconcile,
        mlflow.mlflows,
        follows=(mlflow.mlflows.cache.served, traces),
    )


class FoundReconciler:
    """Logs each thing once, and again when it has changed."""

    def __init__(
        self, dependencies: Dependencies, mlflow: MLflowFacts, traces: Observable[TracesURL | None]
    ) -> None:
        self._events = dependencies.events
        self._mlflow = mlflow
        self._traces = traces
        # The CRD, and the address of an available CR.
        self._found = Standing[str]()

    async def reconcile(self) -> float | None:
        """Log what is there now and was not before."""
        if not self._mlflow.served:
            self._found.ends("crd")
        elif self._found.holds("crd", ""):
            log.info(contract.LOG_CRD_DETECTED)
        cr = self._mlflow.cr
        if cr is None:
            self._found.ends("cr")
            return None
        for problem in status.malformed_urls(cr):
            self._events.warning(ObjectRef.of(MLFLOWS, cr), "MalformedAddress", problem)
        url = find_traces_url(cr, self._traces.value) if status.is_available(cr) else None
        # A flapping server is not worth a line; another address, or a CR that was gone in between, is.
        if url and self._found.holds("cr", url):
            log.info(contract.LOG_CR_AVAILABLE, name=contract.MLFLOW, tracesURL=url)
        return None
