"""The experiment that the collector's spans go to: found or made through MLflow's REST API."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.kube.resources import MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.mlflow.client import Experiment, MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

log = structlog.get_logger("controllers.experiment")

# A refusal may end by a grant or a namespace that the operator does not watch.
REFUSED_SECONDS = 15.0


@dataclass(frozen=True)
class Resolved:
    """An experiment that exists in MLflow, and the server and workspace where it does."""

    base_url: str
    workspace: str
    experiment: Experiment


class ExperimentController:
    """One key: the collector's experiment. `resolved` is read by the collector's configuration."""

    name = "experiment"
    KEY = "experiment"

    def __init__(
        self,
        cluster: Cluster,
        mlflow: MLflowClient,
        events: EventRecorder,
        *,
        rng: random.Random,
        on_change: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._mlflow = mlflow
        self._events = events
        self._rng = rng
        self._on_change = on_change
        self._refusal_told: str | None = None
        self.resolved: Resolved | None = None

    async def reconcile(self, key: str) -> float | None:
        """Make sure that the experiment exists, as long as MLflow is available and a workspace is set."""
        del key
        settings = self._cluster.settings
        cr = self._cluster.mlflow
        if cr is None:
            self.resolved = None
        base_url = status.rest_url(cr) if cr and status.is_available(cr) else None
        if base_url is None or not settings.mlflow_workspace or not self._cluster.mlflow_ready:
            return None
        workspace, name = settings.mlflow_workspace, settings.mlflow_experiment_name
        try:
            experiment = await self._mlflow.ensure_experiment(base_url, workspace, name)
        except MLflowError as error:
            self._tell(workspace, name, error)
            if error.retryable:
                raise
            # Asked again and again for as long as it takes, so the log has each refusal once.
            if str(error) != self._refusal_told:
                log.warning("MLflow experiment refused", name=name, workspace=workspace, error=str(error))
            self._refusal_told = str(error)
            return REFUSED_SECONDS
        self._refusal_told = None
        self._keep(Resolved(base_url, workspace, experiment))
        return settings.mlflow_poll_seconds * self._rng.uniform(0.9, 1.1)

    def _keep(self, resolved: Resolved) -> None:
        if resolved == self.resolved:
            return
        self.resolved = resolved
        log.info(
            "Created/found MLflow experiment",
            name=resolved.experiment.name,
            workspace=resolved.workspace,
            experimentID=resolved.experiment.id,
        )
        self._on_change()

    def _tell(self, workspace: str, name: str, error: MLflowError) -> None:
        cr = self._cluster.mlflow
        if cr:
            self._events.warning(
                ObjectRef.of(MLFLOWS, cr),
                "ExperimentNotAvailable",
                f"Experiment '{name}' in workspace '{workspace}' could not be made or found: {error}",
            )
