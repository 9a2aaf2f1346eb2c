"""Workloads that look like agents and are not served, because they carry a label that nobody configured.

Looked for only while there is no agent, seldom, and by lists of one object's metadata: a platform that was
renamed, or makes its agents otherwise, would else look as if it had none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from kagenti_operator import clock, contract
from kagenti_operator.backoff import jittered
from kagenti_operator.contract import Names
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.own_deployment import OwnDeployment
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.cache.object_cache import Event, Updated
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

NAME = "other-labels"
# How often it is looked at least; up to twice as long by chance.
LOOK_SECONDS = 300.0
# Not sooner, however often the last agent goes.
AT_MOST_SECONDS = 60.0
# More are not counted.
MANY = 100


def choose_selectors(names: Names, configured: Iterable[str]) -> tuple[str, ...]:
    """The selectors of agents that platforms are known to use and that are not configured."""
    served = {names.agent_selector, *configured}
    return tuple(selector for selector in contract.KNOWN_AGENT_SELECTORS if selector not in served)


def describe_other_labels(configured: str, found: Mapping[str, int]) -> str | None:
    """A sentence on workloads that are not served, by selector; None where there are none."""
    counted = {
        selector: f"{count}{'+' if count >= MANY else ''}" for selector, count in found.items() if count
    }
    if not counted:
        return None
    listed = ", ".join(f"{count} with {selector}" for selector, count in counted.items())
    flags = " ".join(f"--agent-selector={selector}" for selector in counted)
    platforms = {names.agent_selector: prefix for prefix, names in contract.PLATFORMS.items()}
    renamed = [platforms[selector] for selector in counted if selector in platforms]
    other = f", or --platform-name={renamed[0]} where the platform has that name" if renamed else ""
    return (
        f"No workload is selected by {configured}, but there are {listed}, which are not served. To serve "
        f"them start the operator with {flags} (chart: agents.selectors){other}."
    )


class OtherLabels:
    """Looks for them, and reports them until there is an agent."""

    def __init__(self, dependencies: Dependencies, agents: AgentFacts) -> None:
        self._client = dependencies.client
        self._rng = dependencies.rng
        self._suspended = dependencies.suspended.mlflow
        self._agents = agents
        self.own = OwnDeployment(dependencies)
        self._selectors = choose_selectors(dependencies.settings.names, dependencies.settings.agent_selectors)
        self._reporter = Reporter[str](dependencies.events, __name__)
        self._looked_at: float | None = None
        self._found: str | None = None

    def note(self) -> str | None:
        """What `/readyz` says of it, on the replica that leads."""
        return None if len(self._agents) or self._suspended.value else self._found

    async def reconcile(self, _: str) -> float | None:
        """Look, unless there is an agent; return when to look again."""
        if len(self._agents):
            self._report(None)
            return None
        now = clock.monotonic()
        if self._looked_at is not None and now < self._looked_at + AT_MOST_SECONDS:
            return self._looked_at + AT_MOST_SECONDS - now
        self._looked_at = now
        found = {selector: await self._count(selector) for selector in self._selectors}
        if not len(self._agents):
            self._report(describe_other_labels(self._agents.selector, found))
        return jittered(LOOK_SECONDS, 1.0, self._rng)

    async def _count(self, selector: str) -> int:
        """Count workloads of every kind that is served, up to MANY; one is asked for first."""
        count = 0
        for informer in self._agents.workloads.values():
            if informer.cache.served.value:
                count += await self._count_kind(informer.resource, selector)
        return min(count, MANY)

    async def _count_kind(self, resource: Resource[Any], selector: str) -> int:
        metadata: Resource[KubeObject] = replace(resource, model=KubeObject, metadata_only=True)
        first = await self._client.list_page(metadata, label_selector=selector, limit=1)
        if not first.continue_:
            return len(first.items)
        # Rare, and what people want to know.
        return len((await self._client.list_page(metadata, label_selector=selector, limit=MANY)).items)

    def _report(self, message: str | None) -> None:
        self._found = message
        over = "Agents are found by the configured labels."
        reports = (
            [Report(reason="AgentsWithOtherLabels", message=message, log=True, over=over)] if message else []
        )
        self._reporter.report(NAME, self.own.reference, reports)


def setup(dependencies: Dependencies, found: OtherLabels, agents: AgentFacts) -> Controller[str]:
    """Watch agents that come or go; the rest is looked for now and then."""
    controller = dependencies.controller(NAME, found.reconcile)
    for informer in agents.workloads.values():
        controller.watches(informer, _key_of_event)
    controller.enqueue(NAME)
    return controller.suspend_while(dependencies.suspended.mlflow)


def _key_of_event(event: Event[Any]) -> tuple[str, ...]:
    return () if isinstance(event, Updated) else (NAME,)
