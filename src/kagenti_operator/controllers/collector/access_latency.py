"""How long from an agent's appearance to the collector's access for its namespace."""

from collections.abc import Callable

from kagenti_operator import clock
from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.collector.access import is_granted
from kagenti_operator.controllers.settings import COLLECTOR_BINDING
from kagenti_operator.kube.objects.models import KubeObject


class Appearances:
    """Times agents of which the informers tell between `begin` and `end`; those before are nobody's doing.

    An agent that goes before it has access is forgotten, so there are never more entries than agents.
    """

    def __init__(self, cluster: Cluster, observe: Callable[[float], None]) -> None:
        """`observe` is called with the seconds of each agent, once."""
        self._cluster = cluster
        self._observe = observe
        self._running = False
        # By namespace, then by uid: when the agent appeared.
        self._waiting: dict[str, dict[str, float]] = {}
        for informer in cluster.agents.values():
            informer.subscribe(self._on_agent)
        cluster.collector_bindings.subscribe(self._on_binding)
        for informer in (cluster.integration_role, cluster.edit_role):
            informer.subscribe(self._on_role)

    def begin(self) -> None:
        """Time those that appear from now on."""
        self._running = True

    def end(self) -> None:
        """Time nobody any longer."""
        self._running = False
        self._waiting.clear()

    def _on_agent(self, old: KubeObject | None, new: KubeObject | None) -> None:
        if old is None and new is not None and self._running:
            namespace = new.metadata.namespace
            self._waiting.setdefault(namespace, {})[new.metadata.uid] = clock.monotonic()
            self._settle(namespace)
        elif old is not None and new is None:
            waiting = self._waiting.get(old.metadata.namespace, {})
            waiting.pop(old.metadata.uid, None)
            if not waiting:
                self._waiting.pop(old.metadata.namespace, None)

    def _on_binding(self, old: KubeObject | None, new: KubeObject | None) -> None:
        del old
        if new is not None:
            self._settle(new.metadata.namespace)

    def _on_role(self, *_: KubeObject | None) -> None:
        # Bindings may have outlived the ClusterRole that they name.
        for namespace in tuple(self._waiting):
            self._settle(namespace)

    def _settle(self, namespace: str) -> None:
        binding = self._cluster.collector_bindings.store.get(namespace, COLLECTOR_BINDING)
        if namespace in self._waiting and is_granted(binding, self._cluster.cluster_role):
            now = clock.monotonic()
            for appeared in self._waiting.pop(namespace).values():
                self._observe(now - appeared)
