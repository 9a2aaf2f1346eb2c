"""From the facts to the ConfigMap and the pod template that they ask for."""

from collections.abc import Iterable
from dataclasses import dataclass

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.in_place import InPlace
from kagenti_operator.controllers.collector.mlflow_ca import MLflowCA, report_unused
from kagenti_operator.controllers.collector.rollout import CollectorRollout, Rollout
from kagenti_operator.controllers.collector.workload import (
    collector_image,
    collector_memory_bytes,
    is_oauth_client,
)
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.manifests import Manifest, build_config_map, build_owner
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import DEPLOYMENTS
from kagenti_operator.otelcol.assemble import assemble, is_plain_http
from kagenti_operator.otelcol.extra import Fault, merge_extra
from kagenti_operator.otelcol.model import Facts, MLflowDestination
from kagenti_operator.otelcol.render import config_hash, render_configuration
from kagenti_operator.otelcol.versions import has_modern_exporter_names
from kagenti_operator.runtime.telemetry.reporter import Report


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


def report_faults(faults: tuple[Fault, ...]) -> Iterable[Report]:
    """Report what is left out of the users' part."""
    if faults:
        yield Report(
            reason="ExtraConfigurationIgnored",
            message="Left out of the collector's configuration: "
            f"{'; '.join(f'key {fault}' for fault in faults)}. The rest is in it.",
            log=True,
        )


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the facts ask for. `text` is the configuration, `rollout` None where there is no collector."""

    text: str
    config: Manifest
    rollout: Rollout | None
    faults: tuple[Fault, ...]


class WantedBuilder:
    """Builds what is wanted for a destination, from the caches and the CA's file."""

    def __init__(self, dependencies: Dependencies, facts: CollectorFacts, rollout: CollectorRollout) -> None:
        self._settings = dependencies.settings
        self._facts = facts
        self._rollout = rollout
        self._mlflow_ca = MLflowCA(dependencies.settings.mlflow_ca_file, self._ca_in_place)

    @property
    def reread_seconds(self) -> float | None:
        """After how many seconds to build it again: what a file holds is not watched."""
        return None if self._facts.openshift.value else self._mlflow_ca.reread_seconds

    def report_ca(self) -> Iterable[Report]:
        """Report what kept the CA's file from being used when it was built last."""
        return report_unused(self._settings.mlflow_ca_file, self._mlflow_ca.problem)

    def sends_token(self, destination: MLflowDestination | None) -> bool:
        """Whether the collector sends its own token there."""
        if destination is None or not self._facts.mlflow_by_kubernetes:
            return False
        return self._settings.mlflow_allow_http or not is_plain_http(destination.traces_endpoint)

    def _ca_in_place(self) -> str | None:
        return InPlace.of(self._settings.names, self._facts.config_map.cache.only()).ca

    def build(self, destination: MLflowDestination | None) -> Wanted:
        """Build the configuration, its ConfigMap and the pod template's annotations."""
        facts, settings = self._facts, self._settings
        openshift, collector = bool(facts.openshift.value), facts.collector
        configuration = assemble(
            Facts(
                openshift=openshift,
                mlflow=destination,
                phoenix=facts.phoenix,
                ingress_ca=facts.ingress_ca.cache.only() is not None,
                modern_exporter_names=has_modern_exporter_names(collector_image(collector)),
                memory_bytes=collector_memory_bytes(collector),
                oauth_client=is_oauth_client(collector),
                mlflow_ca=None if openshift else self._mlflow_ca.read(),
                mlflow_allow_http=settings.mlflow_allow_http,
            )
        )
        extra = facts.extra.cache.only()
        merged = merge_extra(configuration, (extra.data or {}) if extra else {})
        text = render_configuration(merged.configuration)
        return Wanted(
            text=text,
            config=build_collector_config(settings.names, settings.namespace, text, facts.operator),
            rollout=self._rollout.build(text, token=self.sends_token(destination)),
            faults=merged.faults,
        )
