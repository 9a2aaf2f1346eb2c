"""The platform's own operator, which has two of the same features: where they are on there, ours rest.

Two programs that write the same objects undo each other's work for ever, and roll agents and collector each
time.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.own_deployment import OwnDeployment
from kagenti_operator.controllers.platform_operator_marks import (
    CONFIGURATION,
    MLFLOW,
    is_platform_operator,
    read_flags,
)
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import DEPLOYMENTS
from kagenti_operator.runtime.cache.object_cache import Event, Selection
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

# Each switch, what is written with it there, and what switches it off here.
_WRITTEN = {
    MLFLOW: ("the MLflow resource, access to it and agents' experiments", "mlflow.enable"),
    CONFIGURATION: ("the collector's configuration", "otelBootstrap.enable"),
}
_REASONS = {MLFLOW: "MLflowWrittenByPlatform", CONFIGURATION: "CollectorWrittenByPlatform"}
# As Go's flag package reads a boolean.
_TRUE = ("1", "t", "T", "true", "TRUE", "True")


@dataclass(frozen=True)
class Writer:
    """The Deployment of the platform's operator that has a switch on."""

    switch: str
    deployment: ObjectRef


def find_writers(deployments: Iterable[Workload]) -> tuple[Writer, ...]:
    """Who of the platform's namespace writes what; a Deployment without replicas writes nothing."""
    return tuple(
        Writer(switch, ObjectRef.of(DEPLOYMENTS, deployment))
        for deployment in sorted(deployments, key=lambda it: it.metadata.name)
        if deployment.spec.replicas > 0 and is_platform_operator(deployment)
        for container in deployment.spec.template.spec.containers
        for switch in _WRITTEN
        if read_flags(container).get(switch) in _TRUE
    )


def report_writers(writers: Iterable[Writer]) -> Iterable[Report]:
    """Report what the operator leaves to the platform's, for each switch once."""
    for writer in {writer.switch: writer for writer in writers}.values():
        what, value = _WRITTEN[writer.switch]
        yield Report(
            reason=_REASONS[writer.switch],
            message=f"Deployment {writer.deployment.namespace}/{writer.deployment.name}, the platform's own "
            f"operator, runs with --{writer.switch} and writes {what}; this operator leaves them alone. "
            f"Switch it off there, and this operator takes over by itself, or here ({value}=false).",
            log=True,
            over=f"The platform's own operator writes no longer {what}: this operator does.",
        )


class PlatformOperator:
    """Follows the Deployments of the platform's namespace, on every replica, and reports on the leader."""

    def __init__(self, dependencies: Dependencies) -> None:
        settings, informers = dependencies.settings, dependencies.informers
        self._settings = settings
        self._suspended = dependencies.suspended
        self._reporter = Reporter[str](dependencies.events, __name__)
        # The selection of CollectorFacts and AccessFacts, so that one informer serves all.
        self.deployments = informers.get(Selection(resource=DEPLOYMENTS, namespace=settings.namespace))
        self.own = OwnDeployment(dependencies)
        # Before any controller runs: the caches are complete by then.
        self.deployments.subscribe(self._on_event)

    def note(self) -> str | None:
        """What `/readyz` says of it; None where there is nothing to say."""
        return " ".join(report.message for report in report_writers(self._find())) or None

    async def reconcile(self) -> float | None:
        """Report what is left to the platform's operator."""
        writers = self._find()
        about = self.own.reference or (writers[0].deployment if writers else None)
        self._reporter.report("writers", about, report_writers(writers))
        # Said again before the Event expires.
        return 300.0 if writers else None

    def _find(self) -> tuple[Writer, ...]:
        """Who writes what this operator is to write as well."""
        enabled = {
            MLFLOW: self._settings.enable_mlflow,
            CONFIGURATION: self._settings.enable_otel_bootstrap,
        }
        return tuple(
            writer for writer in find_writers(self.deployments.cache.values()) if enabled[writer.switch]
        )

    def _on_event(self, _: Event[Workload]) -> None:
        switches = {writer.switch for writer in self._find()}
        mlflow, configuration = MLFLOW in switches, CONFIGURATION in switches
        self._suspended.mlflow.set(mlflow)
        self._suspended.configuration.set(configuration)
        # A configuration of ours needs the collector's experiment, which has no two writers: it is only found
        # by its name where somebody else made it.
        needed = self._settings.enable_otel_bootstrap and not configuration
        for_agents = self._settings.enable_mlflow and not mlflow
        self._suspended.experiment.set(not (needed or for_agents))


def build_feature(dependencies: Dependencies) -> Feature:
    """Build it; first of all, so that what is to rest does so from the start."""
    found = PlatformOperator(dependencies)
    controller = build_singleton(dependencies, "platform-operator", found.reconcile, found.deployments)
    return Feature(
        name="platform-operator",
        informers=tuple(dict.fromkeys((found.deployments, found.own.informer))),
        controllers=(controller,),
        notes={"platform-operator": found.note},
    )
