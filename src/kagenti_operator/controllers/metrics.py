"""What the operator tells Prometheus about its subject: who is granted, configured, known, and since when.

Gauges are read from the caches when somebody scrapes, at the cost of the number of namespaces, never of
agents. No label holds an object's name. What only the controllers know is told by the replica on which they
run. Every name and its meaning: docs/metrics.md.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.metadata import version

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kagenti_operator import clock
from kagenti_operator.controllers.agents.injection import injected, is_opted_out
from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.collector import delivery_diagnosis as span_refusals
from kagenti_operator.controllers.collector.access import is_granted
from kagenti_operator.controllers.collector.access_latency import Appearances
from kagenti_operator.controllers.settings import COLLECTOR_BINDING
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.telemetry.metrics import Metrics

AGENT_STATES = ("configured", "waiting", "opted_out")
MANAGEMENT_STATES = ("Managed", "Unmanaged", "Removed", "unset")
# An appearance costs a few round trips to the API server; minutes when MLflow is not there yet.
_ACCESS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)


def state_of(agent: Agent) -> str:
    """Which of AGENT_STATES an agent is in."""
    if is_opted_out(agent):
        return "opted_out"
    return "configured" if injected(agent) else "waiting"


class Observation(Collector):
    """The operator's own series, in the registry of the runtime's metrics."""

    def __init__(self, cluster: Cluster, metrics: Metrics) -> None:
        self._cluster = cluster
        self._in_charge = False
        self._contact: float | None = None
        self._agents: Tally[str] = Tally()
        # Told by the controllers where these run.
        self.experiment_known: Callable[[], bool] | None = None
        self.config_since: Callable[[], datetime | None] | None = None
        self._appearances: Appearances | None = None
        if cluster.settings.enable_mlflow:
            self._requests = Counter(
                "kagenti_mlflow_requests_total",
                "Requests to MLflow's REST API, by status code; <error> where no answer came",
                ("code",),
                registry=metrics.registry,
            )
            access_time = Histogram(
                "kagenti_agent_access_seconds",
                "From an agent's appearance until the collector has access for its namespace",
                buckets=_ACCESS_BUCKETS,
                registry=metrics.registry,
            )
            self._appearances = Appearances(cluster, access_time.observe)
            for informer in cluster.agents.values():
                informer.subscribe(self._on_agent)
        metrics.registry.register(self)

    async def run(self) -> None:
        """Tell what the controllers know, and time agents, until cancelled: run it beside the controllers."""
        self._in_charge = True
        if self._appearances:
            self._appearances.begin()
        try:
            await asyncio.Event().wait()
        finally:
            self._in_charge = False
            if self._appearances:
                self._appearances.end()

    def mlflow_answered(self, code: str) -> None:
        """Count a request to MLflow; `<error>` where no answer came."""
        self._requests.labels(code).inc()
        if code == "200":
            self._contact = clock.now().timestamp()

    def _on_agent(self, old: Agent | None, new: Agent | None) -> None:
        if old is not None:
            self._agents[state_of(old)] -= 1
        if new is not None:
            self._agents[state_of(new)] += 1

    # --- read when somebody scrapes --------------------------------------------------------------------

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry must not scrape while things are being put together."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The gauges of the enabled features."""
        build = GaugeMetricFamily("kagenti_build_info", "1, labelled with the version", labels=("version",))
        build.add_metric((version("kagenti-operator"),), 1)
        yield build
        if self._cluster.settings.enable_mlflow:
            yield from self._collect_access()
            yield from self._collect_mlflow()
        if self._cluster.settings.enable_otel_bootstrap:
            yield from self._collect_collector()

    def _collect_access(self) -> Iterator[Metric]:
        cluster = self._cluster
        namespaces, role = cluster.agent_namespaces(), cluster.cluster_role
        bindings = cluster.collector_bindings.store
        granted = sum(is_granted(bindings.get(name, COLLECTOR_BINDING), role) for name in namespaces)
        yield _gauge("kagenti_agent_namespaces", "Namespaces that hold an agent", len(namespaces))
        yield _gauge(
            "kagenti_agent_namespaces_granted",
            "Namespaces that hold an agent and in which the collector has access to MLflow",
            granted,
        )
        agents = GaugeMetricFamily(
            "kagenti_agents",
            "Agents by state: configured (has its experiment and environment), waiting, opted_out",
            labels=("state",),
        )
        for state in AGENT_STATES:
            agents.add_metric((state,), self._agents[state])
        yield agents

    def _collect_mlflow(self) -> Iterator[Metric]:
        cluster = self._cluster
        cr = cluster.mlflow
        current = cluster.mlflow_state or "unset"
        states = GaugeMetricFamily(
            "kagenti_mlflow_management_state",
            "1 for the managementState of component mlflowoperator in the DataScienceCluster",
            labels=("state",),
        )
        for state in MANAGEMENT_STATES:
            states.add_metric((state,), state == current)
        yield states
        available = cr is not None and status.is_available(cr)
        yield _gauge("kagenti_mlflow_available", "Whether the MLflow CR says that it is Available", available)
        yield _gauge(
            "kagenti_mlflow_ready", "Whether MLflow's Service has a ready endpoint", cluster.mlflow_ready
        )
        yield _gauge(
            "kagenti_mlflow_cluster_role_found",
            "Whether a ClusterRole exists that the collector can be bound to",
            cluster.cluster_role is not None,
        )
        if self._contact is not None:
            yield _gauge(
                "kagenti_mlflow_last_contact_timestamp_seconds",
                "When MLflow's REST API last answered the operator with a success",
                self._contact,
            )
        # Without a workspace there is no experiment to know: kagenti_spans_refused tells.
        if self._in_charge and self.experiment_known and cluster.settings.mlflow_workspace:
            yield _gauge(
                "kagenti_experiment_known",
                "Whether the id of the collector's experiment is known",
                self.experiment_known(),
            )

    def _collect_collector(self) -> Iterator[Metric]:
        yield _gauge(
            "kagenti_collector_found",
            "Whether Deployment otel-collector exists",
            self._cluster.collector is not None,
        )
        yield _gauge(
            "kagenti_collector_ready",
            "Whether every replica of the collector, at least one, runs its pod template and is available",
            self._cluster.collector_ready,
        )
        if self._cluster.settings.enable_mlflow:
            refused = GaugeMetricFamily(
                "kagenti_spans_refused", "Why MLflow takes no span of the collector", labels=("reason",)
            )
            found = span_refusals.find_refusal(self._cluster, self._cluster.settings.mlflow_workspace)
            for reason in span_refusals.REASONS:
                refused.add_metric((reason,), reason == found)
            yield refused
        if not (self._in_charge and self.config_since):
            return
        since = self.config_since()
        yield _gauge(
            "kagenti_collector_config_in_place",
            "Whether the collector's ConfigMap and pod template are as the operator wants them",
            since is not None,
        )
        if since is not None:
            yield _gauge(
                "kagenti_collector_config_timestamp_seconds",
                "Since when the collector's configuration has been in place, as far as this process knows",
                since.timestamp(),
            )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))
