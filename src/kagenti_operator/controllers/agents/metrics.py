"""Metrics of agents: counted as events come, at no cost when somebody scrapes. See docs/metrics.md."""

from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.injection import has_own_server, injected, is_opted_out
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.runtime.cache.object_cache import Added, Event, Removed, Updated

STATES = ("configured", "waiting", "opted_out")


def state_of(agent: Agent) -> str:
    """Which of STATES an agent is in."""
    if is_opted_out(agent) or has_own_server(agent):
        return "opted_out"
    return "configured" if injected(agent) else "waiting"


class AgentMetrics(Collector):
    """Agents by state."""

    def __init__(self, facts: AgentFacts) -> None:
        self._agents: Tally[str] = Tally()
        for informer in facts.workloads.values():
            informer.subscribe(self._on_agent)

    def collect(self) -> Iterator[Metric]:
        """One series for each state."""
        agents = GaugeMetricFamily(
            "kagenti_agents",
            "Agents by state: configured (has its experiment and environment), waiting, opted_out",
            labels=("state",),
        )
        for state in STATES:
            agents.add_metric((state,), self._agents[state])
        yield agents

    def _on_agent(self, event: Event[Any]) -> None:
        match event:
            case Added(agent):
                self._agents[state_of(agent)] += 1
            case Updated(old, agent):
                self._agents[state_of(old)] -= 1
                self._agents[state_of(agent)] += 1
            case Removed(agent):
                self._agents[state_of(agent)] -= 1
