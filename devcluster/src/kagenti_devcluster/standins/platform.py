"""The platform that the operator finds: installed as its profile says, and kept alive by stand-ins."""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog
from trustme import CA

from kagenti_devcluster.cluster.kubectl import Manifest, apply, packaged_manifests
from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.profiles import DEFAULT, Profile
from kagenti_devcluster.standins.agent_runtimes import AgentRuntimes, act_as_operator
from kagenti_devcluster.standins.mlflow_operator import MLflowOperator
from kagenti_devcluster.standins.own_certificate import install_own_certificate
from kagenti_devcluster.standins.resources import MLFLOW_INSTANCES
from kagenti_devcluster.standins.service_ca import CONFIG_MAP as SERVICE_CA
from kagenti_devcluster.standins.service_ca import ServiceCA
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, PODS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Selection
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_ADMISSION_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the platform is to look like.

    `mlflow_namespaced`: the MLflow CRD as early releases had it. `gateway_url`: what the MLflow CR has as
    `status.url`, which stays unset where there is no gateway.
    """

    profile: Profile = DEFAULT
    mlflow_namespaced: bool = False
    gateway_url: str | None = None


async def install(client: KubeClient, kubeconfig: Path, options: Options) -> None:
    """Apply the platform's objects as administrator; safe to repeat. Raises KubeError, DevClusterError."""
    profile = options.profile
    begin, end = ["namespaces", "agent-sandbox-crd", "mlflow-crd", "mlflowconfig-crd"], ["collector"]
    if profile.agent_runtimes:
        begin.append("agent-runtimes")
    if profile.openshift:
        begin += ["openshift-crd", "consolelink-crd", "datasciencecluster-crd", "openshift"]
        end.append("datasciencecluster")
    else:
        end.append("mlflow")
    manifests = packaged_manifests(*begin, values=profile.values)
    if options.mlflow_namespaced:
        manifests = [_namespaced(manifest) for manifest in manifests]
    await apply(kubeconfig, manifests)
    if profile.openshift:
        await _install_ingress_ca(client)
        await _wait_admission(client, profile.names.namespace)
    else:
        await install_own_certificate(client, kubeconfig, profile)
    await apply(kubeconfig, packaged_manifests(*end, values=profile.values))


def _namespaced(manifest: Manifest) -> Manifest:
    if manifest["metadata"]["name"] != MLFLOW_INSTANCES.crd_name:
        return manifest
    return {**manifest, "spec": {**manifest["spec"], "scope": "Namespaced"}}


async def _install_ingress_ca(client: KubeClient) -> None:
    metadata = {"name": "default-ingress-cert", "namespace": "openshift-config-managed"}
    data = {"ca-bundle.crt": CA().cert_pem.bytes().decode()}
    try:
        await client.create(CONFIG_MAPS, {"metadata": metadata, "data": data})
    except ApiError as error:
        if not error.already_exists:
            raise


async def _wait_admission(client: KubeClient, namespace: str) -> None:
    """Return once pods get the service CA: a pod that is made before would never have it."""
    try:
        async with asyncio.timeout(_ADMISSION_SECONDS):
            await _poll_admission(client, namespace)
    except TimeoutError:
        raise DevClusterError(
            "the API server did not take up the MutatingAdmissionPolicy "
            f"'service-ca-in-serviceaccount-volume' within {_ADMISSION_SECONDS:.0f} s"
        ) from None


async def _poll_admission(client: KubeClient, namespace: str) -> None:
    pods = PODS.path(namespace)
    container = {"name": "probe", "image": "probe"}
    probe = msgspec.json.encode(
        {"metadata": {"name": "admission-probe"}, "spec": {"containers": [container]}}
    )
    while True:
        try:
            answer = await client.raw("POST", pods, params={"dryRun": "All"}, body=probe)
        except ApiError as error:
            # Until the namespace has its default ServiceAccount, pods are refused.
            if not (error.forbidden and "service account" in error.message):
                raise
        else:
            if _has_service_ca(msgspec.json.decode(answer)):
                return
        await asyncio.sleep(_POLL_SECONDS)


def _has_service_ca(pod: Manifest) -> bool:
    sources = [s for volume in pod["spec"]["volumes"] for s in volume.get("projected", {}).get("sources", [])]
    return any(source.get("configMap", {}).get("name") == SERVICE_CA for source in sources)


class StandIns:
    """The controllers of a real platform that the cluster brings along; they need all permissions."""

    def __init__(
        self,
        client: KubeClient,
        kubeconfig: Path,
        options: Options,
        *,
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        profile = options.profile
        self._service_ca: ServiceCA | None = None
        self._labeller: KubeClient | None = None
        mlflow = MLflowOperator(client, profile, rng=rng, metrics=metrics, gateway_url=options.gateway_url)
        self._informers: tuple[Informer[Any], ...] = mlflow.informers
        self._controllers: tuple[Controller[Any], ...] = mlflow.controllers
        if profile.openshift:
            self._service_ca = ServiceCA(client, rng=rng, metrics=metrics)
            self._informers += self._service_ca.informers
            self._controllers += self._service_ca.controllers
        if profile.agent_runtimes:
            self._labeller = act_as_operator(kubeconfig, profile.names)
            runtimes = AgentRuntimes(self._labeller, profile.names, rng=rng, metrics=metrics)
            self._informers += runtimes.informers
            self._controllers += runtimes.controllers
        definitions = Informer(client, Selection(resource=CUSTOM_RESOURCE_DEFINITIONS), rng)
        definitions.subscribe(self._on_definition)
        self._informers += (definitions,)

    def _on_definition(self, event: Event[KubeObject]) -> None:
        for informer in self._informers:
            if informer.resource.crd_name == event.object.metadata.name:
                informer.retry_now()

    async def run(self) -> None:
        """Work until `stop`, then finish what is in work; or until cancelled."""
        try:
            await self._run()
        finally:
            if self._labeller:
                await self._labeller.close()
        log.info("The platform's stand-ins have stopped")

    async def _run(self) -> None:
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

    def stop(self) -> None:
        """Begin no further work."""
        for controller in self._controllers:
            controller.stop()
