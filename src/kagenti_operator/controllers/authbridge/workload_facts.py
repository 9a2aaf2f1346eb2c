"""The workloads that may have a sidecar, and their files, from the caches."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.agents.facts import AgentInformer
from kagenti_operator.controllers.agents.keys import KINDS, AgentKey, build_key, key_of_agent
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.kube.objects.models import LabelledObject, WorkloadFile
from kagenti_operator.kube.resources import WORKLOAD_FILES, Resource
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Selection, Updated


class WorkloadFacts:
    """Workloads with the platform's labels of agents and tools, and the ConfigMaps of admission.

    A workload whose pods alone have the label is known by its file.
    """

    def __init__(self, dependencies: Dependencies) -> None:
        informers, names = dependencies.informers, dependencies.settings.names
        tools = f"{names.key(contract.TYPE_LABEL)}={contract.TOOL_TYPE}"
        selections = [
            Selection(resource=resource.for_names(names), label_selector=selector, packed=True)
            for resource in KINDS.values()
            for selector in (names.agent_selector, tools)
        ]
        self.workloads: Mapping[str, AgentInformer] = {
            kind: informers.get_any([it for it in selections if it.resource.kind == kind]) for kind in KINDS
        }
        self.files: Informer[WorkloadFile] = informers.get(
            Selection(resource=WORKLOAD_FILES, label_selector=files_selector(names), packed=True)
        )
        self.informers: tuple[Informer[Any], ...] = (*map(informers.get, selections), self.files)

    def resource(self, key: AgentKey) -> Resource[Any]:
        """The workload's resource, at the version that the cluster serves."""
        return self.workloads[key.kind].resource

    def get(self, key: AgentKey) -> Agent | None:
        """The workload, where it has the label."""
        return self.workloads[key.kind].cache.get(key.namespace, key.name)

    def file(self, namespace: str, name: str) -> WorkloadFile | None:
        """A ConfigMap of a workload, by its name."""
        return self.files.cache.get(namespace, name)

    def of_namespace(self, namespace: str) -> Iterator[AgentKey]:
        """The workloads of a namespace; one may come twice."""
        for kind, informer in self.workloads.items():
            for agent in informer.cache.of_namespace(namespace):
                yield key_of_agent(kind, agent)
        for file in self.files.cache.of_namespace(namespace):
            yield from owners_of(file)

    def all(self) -> Iterator[AgentKey]:
        """All workloads."""
        caches = (self.files.cache, *(informer.cache for informer in self.workloads.values()))
        namespaces = dict.fromkeys(itertools.chain.from_iterable(cache.namespaces() for cache in caches))
        return itertools.chain.from_iterable(map(self.of_namespace, namespaces))


def files_selector(names: Names) -> str:
    """The label selector of what admission writes."""
    return f"{names.key(contract.AUTHBRIDGE_MANAGED_LABEL)}={contract.AUTHBRIDGE_MANAGED}"


def owners_of(obj: LabelledObject) -> Iterator[AgentKey]:
    """The workloads that own an object."""
    metadata = obj.metadata
    for owner in metadata.owner_references:
        if owner.kind in KINDS:
            yield build_key(owner.kind, metadata.namespace, owner.name)


def key_of_change(kind: str, event: Event[Any]) -> Iterable[AgentKey]:
    """The workload, unless only its status changed, which says when its first pods come.

    A Sandbox's status says when its pod is gone.
    """
    if isinstance(event, Updated) and kind != "Sandbox":
        before, after = event.old, event.object
        same = before.metadata.uid == after.metadata.uid
        unchanged = same and before.metadata.generation == after.metadata.generation
        if unchanged and (before.status.replicas or not after.status.replicas):
            return ()
    return (key_of_agent(kind, event.object),)
