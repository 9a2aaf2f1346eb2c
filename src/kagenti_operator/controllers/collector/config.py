"""The collector's configuration: kept in its ConfigMap, and rolled out when it changes."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from kagenti_operator import clock, contract
from kagenti_operator.controllers.collector import ingress_ca
from kagenti_operator.controllers.collector.delivery_diagnosis import (
    find_delivery,
    report_delivery,
    report_encryption,
)
from kagenti_operator.controllers.collector.destination import MLflowView, choose_destination
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.foreign import (
    Outlook,
    describe_replaced,
    keep_foreign,
    look_at,
    report_waiting,
    seconds_to_first_roll,
)
from kagenti_operator.controllers.collector.in_place import InPlace
from kagenti_operator.controllers.collector.rollout import CollectorRollout
from kagenti_operator.controllers.collector.sources import MLflowSources
from kagenti_operator.controllers.collector.wanted import Wanted, WantedBuilder, report_faults
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.list_now import list_now
from kagenti_operator.controllers.mlflow.facts import choose_cr
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.resources import CONFIG_MAPS, MLFLOWS
from kagenti_operator.otelcol.extra import Fault
from kagenti_operator.otelcol.model import MLflowDestination
from kagenti_operator.otelcol.render import config_hash
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier, differs
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter
from kagenti_operator.runtime.telemetry.standing import Standing

log = structlog.get_logger(__name__)

# The first change is written at once, the rest of a burst together: each write rolls the collector.
SETTLE_SECONDS = 10.0


def setup(
    dependencies: Dependencies, facts: CollectorFacts, sources: MLflowSources
) -> tuple[Controller[str], Observable[datetime | None]]:
    """Watch everything that the configuration is made from.

    Also returns since when (time of day) everything has been as it should be; None while it is not.
    """
    reconciler = CollectorConfigReconciler(dependencies, facts, sources)
    access = sources.access
    informers: list[Informer[Any]] = [
        *facts.informers,
        sources.mlflow.mlflows,
        sources.mlflow.data_science_clusters,
        # Whether the workspace's access is one to wait for, and whether it is the right one.
        *(access.bindings.roles if access else ()),
    ]
    name = "collector-config"
    follows = (facts.openshift, sources.resolved, sources.traces, sources.suspended)
    controller = build_singleton(dependencies, name, reconciler.reconcile, *informers, follows=follows)
    controller.suspend_while(dependencies.suspended.configuration)
    if access:
        workspace = dependencies.settings.mlflow_workspace
        controller.watches(
            access.bindings.bindings,
            lambda event: (name,) if event.object.metadata.namespace == workspace else (),
        )
    return controller, reconciler.in_place_since


class CollectorConfigReconciler:
    """Brings ConfigMap and rollout to the configuration that the facts ask for."""

    def __init__(
        self,
        dependencies: Dependencies,
        facts: CollectorFacts,
        sources: MLflowSources,
        *,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._settings = dependencies.settings
        self._client = dependencies.client
        self._facts = facts
        self._sources = sources
        self._applier = Applier(dependencies.client)
        self._rollout = CollectorRollout(dependencies, facts)
        self._events = dependencies.events
        self._reporter = Reporter[str](dependencies.events, __name__)
        self._wanted = WantedBuilder(dependencies, facts, self._rollout)
        self._settle = settle_seconds
        self._written_at: float | None = None
        self._waits_since: float | None = None
        self._last_known: MLflowDestination | None = None
        self._read_back = False
        self._complete = Standing[None]()
        self.in_place_since = Observable[datetime | None](None)
        dependencies.suspended.configuration.subscribe(self._forget)

    def _forget(self) -> None:
        # While this one rested, another operator wrote the configuration.
        self._read_back, self._waits_since = False, None

    async def reconcile(self) -> float | None:
        """Write what differs, and report what keeps spans from MLflow."""
        facts = self._facts
        if facts.openshift.value is None or not ingress_ca.is_settled(facts):
            self.in_place_since.set(None)
            return None
        destination = self._choose_destination()
        if destination is None and self._last_known and await self._has_cr():
            # The cache is wrong, and nothing that delivers is taken away for that.
            return CONFIRM_SECONDS
        outlook = self._look_ahead(destination)
        present = look_at(self._settings.names, facts.config_map.cache.only())
        kept = keep_foreign(outlook, present)
        self._reporter.report("foreign", facts.subject, (kept,) if kept else ())
        if kept:
            self.in_place_since.set(None)
            return None
        wanted = self._wanted.build(destination)
        self._report_faults(wanted.faults)
        self._reporter.report("mlflow-ca", facts.subject, self._wanted.report_ca())
        first_roll = self._seconds_to_first_roll(outlook)
        if first_roll:
            wanted = replace(wanted, rollout=None)
        due = self._is_due(wanted)
        if due or first_roll:
            self.in_place_since.set(None)
        if due:
            if wait := self._settling():
                return wait
            await self._write(wanted)
            if present.foreign_deliveries:
                self._record_replaced(present.foreign_deliveries)
        self._last_known = destination
        if not first_roll:
            self.in_place_since.set(self.in_place_since.value or clock.now())
        self._log_complete(wanted, destination)
        self._report_delivery(destination)
        again = (
            CONFIRM_SECONDS if due else None,
            first_roll or None,
            wanted.rollout.seconds_to_renewal if wanted.rollout else None,
            self._wanted.reread_seconds,
        )
        return min((seconds for seconds in again if seconds is not None), default=None)

    def _is_due(self, wanted: Wanted) -> bool:
        rollout = wanted.rollout
        return differs(wanted.config, self._facts.config_map.cache.only()) or (
            rollout is not None and differs(rollout.manifest, self._facts.collector)
        )

    async def _write(self, wanted: Wanted) -> None:
        """Write the ConfigMap, then the pod template: nothing is rolled to what is not there."""
        config_map, rollout = self._facts.config_map.cache.only(), wanted.rollout
        consequence = "The collector goes on with the configuration that it has"
        with failures_recorded(
            self._events,
            self._facts.subject,
            "ConfigurationNotWritten",
            consequence,
            reverted=ObjectRef.of(CONFIG_MAPS, config_map) if config_map else None,
        ):
            await self._applier.ensure(CONFIG_MAPS, wanted.config, config_map)
        with failures_recorded(self._events, self._facts.subject, "ConfigurationNotWritten", consequence):
            if rollout is not None:
                await self._rollout.ensure(rollout.manifest)
        self._written_at = clock.monotonic()

    def _look_ahead(self, destination: MLflowDestination | None) -> Outlook:
        return Outlook(
            destination=destination,
            phoenix=self._facts.phoenix,
            mlflow_expected=self._sources.expected,
            by_kubernetes=self._facts.mlflow_by_kubernetes,
            sends_token=self._wanted.sends_token(destination),
        )

    def _seconds_to_first_roll(self, outlook: Outlook) -> float:
        collector, now = self._facts.collector, clock.monotonic()
        since = self._waits_since if self._waits_since is not None else now
        annotations = collector.spec.template.annotations if collector else {}
        left = seconds_to_first_roll(
            outlook,
            rolled_before=self._settings.names.config_hash_annotation in annotations,
            waited=now - since,
        )
        if collector is None:
            left = 0.0
        self._waits_since = since if left else self._waits_since
        self._reporter.report("first-roll", self._facts.subject, (report_waiting(),) if left else ())
        return left

    def _record_replaced(self, foreign: tuple[str, ...]) -> None:
        message = describe_replaced(foreign)
        log.warning(message)
        if subject := self._facts.subject:
            self._events.warning(subject, "ConfigurationReplaced", message)

    def _choose_destination(self) -> MLflowDestination | None:
        sources = self._sources
        if not self._read_back:
            config_map = self._facts.config_map.cache.only()
            self._last_known = InPlace.of(self._settings.names, config_map).destination
            self._read_back = True
        workspace = self._settings.mlflow_workspace
        return choose_destination(
            MLflowView(
                cr=sources.mlflow.cr,
                by_kubernetes=self._facts.mlflow_by_kubernetes,
                workspace=workspace,
                resolved=sources.resolved.value,
                traces=sources.traces.value,
                granted=workspace is None or sources.is_granted(workspace),
                last_known=self._last_known,
            )
        )

    async def _has_cr(self) -> bool:
        """Ask the API server itself whether there is an MLflow CR. Raises KubeError."""
        return choose_cr(await list_now(self._client, MLFLOWS)) is not None

    def _settling(self) -> float:
        if self._written_at is None:
            return 0.0
        return max(0.0, self._written_at + self._settle - clock.monotonic())

    def _log_complete(self, wanted: Wanted, destination: MLflowDestination | None) -> None:
        collector = self._facts.collector
        digest, rolled = config_hash(wanted.text), wanted.rollout is not None
        if self._complete.holds(None, f"{digest} {collector.metadata.uid if collector else None} {rolled}"):
            log.info(
                contract.LOG_BOOTSTRAP_COMPLETE,
                configHash=digest,
                tracesURL=destination.traces_endpoint if destination else None,
                workspace=destination.workspace if destination else None,
                experimentID=destination.experiment_id if destination else None,
                rolledOut=rolled,
            )

    def _report_faults(self, faults: tuple[Fault, ...]) -> None:
        extra = self._facts.extra.cache.only()
        about = ObjectRef.of(CONFIG_MAPS, extra) if extra else None
        self._reporter.report("extra", about, report_faults(faults))

    def _report_delivery(self, destination: MLflowDestination | None) -> None:
        sources = self._sources
        cr = sources.mlflow.cr
        if cr is None:
            self._reporter.forget("delivery")
            return
        reports: list[Report] = []
        if destination and self._facts.mlflow_by_kubernetes:
            allowed = self._settings.mlflow_allow_http
            reports += report_encryption(destination.traces_endpoint, allowed=allowed)
            reports += report_delivery(find_delivery(sources, destination.workspace))
        self._reporter.report("delivery", ObjectRef.of(MLFLOWS, cr), reports)
