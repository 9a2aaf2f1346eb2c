"""Stand-in for OpenShift AI's MLflow operator: makes the real server of the MLflow CR and reports its status.

Like the real one it works while the DataScienceCluster says `Managed`. On `Removed` it installs nothing any
more, but what serves an existing CR stays, CR and data included, until somebody deletes the CR.
"""

import random
from typing import Any

import structlog

from kagenti_devcluster.cluster.kubectl import FIELD_MANAGER, Manifest, packaged_manifests
from kagenti_devcluster.standins.mlflow_server import NAME, NAMESPACE, build_objects, build_status
from kagenti_devcluster.standins.resources import (
    CLUSTER_ROLE_BINDINGS,
    MLFLOW_INSTANCES,
    PERSISTENT_VOLUME_CLAIMS,
    SERVERS,
    SERVICE_ACCOUNTS,
    SERVICES,
    MLflowInstance,
)
from kagenti_operator import clock
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import (
    CLUSTER_ROLES,
    CUSTOM_RESOURCE_DEFINITIONS,
    DATA_SCIENCE_CLUSTERS,
    Resource,
)
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Selection
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_KEY = NAME
_APPLIED: dict[str, Resource[Any]] = {
    resource.kind: resource
    for resource in (
        CLUSTER_ROLE_BINDINGS,
        CLUSTER_ROLES,
        PERSISTENT_VOLUME_CLAIMS,
        SERVERS,
        SERVICE_ACCOUNTS,
        SERVICES,
    )
}


class MLflowOperator:
    """One key: the CR and all that comes of it."""

    name = "mlflow-operator"

    def __init__(
        self,
        client: KubeClient,
        *,
        rng: random.Random,
        metrics: Metrics,
        gateway_url: str | None = None,
    ) -> None:
        self._client = client
        self._gateway_url = gateway_url
        self._clusters = Informer(client, Selection(resource=DATA_SCIENCE_CLUSTERS), rng)
        self._instances = Informer(client, Selection(resource=MLFLOW_INSTANCES), rng)
        self._servers = Informer(client, Selection(resource=SERVERS, namespace=NAMESPACE, name=NAME), rng)
        self._definitions = Informer(client, Selection(resource=CUSTOM_RESOURCE_DEFINITIONS), rng)
        self._definitions.subscribe(self._on_definition)
        self.informers = (self._definitions, self._clusters, self._instances, self._servers)
        controller = build_controller(self.name, self._reconcile, metrics, rng)
        controller.watches(self._clusters, lambda _: (_KEY,))
        controller.watches(self._instances, lambda _: (_KEY,))
        controller.watches(self._servers, lambda _: (_KEY,))
        self.controllers = (controller,)

    def _on_definition(self, event: Event[KubeObject]) -> None:
        for informer in (self._clusters, self._instances):
            if informer.resource.crd_name == event.object.metadata.name:
                informer.retry_now()

    async def _reconcile(self, key: str) -> None:
        del key
        cr = next(iter(self._instances.cache.values()), None)
        managed = any(dsc.mlflow_state == "Managed" for dsc in self._clusters.cache.values())
        if managed:
            for role in packaged_manifests("mlflow-roles"):
                await self._apply(role)
            if cr and not cr.metadata.deletion_timestamp:
                await self._serve(cr)
                await self._report(cr)
        elif cr is None:
            for role in packaged_manifests("mlflow-roles"):
                await self._client.delete(_APPLIED[role["kind"]], role["metadata"]["name"])

    async def _serve(self, cr: MLflowInstance) -> None:
        for wanted in build_objects(cr):
            if wanted["kind"] == PERSISTENT_VOLUME_CLAIMS.kind and await self._has_claim(wanted):
                # A claim cannot be changed, and outlives whatever the CR says later.
                continue
            await self._apply(wanted)

    async def _apply(self, manifest: Manifest) -> None:
        await self._client.apply(_APPLIED[manifest["kind"]], manifest, field_manager=FIELD_MANAGER)

    async def _has_claim(self, wanted: dict[str, dict[str, str]]) -> bool:
        found = await self._client.get(PERSISTENT_VOLUME_CLAIMS, wanted["metadata"]["name"], NAMESPACE)
        return found is not None

    async def _report(self, cr: MLflowInstance) -> None:
        server = self._servers.cache.get(NAMESPACE, NAME)
        status = build_status(cr, server, now=clock.now(), gateway_url=self._gateway_url)
        if {k: v for k, v in status.items() if v is not None} == cr.status:
            return
        meta = cr.metadata
        try:
            await self._client.patch_status(MLFLOW_INSTANCES, meta.name, status, meta.namespace or None)
        except ApiError as error:
            if not error.not_found:
                raise
        log.info("Reported the status of MLflow", available=status["conditions"][0]["status"])
