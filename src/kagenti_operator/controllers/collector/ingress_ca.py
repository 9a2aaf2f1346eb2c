"""OpenShift's ingress CA, copied to where the collector mounts it."""

from collections.abc import Mapping
from typing import Any

from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.failure_events import find_collector, refusals_told
from kagenti_operator.controllers.owners import build_owner
from kagenti_operator.controllers.settings import CA_BUNDLE_KEY, INGRESS_CA, MANAGED_LABELS
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.telemetry.events import EventRecorder

ROOT_KEY = "ca.crt"


def build_bundle(ingress: str | None, root: str | None) -> str | None:
    """Ingress CA, then root CA, as PEM text that ends in a newline; None without an ingress CA."""
    if not ingress or not ingress.strip():
        return None
    return "".join(f"{part.strip()}\n" for part in (ingress, root) if part and part.strip())


def wanted_bundle(cluster: Cluster) -> str | None:
    """What `otel-ingress-ca` should hold now; None where there is nothing to copy."""
    if not cluster.openshift:
        return None
    return build_bundle(
        cluster.ca_source(cluster.ingress_source, CA_BUNDLE_KEY),
        cluster.ca_source(cluster.root_source, ROOT_KEY),
    )


def build_config_map(namespace: str, bundle: str, owner: Workload | None) -> Mapping[str, Any]:
    """ConfigMap `otel-ingress-ca` of section 2.5 of the contract; it goes with the operator."""
    metadata: dict[str, Any] = {"name": INGRESS_CA, "namespace": namespace, "labels": MANAGED_LABELS}
    if owner:
        metadata["ownerReferences"] = [build_owner(DEPLOYMENTS, owner)]
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": metadata,
        "data": {CA_BUNDLE_KEY: bundle},
    }


class IngressCAController:
    """One key: the bundle. A source that vanishes leaves the last bundle: the collector may still need it."""

    name = "ingress-ca"
    KEY = INGRESS_CA

    def __init__(self, client: KubeClient, cluster: Cluster, events: EventRecorder) -> None:
        self._cluster = cluster
        self._events = events
        self._applier = Applier(client)

    async def reconcile(self, key: str) -> float | None:
        """Copy the certificates where they differ."""
        del key
        bundle = wanted_bundle(self._cluster)
        if bundle is None:
            return None
        desired = build_config_map(self._cluster.settings.namespace, bundle, self._cluster.operator)
        trouble = "The collector's configuration waits for the ingress CA, which could not be written"
        with refusals_told(self._events, find_collector(self._cluster), "IngressCANotWritten", trouble):
            wrote = await self._applier.ensure(CONFIG_MAPS, desired, self._cluster.config_map(INGRESS_CA))
        return CONFIRM_SECONDS if wrote else None
