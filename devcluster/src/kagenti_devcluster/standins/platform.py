"""The platform that the operator finds: installed into the cluster, and kept alive by stand-ins.

By default it looks like OpenShift AI; as plain Kubernetes it has the collector and nothing else.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import structlog
from trustme import CA

from kagenti_devcluster.cluster.apply import Manifest, ManifestApplier, Manifests
from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.standins.mlflow_operator import MLflowOperator
from kagenti_devcluster.standins.service_ca import CONFIG_MAP as SERVICE_CA
from kagenti_devcluster.standins.service_ca import ServiceCA
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

NAMESPACE = "kagenti-system"
_ADMISSION_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the platform is to look like.

    `mlflow_namespaced`: the MLflow CRD as early releases had it. `gateway_url`: what the MLflow CR tells as
    `status.url`, which stays unset where there is no gateway.
    """

    openshift: bool = True
    mlflow_namespaced: bool = False
    gateway_url: str | None = None


async def install(client: KubeClient, options: Options) -> None:
    """Apply the platform's objects; safe to repeat. Raises KubeError, DevClusterError."""
    applier = ManifestApplier(client)
    await applier.apply(Manifests.packaged("namespaces", "agent-sandbox-crd"))
    if options.openshift:
        mlflow_crd = "mlflow-crd-namespaced" if options.mlflow_namespaced else "mlflow-crd"
        crds = ("openshift-crd", "consolelink-crd", "datasciencecluster-crd", mlflow_crd, "mlflowconfig-crd")
        await applier.apply(Manifests.packaged(*crds, "openshift"))
        await _install_ingress_ca(client, applier)
        await _wait_admission(applier)
        await applier.apply(Manifests.packaged("datasciencecluster"))
    await applier.apply(Manifests.packaged("collector"))


async def _install_ingress_ca(client: KubeClient, applier: ManifestApplier) -> None:
    path = "/api/v1/namespaces/openshift-config-managed/configmaps/default-ingress-cert"
    try:
        await client.raw("GET", path)
    except ApiError as error:
        if not error.not_found:
            raise
    else:
        return
    certificate = CA().cert_pem.bytes().decode()
    metadata = {"name": "default-ingress-cert", "namespace": "openshift-config-managed"}
    data = {"ca-bundle.crt": certificate}
    await applier.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}])


async def _wait_admission(applier: ManifestApplier) -> None:
    """Return once pods get the service CA: a pod that is made before would never have it."""
    try:
        async with asyncio.timeout(_ADMISSION_SECONDS):
            await _poll_admission(applier)
    except TimeoutError:
        raise DevClusterError(
            "the API server did not take up the MutatingAdmissionPolicy "
            f"'service-ca-in-serviceaccount-volume' within {_ADMISSION_SECONDS:.0f} s"
        ) from None


async def _poll_admission(applier: ManifestApplier) -> None:
    container = {"name": "probe", "image": "probe"}
    probe: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "admission-probe", "namespace": NAMESPACE},
        "spec": {"containers": [container]},
    }
    while True:
        try:
            pod = await applier.dry_run(probe)
        except ApiError as error:
            # Until the namespace has its default ServiceAccount, pods are refused.
            if not (error.forbidden and "service account" in error.message):
                raise
        else:
            if _has_service_ca(pod):
                return
        await asyncio.sleep(_POLL_SECONDS)


def _has_service_ca(pod: Manifest) -> bool:
    sources = [s for volume in pod["spec"]["volumes"] for s in volume.get("projected", {}).get("sources", [])]
    return any(source.get("configMap", {}).get("name") == SERVICE_CA for source in sources)


class StandIns:
    """The controllers of a real platform that the cluster brings along; they need all permissions."""

    def __init__(self, client: KubeClient, options: Options, *, rng: random.Random, metrics: Metrics) -> None:
        self._informers: tuple[Informer[Any], ...] = ()
        self._controllers: tuple[Controller, ...] = ()
        self._service_ca: ServiceCA | None = None
        if not options.openshift:
            return
        self._service_ca = ServiceCA(client, rng=rng, metrics=metrics)
        mlflow = MLflowOperator(client, rng=rng, metrics=metrics, gateway_url=options.gateway_url)
        self._informers = (*self._service_ca.informers, *mlflow.informers)
        self._controllers = (*self._service_ca.controllers, *mlflow.controllers)

    async def run(self) -> None:
        """Work until `stop`, then finish what is in work; or until cancelled."""
        if self._service_ca:
            await self._service_ca.start()
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(i.run(), name=i.name) for i in self._informers]
            for informer in self._informers:
                await informer.wait_synced()
            async with asyncio.TaskGroup() as working:
                for controller in self._controllers:
                    working.create_task(controller.run(), name=controller.name)
            for task in watching:
                task.cancel()
        log.info("The platform's stand-ins have stopped")

    def stop(self) -> None:
        """Begin no further work."""
        for controller in self._controllers:
            controller.stop()
