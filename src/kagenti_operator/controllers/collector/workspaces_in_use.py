"""Which workspaces the collector sends spans to by the configuration that is in place."""

from kagenti_operator.contract import Names
from kagenti_operator.controllers.collector.config_check import find_problem
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.in_place import InPlace
from kagenti_operator.kube.objects.models import ConfigMap


class WorkspacesInUse:
    """A workspace counts until the collector is rolled to a configuration without it.

    The configured one may be another already: where it does not exist, spans go on to the last one.
    """

    def __init__(self, names: Names, facts: CollectorFacts) -> None:
        self._names = names
        self._facts = facts
        self._read: ConfigMap | None = None
        self._now = frozenset[str]()
        self._in_use = frozenset[str]()

    def find(self) -> frozenset[str]:
        """The workspaces, from the caches; of those before only what was found by earlier calls."""
        config_map, collector = self._facts.config_map.cache.only(), self._facts.collector
        if config_map is not self._read:
            self._read, self._now = config_map, read_workspaces(self._names, config_map)
        if self._in_use != self._now:
            # Without a Deployment, nothing runs on an earlier one.
            settled = collector is None or find_problem(self._names, config_map, collector) is None
            self._in_use = self._now if settled else self._in_use | self._now
        return self._in_use


def read_workspaces(names: Names, config_map: ConfigMap | None) -> frozenset[str]:
    """The workspace that a configuration of the operator's sends to, if any."""
    destination = InPlace.of(names, config_map).destination
    return frozenset({destination.workspace} if destination and destination.workspace else ())
