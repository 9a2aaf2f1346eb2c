"""Changes of agents' workloads, each of which rolls one: few at a time, and not against another writer."""

from collections.abc import Hashable
from typing import Any

import structlog

from kagenti_operator import clock
from kagenti_operator.controllers.agents.decide import Inject, Observed, Release
from kagenti_operator.controllers.agents.events import report_reverted
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.injection import (
    build_release,
    build_removal,
    injected,
    is_owned_by_others,
)
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.controllers.agents.rollout import Pending
from kagenti_operator.controllers.agents.rollout_slots import PATIENCE_SECONDS
from kagenti_operator.controllers.agents.state import AgentStates
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.errors import ApiError, KubeError
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.control.applier import version_of
from kagenti_operator.runtime.control.write_backoff import WritesReverted
from kagenti_operator.runtime.telemetry.reporter import Report

log = structlog.get_logger(__name__)


class AgentWorkloads:
    """Puts an agent's environment into its workload, and takes it out."""

    def __init__(self, dependencies: Dependencies, facts: AgentFacts, states: AgentStates) -> None:
        self._names = dependencies.settings.names
        self._client = dependencies.client
        self._facts = facts
        self._states = states

    def check(self, key: AgentKey, agent: Agent, change: Inject | Release, reports: list[Report]) -> None:
        """Raise WritesReverted, and report it, where another writer keeps reverting the change."""
        writes = self._states.writes
        writes.forget_what_lasted()
        if pause := writes.wait(key, _what(change), version_of(agent)):
            report = report_reverted(self._names)
            reports.append(report)
            raise WritesReverted(report.message, pause)

    async def change(self, observed: Observed, agent: Agent, change: Inject | Release) -> float | None:
        """Make the change; return after how many seconds to come again where it is not its turn.

        Raises KubeError.
        """
        key, states = observed.key, self._states
        if not states.slots.take(key):
            return PATIENCE_SECONDS
        try:
            changed = await self._write(observed.resource, agent, change)
        except KubeError as error:
            # Where only the answer was lost the workload may roll; but its place would be kept for minutes.
            states.slots.refused(key, self._facts.get(key))
            if isinstance(error, ApiError) and error.not_found and isinstance(change, Inject):
                return None
            raise
        states.slots.began(key, changed)
        states.writes.wrote(key, _what(change), version_of(changed))
        fields = {"kind": key.kind, "namespace": key.namespace, "name": key.name}
        if isinstance(change, Release):
            states.get(key).pending = None
            log.info("Released workload from MLflow", **fields)
            return None
        log.info("Configured agent for MLflow", experimentID=change.injection.experiment_id, **fields)
        states.get(key).pending = Pending(
            injection=change.injection, generation=changed.metadata.generation, since=clock.monotonic()
        )
        return None

    async def _write(self, resource: Resource[Any], agent: Agent, change: Inject | Release) -> Agent:
        if isinstance(change, Inject):
            return await self._client.apply(resource, change.body)
        meta = agent.metadata
        path = resource.path(meta.namespace, meta.name)
        workload: dict[str, Any] = await self._client.ask("GET", path, dict[str, Any])
        if is_owned_by_others(self._names, workload, resource):
            # Given up by us it would stay, as after a rollback, or what another operator wrote before. It
            # goes first, and all at once: each change of the template rolls the workload.
            operations = build_removal(self._names, workload, resource, injected(agent))
            agent = await self._client.json_patch(resource, meta.name, operations, meta.namespace)
            # Nothing of ours is left to be seen. A conflict here, with a status for example, would not be
            # tried again: the next look finds nothing to release.
            return await self._client.apply(resource, build_release(agent, resource, exact=False))
        return await self._client.apply(resource, build_release(agent, resource))


def _what(change: Inject | Release) -> Hashable:
    return change.injection if isinstance(change, Inject) else None
