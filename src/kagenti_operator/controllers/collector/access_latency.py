"""How long from an agent's appearance to the collector's access for its namespace."""

from collections.abc import Callable
from typing import Any

from kagenti_operator import clock
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.metrics import Leading
from kagenti_operator.runtime.cache.object_cache import Added, Event, Removed, Updated


class AccessLatency:
    """Times agents that appear while this replica leads.

    An agent that goes before it has access is forgotten, so there are never more entries than agents.
    """

    def __init__(
        self, access: AccessFacts, agents: AgentFacts, leading: Leading, observe: Callable[[float], None]
    ) -> None:
        """`observe` is called with the seconds of each agent, once."""
        self._access = access
        self._leading = leading
        self._observe = observe
        # By namespace, then by uid: when the agent appeared.
        self._waiting: dict[str, dict[str, float]] = {}
        for informer in agents.workloads.values():
            informer.subscribe(self._on_agent)
        access.bindings.subscribe(lambda event: self._settle(event.object.metadata.namespace))
        for role in access.roles:
            role.subscribe(self._on_platform)
        access.deployments.subscribe(self._on_platform)

    def _on_agent(self, event: Event[Any]) -> None:
        metadata = event.object.metadata
        match event:
            case Added() if self._leading.value:
                self._waiting.setdefault(metadata.namespace, {})[metadata.uid] = clock.monotonic()
                self._settle(metadata.namespace)
            case Removed():
                waiting = self._waiting.get(metadata.namespace, {})
                waiting.pop(metadata.uid, None)
                if not waiting:
                    self._waiting.pop(metadata.namespace, None)
            case Added() | Updated():
                pass

    def _on_platform(self, _: Event[Any]) -> None:
        # Bindings may have outlived the ClusterRole and the account that they name.
        for namespace in tuple(self._waiting):
            self._settle(namespace)

    def _settle(self, namespace: str) -> None:
        if namespace in self._waiting and self._access.is_granted(namespace):
            now = clock.monotonic()
            for appeared in self._waiting.pop(namespace).values():
                self._observe(now - appeared)
