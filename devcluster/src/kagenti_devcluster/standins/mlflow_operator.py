"""Stand-in for the MLflow operator: migrates the database, runs the real server of the MLflow CR, reports.

On OpenShift AI and Open Data Hub it works, as the real one does, while the DataScienceCluster says `Managed`.
On `Removed` it installs nothing any more, but what serves an existing CR stays, CR and data included, until
somebody deletes the CR; until then a DataScienceCluster that is deleted waits.
"""

import random
from typing import Any

import structlog

from kagenti_devcluster.cluster.kubectl import FIELD_MANAGER, Manifest, packaged_manifests
from kagenti_devcluster.profiles import Profile
from kagenti_devcluster.standins.mlflow_migration import build_job, is_needed, job_name
from kagenti_devcluster.standins.mlflow_server import NAME, build_deployment, build_objects
from kagenti_devcluster.standins.mlflow_status import build_status
from kagenti_devcluster.standins.resources import (
    CLUSTER_ROLE_BINDINGS,
    FINALIZED_CLUSTERS,
    JOBS,
    MLFLOW_INSTANCES,
    PERSISTENT_VOLUME_CLAIMS,
    SERVERS,
    SERVICE_ACCOUNTS,
    SERVICES,
    FinalizedCluster,
    Job,
    MLflowInstance,
    Server,
)
from kagenti_operator import clock
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.resources import CLUSTER_ROLES, Resource
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

FINALIZER = "platform.opendatahub.io/finalizer"
_KEY = NAME
_APPLIED: dict[str, Resource[Any]] = {
    resource.kind: resource
    for resource in (
        CLUSTER_ROLE_BINDINGS,
        CLUSTER_ROLES,
        JOBS,
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
        profile: Profile,
        *,
        rng: random.Random,
        metrics: Metrics,
        gateway_url: str | None = None,
    ) -> None:
        self._client = client
        self._profile = profile
        self._gateway_url = gateway_url
        namespace = profile.applications
        self._clusters = Informer(client, Selection(resource=FINALIZED_CLUSTERS), rng)
        self._instances = Informer(client, Selection(resource=MLFLOW_INSTANCES), rng)
        self._servers = Informer(client, Selection(resource=SERVERS, namespace=namespace, name=NAME), rng)
        self._jobs = Informer(client, Selection(resource=JOBS, namespace=namespace), rng)
        self.informers = (self._clusters, self._instances, self._servers, self._jobs)
        controller = build_controller(self.name, self._reconcile, metrics, rng)
        controller.watches(self._clusters, lambda _: (_KEY,))
        controller.watches(self._instances, lambda _: (_KEY,))
        controller.watches(self._servers, lambda _: (_KEY,))
        controller.watches(self._jobs, lambda _: (_KEY,))
        self.controllers = (controller,)

    async def _reconcile(self, key: str) -> None:
        del key
        cr = next(iter(self._instances.cache.values()), None)
        for cluster in self._clusters.cache.values():
            await self._finalize(cluster, cr)
        if self._is_managed():
            for role in packaged_manifests("mlflow-roles"):
                await self._apply(role)
            if cr and not cr.metadata.deletion_timestamp:
                await self._serve(cr)
                await self._report(cr)
        elif cr is None:
            for role in packaged_manifests("mlflow-roles"):
                await self._client.delete(_APPLIED[role["kind"]], role["metadata"]["name"])

    def _is_managed(self) -> bool:
        clusters = self._clusters.cache.values()
        # Installed by hand elsewhere, where nobody says so.
        return not self._profile.openshift or any(
            c.mlflow_state == "Managed" and not c.going for c in clusters
        )

    async def _finalize(self, cluster: FinalizedCluster, cr: MLflowInstance | None) -> None:
        meta = cluster.metadata
        others = [name for name in meta.finalizers if name != FINALIZER]
        wanted = others if cluster.going and cr is None else [*others, FINALIZER]
        if (cluster.going and FINALIZER not in meta.finalizers) or sorted(wanted) == sorted(meta.finalizers):
            return
        change = {"metadata": {"finalizers": wanted, "resourceVersion": meta.resource_version}}
        try:
            await self._client.merge_patch(FINALIZED_CLUSTERS, meta.name, change)
        except ApiError as error:
            if not error.not_found:
                raise

    async def _serve(self, cr: MLflowInstance) -> None:
        profile, server, job = self._profile, self._server, self._job(cr)
        objects = build_objects(cr, profile)
        if not is_needed(cr, profile, job):
            objects.append(build_deployment(cr, profile))
        else:
            if server:
                objects.append(build_deployment(cr, profile, replicas=0))
            if self._may_migrate(cr, server):
                objects.append(build_job(cr, profile))
        for wanted in objects:
            if wanted["kind"] == PERSISTENT_VOLUME_CLAIMS.kind and await self._has_claim(wanted):
                # A claim cannot be changed, and outlives whatever the CR says later.
                continue
            await self._apply(wanted)

    def _may_migrate(self, cr: MLflowInstance, server: Server | None) -> bool:
        # A Job cannot be changed: the one of an earlier CR has to go first, and that wakes us.
        earlier = self._jobs.cache.get(self._profile.applications, job_name(cr, self._profile))
        return (earlier is None or self._job(cr) is not None) and not (
            server and server.status.ready_replicas
        )

    @property
    def _server(self) -> Server | None:
        return self._servers.cache.get(self._profile.applications, NAME)

    def _job(self, cr: MLflowInstance) -> Job | None:
        """The migration of that CR, and not of one that had its name before."""
        found = self._jobs.cache.get(self._profile.applications, job_name(cr, self._profile))
        owners = found.metadata.owner_references if found else ()
        return found if any(owner.uid == cr.metadata.uid for owner in owners) else None

    async def _apply(self, manifest: Manifest) -> None:
        await self._client.apply(_APPLIED[manifest["kind"]], manifest, field_manager=FIELD_MANAGER)

    async def _has_claim(self, wanted: dict[str, dict[str, str]]) -> bool:
        metadata = wanted["metadata"]
        found = await self._client.get(PERSISTENT_VOLUME_CLAIMS, metadata["name"], metadata["namespace"])
        return found is not None

    async def _report(self, cr: MLflowInstance) -> None:
        status = build_status(
            cr,
            self._profile,
            self._server,
            self._job(cr),
            now=clock.now(),
            gateway_url=self._gateway_url,
        )
        if {k: v for k, v in status.items() if v is not None} == cr.status:
            return
        meta = cr.metadata
        try:
            await self._client.patch_status(MLFLOW_INSTANCES, meta.name, status, meta.namespace or None)
        except ApiError as error:
            if not error.not_found:
                raise
        available = status["conditions"][0]
        log.info("Reported the status of MLflow", available=available["status"], reason=available["reason"])
