"""The MLflow operand: made where it is wanted and nobody made it, and told when it is available."""

from collections.abc import Mapping
from typing import Any

import structlog

from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.failure_events import tell_refusal
from kagenti_operator.controllers.settings import (
    DATA_SCIENCE_CLUSTER,
    MANAGED_LABELS,
    MLFLOW_NAME,
    MLFLOW_NAMESPACE,
)
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.discovery import is_namespaced
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.kube.resources import DATA_SCIENCE_CLUSTERS, MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

log = structlog.get_logger("controllers.operand")


def build_operand(*, namespaced: bool) -> Mapping[str, Any]:
    """The MLflow CR of section 2.1 of the contract."""
    metadata: dict[str, Any] = {"name": MLFLOW_NAME, "labels": MANAGED_LABELS}
    if namespaced:
        metadata["namespace"] = MLFLOW_NAMESPACE
    return {
        "apiVersion": MLFLOWS.api_version,
        "kind": MLFLOWS.kind,
        "metadata": metadata,
        "spec": {
            "storage": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
            "backendStoreUri": "sqlite:////mlflow/mlflow.db",
            "artifactsDestination": "file:///mlflow/artifacts",
            "serveArtifacts": True,
        },
    }


def wants_operand(state: str | None, *, served: bool, current: MLflow | None) -> bool:
    """Whether a CR has to be made: never over one that exists, whoever made it."""
    return state == "Managed" and served and current is None


class OperandController:
    """One key: the MLflow CR."""

    name = "mlflow-operand"
    KEY = MLFLOW_NAME

    def __init__(self, client: KubeClient, cluster: Cluster, events: EventRecorder) -> None:
        self._client = client
        self._cluster = cluster
        self._events = events
        self._announced_crd = False
        self._announced_url: str | None = None

    async def reconcile(self, key: str) -> float | None:
        """Make the CR where it is wanted and missing; say what was found."""
        del key
        self._announce()
        served = self._cluster.mlflows.present
        if wants_operand(self._cluster.mlflow_state, served=served, current=self._cluster.mlflow):
            await self._create()
            return CONFIRM_SECONDS
        return None

    def _announce(self) -> None:
        present = self._cluster.mlflows.present
        if present and not self._announced_crd:
            log.info("MLflow CRD detected, discovering MLflow CR")
        self._announced_crd = present
        cr = self._cluster.mlflow
        if cr:
            for problem in status.malformed_urls(cr):
                self._events.warning(ObjectRef.of(MLFLOWS, cr), "MalformedAddress", problem)
        url = status.traces_url(cr) if cr and status.is_available(cr) else None
        if url and url != self._announced_url:
            log.info("Found available MLflow CR", name=MLFLOW_NAME, tracesURL=url)
        # A flapping server is not news; another address, or a CR that was gone in between, is.
        self._announced_url = url or (self._announced_url if cr else None)

    async def _create(self) -> None:
        try:
            # Created, not applied: an apply that lost a race would change somebody else's CR.
            namespaced = await is_namespaced(self._client, MLFLOWS)
            await self._client.create(MLFLOWS, build_operand(namespaced=namespaced))
        except ApiError as error:
            if error.conflict:
                return
            self._tell(error)
            raise
        log.info("Created MLflow CR", name=MLFLOW_NAME)

    def _tell(self, error: ApiError) -> None:
        dsc = self._cluster.data_science_clusters.store.get("", DATA_SCIENCE_CLUSTER)
        about = ObjectRef.of(DATA_SCIENCE_CLUSTERS, dsc) if dsc else None
        trouble = f"The MLflow resource '{MLFLOW_NAME}' could not be created"
        tell_refusal(self._events, about, "MLflowNotCreated", trouble, error)
