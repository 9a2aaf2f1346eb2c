"""The collector's configuration: kept in its ConfigMap, and rolled out when it changes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from kagenti_operator import clock, contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.collector import ingress_ca
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.delivery_diagnosis import Delivery, report_delivery
from kagenti_operator.controllers.collector.destination import MLflowView, choose_destination
from kagenti_operator.controllers.collector.experiment import Resolved
from kagenti_operator.controllers.collector.facts import CollectorFacts, read_key
from kagenti_operator.controllers.collector.rollout import (
    CollectorRollout,
    collector_image,
    collector_memory_bytes,
)
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.traces_url import TracesURL
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.manifests import Manifest, build_config_map, build_owner
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS, MLFLOWS
from kagenti_operator.otelcol.model import Facts, MLflowDestination
from kagenti_operator.otelcol.render import config_hash, last_known_destination, render
from kagenti_operator.otelcol.versions import has_modern_exporter_names
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier, differs
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Reporter
from kagenti_operator.runtime.telemetry.standing import Standing

log = structlog.get_logger(__name__)

# The first change is written at once, the rest of a burst together: each write rolls the collector.
SETTLE_SECONDS = 10.0


@dataclass(frozen=True)
class MLflowSources:
    """What the configuration needs to know of MLflow, where that feature is enabled."""

    mlflow: MLflowFacts
    access: AccessFacts
    agents: AgentFacts
    resolved: Observable[Resolved | None]
    traces: Observable[TracesURL | None]


def setup(
    dependencies: Dependencies, facts: CollectorFacts, sources: MLflowSources | None
) -> tuple[Controller[str], Observable[datetime | None]]:
    """Watch everything that the configuration is made from.

    Also returns since when (time of day) everything has been as it should be; None while it is not.
    """
    reconciler = CollectorConfigReconciler(dependencies, facts, sources)
    informers = list(facts.informers)
    follows: list[Observable[Any]] = [facts.openshift]
    if sources:
        # Whether the workspace's access is one to wait for, and whether it is the right one.
        informers += [sources.mlflow.mlflows, sources.mlflow.data_science_clusters, *sources.access.roles]
        follows += [sources.resolved, sources.traces]
    name = "collector-config"
    controller = build_singleton(dependencies, name, reconciler.reconcile, *informers, follows=tuple(follows))
    controller.suspend_while(dependencies.suspended.configuration)
    if sources:
        workspace = dependencies.settings.mlflow_workspace
        for informer in (sources.access.bindings, *sources.agents.workloads.values()):
            controller.watches(
                informer,
                lambda event: (name,) if event.object.metadata.namespace == workspace else (),
            )
    return controller, reconciler.in_place_since


def build_collector_config(names: Names, namespace: str, text: str, owner: Workload | None) -> Manifest:
    """Build ConfigMap `otel-collector-config` of section 2.3 of the contract."""
    return build_config_map(
        contract.COLLECTOR_CONFIG,
        namespace,
        {contract.COLLECTOR_CONFIG_KEY: text},
        labels=names.managed_labels,
        annotations={names.config_hash_annotation: config_hash(text)},
        owners=[build_owner(DEPLOYMENTS, owner)] if owner else [],
    )


class CollectorConfigReconciler:
    """Brings ConfigMap and rollout to the configuration that the facts ask for."""

    def __init__(
        self,
        dependencies: Dependencies,
        facts: CollectorFacts,
        sources: MLflowSources | None,
        *,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._settings = dependencies.settings
        self._facts = facts
        self._sources = sources
        self._applier = Applier(dependencies.client)
        self._rollout = CollectorRollout(dependencies, facts)
        self._events = dependencies.events
        self._reporter = Reporter[str](dependencies.events, __name__)
        self._settle = settle_seconds
        self._written_at: float | None = None
        self._last_known: MLflowDestination | None = None
        self._read_back = False
        self._complete = Standing[None]()
        self.in_place_since = Observable[datetime | None](None)

    async def reconcile(self) -> float | None:
        """Write what differs, and report what keeps spans from MLflow."""
        facts = self._facts
        openshift = facts.openshift.value
        if openshift is None or not ingress_ca.is_settled(facts):
            self.in_place_since.set(None)
            return None
        destination = self._choose_destination(openshift=openshift)
        text = render(
            Facts(
                openshift=openshift,
                mlflow=destination,
                phoenix=facts.phoenix,
                ingress_ca=facts.ingress_ca.cache.only() is not None,
                modern_exporter_names=has_modern_exporter_names(collector_image(facts.collector)),
                memory_bytes=collector_memory_bytes(facts.collector),
            )
        )
        desired = build_collector_config(self._settings.names, self._settings.namespace, text, facts.operator)
        rollout = self._rollout.build(text, destination)
        due = differs(desired, facts.config_map.cache.only()) or (
            rollout is not None and differs(rollout, facts.collector)
        )
        if due:
            self.in_place_since.set(None)
            if wait := self._settling():
                return wait
            await self._write(desired, rollout)
        self._last_known = destination
        self.in_place_since.set(self.in_place_since.value or clock.now())
        self._log_complete(text, destination)
        self._report_delivery(destination)
        renewal = self._rollout.seconds_to_renewal(destination)
        return min(CONFIRM_SECONDS, renewal or CONFIRM_SECONDS) if due else renewal

    async def _write(self, desired: Manifest, rollout: Manifest | None) -> None:
        consequence = "The collector goes on with the configuration that it has"
        with failures_recorded(self._events, self._facts.subject, "ConfigurationNotWritten", consequence):
            await self._applier.ensure(CONFIG_MAPS, desired, self._facts.config_map.cache.only())
            if rollout is not None:
                await self._rollout.ensure(rollout)
        self._written_at = clock.monotonic()

    def _choose_destination(self, *, openshift: bool) -> MLflowDestination | None:
        sources = self._sources
        if sources is None:
            return None
        if not self._read_back:
            self._last_known = self._read_last_known()
            self._read_back = True
        workspace = self._settings.mlflow_workspace
        return choose_destination(
            MLflowView(
                cr=sources.mlflow.cr,
                openshift=openshift,
                workspace=workspace,
                resolved=sources.resolved.value,
                traces=sources.traces.value,
                granted=workspace is None or _is_granted(sources, workspace),
                last_known=self._last_known,
            )
        )

    def _read_last_known(self) -> MLflowDestination | None:
        found = self._facts.config_map.cache.only()
        if found is None:
            return None
        text = read_key(self._facts.config_map, contract.COLLECTOR_CONFIG_KEY) or ""
        annotation = self._settings.names.config_hash_annotation
        return last_known_destination(text, found.metadata.annotations.get(annotation))

    def _settling(self) -> float | None:
        if self._written_at is None:
            return None
        left = self._written_at + self._settle - clock.monotonic()
        return left if left > 0 else None

    def _log_complete(self, text: str, destination: MLflowDestination | None) -> None:
        collector = self._facts.collector
        digest = config_hash(text)
        if self._complete.holds(None, f"{digest} {collector.metadata.uid if collector else None}"):
            log.info(
                contract.LOG_BOOTSTRAP_COMPLETE,
                configHash=digest,
                tracesURL=destination.traces_endpoint if destination else None,
                workspace=destination.workspace if destination else None,
                experimentID=destination.experiment_id if destination else None,
                rolledOut=collector is not None,
            )

    def _report_delivery(self, destination: MLflowDestination | None) -> None:
        sources = self._sources
        cr = sources.mlflow.cr if sources else None
        if sources is None or cr is None:
            self._reporter.forget("delivery")
            return
        workspace = destination.workspace if destination else None
        delivery = Delivery.of(sources.mlflow, sources.access, sources.agents, workspace)
        reports = report_delivery(delivery) if destination and self._facts.openshift.value else ()
        self._reporter.report("delivery", ObjectRef.of(MLFLOWS, cr), reports)


def _is_granted(sources: MLflowSources, workspace: str) -> bool:
    # MLflow remembers a refusal for minutes: the grant comes before the configuration that needs it.
    # Where no agent lives there is no grant to wait for.
    if sources.mlflow.state != "Managed" or not sources.agents.has_agents(workspace):
        return True
    return sources.access.is_granted(workspace)
