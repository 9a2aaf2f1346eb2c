"""The experiment that the collector's spans go to: found or made through MLflow's REST API."""

import msgspec
import structlog

from kagenti_operator import contract
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments, Resolved
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.resources import MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.mlflow.client import Experiment
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.mlflow.workspaces import explain_refusal
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.standing import Standing

log = structlog.get_logger(__name__)

# A refusal may end by a grant or a namespace that the operator does not watch.
REFUSED_SECONDS = 15.0


def setup(dependencies: Dependencies, mlflow: MLflowFacts, own: CollectorExperiments) -> Controller[str]:
    """Watch the MLflow CR and its endpoints; what is found goes into `own`."""
    reconciler = ExperimentReconciler(dependencies, mlflow, own)
    name = "experiment"
    controller = build_singleton(dependencies, name, reconciler.reconcile, mlflow.mlflows, mlflow.endpoints)
    return controller.suspend_while(dependencies.suspended.experiment)


class ExperimentReconciler:
    """Makes sure that the experiment exists, as long as MLflow is available and a workspace is set."""

    def __init__(self, dependencies: Dependencies, mlflow: MLflowFacts, own: CollectorExperiments) -> None:
        self._settings = dependencies.settings
        self._client = dependencies.mlflow
        self._events = dependencies.events
        self._rng = dependencies.rng
        self._mlflow = mlflow
        self._own = own
        self._refusal = Standing[None]()

    async def reconcile(self) -> float | None:
        """Find or make the experiment; poll it, because MLflow cannot be watched."""
        settings, cr = self._settings, self._mlflow.cr
        if cr is None:
            self._own.resolved.set(None)
        base_url = status.rest_url(cr) if cr and status.is_available(cr) else None
        if cr is None or base_url is None or not settings.mlflow_workspace or not self._mlflow.ready:
            return None
        workspace, name = settings.mlflow_workspace, settings.mlflow_experiment_name
        try:
            experiment = await self._find(base_url, workspace, name)
        except MLflowError as error:
            why = " ".join(filter(None, (str(error), explain_refusal(cr, workspace, error))))
            self._events.warning(
                ObjectRef.of(MLFLOWS, cr),
                "ExperimentNotAvailable",
                f"Experiment '{name}' in workspace '{workspace}' could not be made or found: {why}",
            )
            if error.retryable:
                raise
            # Asked for as long as it takes, so the log has each refusal once.
            if self._refusal.holds(None, why):
                log.warning("MLflow experiment refused", name=name, workspace=workspace, error=why)
            return REFUSED_SECONDS
        self._refusal.ends(None)
        self._keep(Resolved(base_url, workspace, experiment), name)
        return settings.mlflow_poll_seconds * self._rng.uniform(0.9, 1.1)

    async def _find(self, base_url: str, workspace: str, name: str) -> Experiment:
        """The experiment by its id, which outlives a new name; by name where there is none of ours now."""
        known = self._own.last(workspace, name)
        found = await self._client.get_experiment(base_url, workspace, known.id) if known else None
        if known and found and known.is_same(found):
            if not found.deleted:
                return found
            if await self._client.restore_experiment(base_url, workspace, found.id):
                return msgspec.structs.replace(found, lifecycle_stage="active")
        return await self._client.ensure_experiment(base_url, workspace, name)

    def _keep(self, resolved: Resolved, name: str) -> None:
        if resolved != self._own.resolved.value:
            log.info(
                contract.LOG_EXPERIMENT,
                name=resolved.experiment.name,
                workspace=resolved.workspace,
                experimentID=resolved.experiment.id,
            )
        self._own.found(resolved, name)
