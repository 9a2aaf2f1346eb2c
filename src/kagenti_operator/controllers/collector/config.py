"""The collector's configuration: kept in its ConfigMap, and rolled out when it changes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from kagenti_operator import clock
from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.collector import ingress_ca
from kagenti_operator.controllers.collector.access import is_granted
from kagenti_operator.controllers.collector.delivery_diagnosis import SpanRefusals
from kagenti_operator.controllers.collector.experiment import Resolved
from kagenti_operator.controllers.collector.rollout import CollectorRollout, collector_image
from kagenti_operator.controllers.failure_events import find_collector, refusals_told
from kagenti_operator.controllers.owners import build_owner
from kagenti_operator.controllers.settings import (
    CA_BUNDLE_KEY,
    COLLECTOR_BINDING,
    COLLECTOR_CONFIG,
    COLLECTOR_CONFIG_KEY,
    CONFIG_HASH_ANNOTATION,
    INGRESS_CA,
    MANAGED_LABELS,
)
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject, MLflow
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from kagenti_operator.mlflow import status
from kagenti_operator.otelcol.model import Facts, MLflowDestination
from kagenti_operator.otelcol.render import config_hash, last_known_destination, render
from kagenti_operator.otelcol.versions import has_modern_exporter_names
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier, differs
from kagenti_operator.runtime.telemetry.events import EventRecorder

log = structlog.get_logger("controllers.collector-config")

# The first change is written at once, the rest of a burst together: each write rolls the collector.
SETTLE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class MLflowView:
    """What decides where spans go.

    `granted`: the collector may write to the workspace, or nothing is there yet that it could be granted for.
    """

    cr: MLflow | None
    openshift: bool
    workspace: str | None
    resolved: Resolved | None
    granted: bool
    last_known: MLflowDestination | None


def choose_destination(view: MLflowView) -> MLflowDestination | None:
    """Where the collector sends spans: the last known destination until a better one is complete.

    Only the CR's end takes MLflow out of the configuration (section 2.3 of the contract).
    """
    if view.cr is None:
        return None
    endpoint = status.traces_url(view.cr) if status.is_available(view.cr) else None
    if endpoint is None:
        return view.last_known
    if not view.openshift or not view.workspace:
        return MLflowDestination(traces_endpoint=endpoint)
    resolved = view.resolved
    known = (
        resolved is not None
        and resolved.workspace == view.workspace
        and resolved.base_url == status.rest_url(view.cr)
    )
    if resolved is None or not known or not view.granted:
        return view.last_known
    return MLflowDestination(
        traces_endpoint=endpoint, workspace=resolved.workspace, experiment_id=resolved.experiment.id
    )


def build_config_map(namespace: str, text: str, owner: Workload | None) -> Mapping[str, Any]:
    """ConfigMap `otel-collector-config` of section 2.3 of the contract."""
    metadata: dict[str, Any] = {
        "name": COLLECTOR_CONFIG,
        "namespace": namespace,
        "labels": MANAGED_LABELS,
        "annotations": {CONFIG_HASH_ANNOTATION: config_hash(text)},
    }
    if owner:
        metadata["ownerReferences"] = [build_owner(DEPLOYMENTS, owner)]
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": metadata,
        "data": {COLLECTOR_CONFIG_KEY: text},
    }


class CollectorConfigController:
    """One key: the collector's configuration."""

    name = "collector-config"
    KEY = COLLECTOR_CONFIG

    def __init__(
        self,
        client: KubeClient,
        cluster: Cluster,
        events: EventRecorder,
        *,
        resolved: Callable[[], Resolved | None],
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._applier = Applier(client)
        self._rollout = CollectorRollout(client, cluster, events)
        self._events = events
        self._refusals = SpanRefusals(cluster, events)
        self._resolved = resolved
        self._settle = settle_seconds
        self._written_at: float | None = None
        self._last_known: MLflowDestination | None = None
        self._read_back = False
        self._announced: tuple[str, str | None] | None = None
        # Since when (wall time) everything has been as it should be; None while it is not.
        self.in_place_since: datetime | None = None

    async def reconcile(self, key: str) -> float | None:
        """Bring ConfigMap and rollout to the configuration that the cluster's facts ask for."""
        del key
        cluster = self._cluster
        if cluster.openshift is None or not self._ingress_ca_settled():
            self.in_place_since = None
            return None
        destination = self._destination(openshift=cluster.openshift)
        text = render(self._facts(destination, openshift=cluster.openshift))
        desired = build_config_map(cluster.settings.namespace, text, cluster.operator)
        current = cluster.config_map(COLLECTOR_CONFIG)
        rollout = self._rollout.build(text, destination)
        writes = differs(desired, current) or (rollout is not None and differs(rollout, cluster.collector))
        if writes:
            self.in_place_since = None
            wait = self._settling()
            if wait:
                return wait
            trouble = "The collector goes on with the configuration that it has"
            with refusals_told(self._events, find_collector(cluster), "ConfigurationNotWritten", trouble):
                await self._applier.ensure(CONFIG_MAPS, desired, current)
                if rollout is not None:
                    await self._rollout.ensure(rollout)
            self._written_at = clock.monotonic()
        self._last_known = destination
        self.in_place_since = self.in_place_since or clock.now()
        self._announce(text, destination)
        self._refusals.tell(destination)
        renewal = self._rollout.seconds_to_renewal(destination)
        return min(CONFIRM_SECONDS, renewal or CONFIRM_SECONDS) if writes else renewal

    def _destination(self, *, openshift: bool) -> MLflowDestination | None:
        cluster = self._cluster
        settings = cluster.settings
        if not settings.enable_mlflow:
            return None
        if not self._read_back:
            self._last_known = self._read_last_known()
            self._read_back = True
        workspace = settings.mlflow_workspace
        return choose_destination(
            MLflowView(
                cr=cluster.mlflow,
                openshift=openshift,
                workspace=workspace,
                resolved=self._resolved(),
                granted=workspace is None or self._is_granted(workspace),
                last_known=self._last_known,
            )
        )

    def _read_last_known(self) -> MLflowDestination | None:
        found = self._cluster.config_map(COLLECTOR_CONFIG)
        if found is None:
            return None
        text = (found.data or {}).get(COLLECTOR_CONFIG_KEY, "")
        return last_known_destination(text, found.metadata.annotations.get(CONFIG_HASH_ANNOTATION))

    def _is_granted(self, workspace: str) -> bool:
        # MLflow remembers a refusal for minutes: the grant comes before the configuration that needs it.
        # Where no agent lives there is no grant to wait for.
        cluster = self._cluster
        if cluster.mlflow_state != "Managed" or not cluster.has_agents(workspace):
            return True
        return is_granted(
            cluster.collector_bindings.store.get(workspace, COLLECTOR_BINDING), cluster.cluster_role
        )

    def _ingress_ca_settled(self) -> bool:
        # One roll for a changed CA, not one for the configuration and another for the bundle.
        wanted = ingress_ca.wanted_bundle(self._cluster)
        current = self._cluster.config_map(INGRESS_CA)
        return wanted is None or (current is not None and (current.data or {}).get(CA_BUNDLE_KEY) == wanted)

    def _facts(self, destination: MLflowDestination | None, *, openshift: bool) -> Facts:
        return Facts(
            openshift=openshift,
            mlflow=destination,
            phoenix=self._cluster.phoenix,
            ingress_ca=self._cluster.config_map(INGRESS_CA) is not None,
            modern_exporter_names=has_modern_exporter_names(collector_image(self._cluster.collector)),
        )

    def _settling(self) -> float | None:
        if self._written_at is None:
            return None
        left = self._written_at + self._settle - clock.monotonic()
        return left if left > 0 else None

    def _announce(self, text: str, destination: MLflowDestination | None) -> None:
        collector = self._cluster.collector
        in_place = (config_hash(text), collector.metadata.uid if collector else None)
        if in_place == self._announced:
            return
        self._announced = in_place
        log.info(
            "OTel collector bootstrap complete",
            configHash=in_place[0],
            tracesURL=destination.traces_endpoint if destination else None,
            workspace=destination.workspace if destination else None,
            experimentID=destination.experiment_id if destination else None,
            rolledOut=collector is not None,
        )

    def concerns(self, old: KubeObject | None, new: KubeObject | None) -> bool:
        """Whether a change of the collector's binding concerns the configured workspace."""
        changed = new or old
        return changed is not None and changed.metadata.namespace == self._cluster.settings.mlflow_workspace
