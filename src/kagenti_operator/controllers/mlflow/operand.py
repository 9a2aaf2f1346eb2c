"""The MLflow operand: made where it is wanted and nobody made it."""

import structlog

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.discovery import is_namespaced
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.manifests import Manifest, build_manifest
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.kube.resources import DATA_SCIENCE_CLUSTERS, MLFLOWS
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.events import ObjectRef

log = structlog.get_logger(__name__)


def setup(dependencies: Dependencies, mlflow: MLflowFacts) -> Controller[str]:
    """Watch what decides whether an operand is wanted. A CRD without objects matters here: one may be due."""
    reconciler = OperandReconciler(dependencies, mlflow)
    return build_singleton(
        dependencies,
        "mlflow-operand",
        reconciler.reconcile,
        mlflow.data_science_clusters,
        mlflow.mlflows,
        follows=(mlflow.mlflows.cache.served,),
    ).suspend_while(dependencies.suspended.mlflow)


def build_operand(names: Names, *, namespaced: bool) -> Manifest:
    """Build the MLflow CR of section 2.1 of the contract."""
    return build_manifest(
        MLFLOWS,
        contract.MLFLOW,
        contract.MLFLOW_NAMESPACE if namespaced else "",
        labels=names.managed_labels,
        spec={
            "storage": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": contract.OPERAND_STORAGE}},
            },
            "backendStoreUri": contract.OPERAND_BACKEND_STORE,
            "artifactsDestination": contract.OPERAND_ARTIFACTS,
            "serveArtifacts": True,
        },
    )


def wants_operand(state: str | None, *, served: bool, current: MLflow | None) -> bool:
    """Whether a CR has to be made: never over one that exists, whoever made it."""
    return state == "Managed" and served and current is None


class OperandReconciler:
    """Makes the MLflow CR where it is wanted and missing."""

    def __init__(self, dependencies: Dependencies, mlflow: MLflowFacts) -> None:
        self._client = dependencies.client
        self._applier = Applier(dependencies.client)
        self._events = dependencies.events
        self._settings = dependencies.settings
        self._names = dependencies.settings.names
        self._mlflow = mlflow

    async def reconcile(self) -> float | None:
        """Make the CR where that is due."""
        mlflow, permitted = self._mlflow, self._settings.mlflow_create_operand
        if permitted and wants_operand(mlflow.state, served=mlflow.served, current=mlflow.cr):
            await self._create()
            return CONFIRM_SECONDS
        if mlflow.cr:
            self._applier.settled(MLFLOWS, mlflow.cr)
        elif mlflow.state != "Managed":
            for namespace in ("", contract.MLFLOW_NAMESPACE):
                self._applier.forget(MLFLOWS, namespace, contract.MLFLOW)
        return None

    async def _create(self) -> None:
        found = self._mlflow.data_science_cluster
        about = ObjectRef.of(DATA_SCIENCE_CLUSTERS, found) if found else None
        consequence = f"The MLflow resource '{contract.MLFLOW}' could not be created"
        with failures_recorded(self._events, about, "MLflowNotCreated", consequence):
            try:
                # Created, not applied: an apply that lost a race would change somebody else's CR.
                namespaced = await is_namespaced(self._client, MLFLOWS)
                await self._applier.create(MLFLOWS, build_operand(self._names, namespaced=namespaced))
            except ApiError as error:
                if error.conflict:
                    return
                raise
        log.info("Created MLflow CR", name=contract.MLFLOW)
