"""Metrics of the collector, read from the caches when somebody scrapes. See docs/metrics.md."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.access_latency import AccessLatency
from kagenti_operator.controllers.collector.delivery_diagnosis import REASONS, find_delivery, foresee_refusal
from kagenti_operator.controllers.collector.experiment_record import Resolved
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.sources import MLflowSources
from kagenti_operator.controllers.metrics import Leading, gauge
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.runtime.observable import Observable

# An appearance costs a few round trips to the API server; minutes when MLflow is not there yet.
_ACCESS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


class AccessMetrics(Collector):
    """Who is granted access to MLflow, and how fast."""

    def __init__(
        self, access: AccessFacts, agents: AgentFacts, leading: Leading, registry: CollectorRegistry
    ) -> None:
        self._access = access
        self._agents = agents
        latency = Histogram(
            "kagenti_agent_access_seconds",
            "From an agent's appearance until the collector has access for its namespace",
            buckets=_ACCESS_BUCKETS,
            registry=registry,
        )
        self._latency = AccessLatency(access, agents, leading, latency.observe)

    def collect(self) -> Iterator[Metric]:
        """Namespaces with and without access, and whether there is a ClusterRole at all."""
        namespaces = self._agents.namespaces()
        granted = sum(self._access.is_granted(namespace) for namespace in namespaces)
        yield gauge("kagenti_agent_namespaces", "Namespaces that hold an agent", len(namespaces))
        yield gauge(
            "kagenti_agent_namespaces_granted",
            "Namespaces that hold an agent and in which the collector has access to MLflow",
            granted,
        )
        yield gauge(
            "kagenti_mlflow_cluster_role_found",
            "Whether a ClusterRole exists that the collector can be bound to",
            self._access.cluster_role is not None,
        )


class ExperimentMetrics(Collector):
    """Whether the collector's experiment is known, on the replica that leads."""

    def __init__(
        self,
        resolved: Observable[Resolved | None],
        settings: Settings,
        leading: Leading,
        suspended: Observable[bool],
    ) -> None:
        self._suspended = suspended
        self._resolved = resolved
        self._settings = settings
        self._leading = leading

    def collect(self) -> Iterator[Metric]:
        """Without a workspace there is no experiment to know: kagenti_spans_refused has the reason.

        Nor is there one for us where the platform's own operator writes it.
        """
        if self._leading.value and self._settings.mlflow_workspace and not self._suspended.value:
            yield gauge(
                "kagenti_experiment_known",
                "Whether the id of the collector's experiment is known",
                self._resolved.value is not None,
            )


class CollectorMetrics(Collector):
    """The collector's Deployment and configuration."""

    def __init__(
        self,
        facts: CollectorFacts,
        sources: MLflowSources,
        in_place_since: Observable[datetime | None],
        settings: Settings,
        leading: Leading,
        suspended: Observable[bool],
    ) -> None:
        self._suspended = suspended
        self._facts = facts
        self._sources = sources
        self._in_place_since = in_place_since
        self._settings = settings
        self._leading = leading

    def collect(self) -> Iterator[Metric]:
        """Whether it is there, ready, configured, and why MLflow refuses its spans, if it does."""
        facts = self._facts
        yield gauge(
            "kagenti_collector_found", "Whether Deployment otel-collector exists", facts.collector is not None
        )
        yield gauge(
            "kagenti_collector_ready",
            "Whether every replica of the collector, at least one, runs its pod template and is available",
            facts.collector_ready,
        )
        yield from self._collect_refusals(self._sources)
        if self._leading.value and not self._suspended.value:
            yield from self._collect_configuration()

    def _collect_refusals(self, sources: MLflowSources) -> Iterator[Metric]:
        refused = GaugeMetricFamily(
            "kagenti_spans_refused", "Why MLflow takes no span of the collector", labels=("reason",)
        )
        found = None
        if sources.mlflow.cr is not None and self._facts.mlflow_by_kubernetes:
            found = foresee_refusal(find_delivery(sources, self._settings.mlflow_workspace))
        for reason in REASONS:
            refused.add_metric((reason,), reason == found)
        yield refused

    def _collect_configuration(self) -> Iterator[Metric]:
        since = self._in_place_since.value
        yield gauge(
            "kagenti_collector_config_in_place",
            "Whether the collector's ConfigMap and pod template are as the operator wants them",
            since is not None,
        )
        if since is not None:
            yield gauge(
                "kagenti_collector_config_timestamp_seconds",
                "Since when the collector's configuration has been in place, as far as this process knows",
                since.timestamp(),
            )
