"""The agents' workloads and their grants, from the caches."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.agents.foreign_bindings import is_foreign
from kagenti_operator.controllers.agents.keys import KINDS, AgentKey, build_key, granted_role, key_of_agent
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.objects.agents import Agent, AgentIdentity
from kagenti_operator.kube.objects.models import ObjectMeta
from kagenti_operator.kube.objects.naming import model_for
from kagenti_operator.kube.objects.rbac import Role, RoleBinding
from kagenti_operator.kube.resources import (
    AGENT_DEPLOYMENTS,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.merged_informer import MergedInformer
from kagenti_operator.runtime.cache.object_cache import Selection

BY_ROLE = "role"


def _concerns_agents(names: Names, binding: RoleBinding) -> bool:
    """Whether it has the name of an agent's, or grants an agent's Role."""
    role = granted_role(binding)
    return any(names.workload_of_role(it) is not None for it in (binding.metadata.name, role) if it)


def _roles_of_others(names: Names, binding: RoleBinding) -> tuple[str, ...]:
    """The agent's Role that a RoleBinding of another name grants, with its namespace."""
    foreign = is_foreign(names, binding)
    return (f"{binding.metadata.namespace}/{binding.role_ref.name}",) if foreign else ()


type AgentInformer = Informer[Any] | MergedInformer[Any]


class AgentFacts:
    """Workloads with the agents' labels, their Roles, and whatever RoleBindings are to those."""

    def __init__(self, dependencies: Dependencies) -> None:
        informers, names = dependencies.informers, dependencies.settings.names
        self._names = names
        self.selectors = tuple(dict.fromkeys((names.agent_selector, *dependencies.settings.agent_selectors)))
        self.selector = " or ".join(self.selectors)
        selections = [
            Selection(
                resource=resource.for_names(names),
                label_selector=selector,
                packed=True,
            )
            for resource in KINDS.values()
            for selector in self.selectors
        ]
        self.informers = tuple(informers.get(selection) for selection in selections)
        # One for each kind, whichever of the selectors an object is selected by.
        self.workloads: Mapping[str, AgentInformer] = {
            kind: informers.get_any([it for it in selections if it.resource.kind == kind]) for kind in KINDS
        }
        ours = f"{contract.MANAGED_BY_LABEL}={names.manager}"
        self.roles = informers.get(
            Selection(resource=ROLES.for_names(names), label_selector=ours, packed=True)
        )
        # Not by label: who grants an agent's Role to others puts none on. Of all the rest nothing is kept.
        self.bindings = informers.get(
            Selection(
                resource=ROLE_BINDINGS.for_names(names),
                keep=partial(_concerns_agents, names),
                packed=True,
                indexes=((BY_ROLE, partial(_roles_of_others, names)),),
            )
        )

    @property
    def complete(self) -> bool:
        """Whether every kind of workload could be listed: else there may be agents that nobody knows."""
        return not any(informer.late for informer in self.workloads.values())

    def is_unknown(self, key: AgentKey) -> bool:
        """Whether that agent is of a kind that could not be listed."""
        return self.workloads[key.kind].late

    def resource(self, key: AgentKey) -> Resource[Any]:
        """The agent's resource, at the version that the cluster serves."""
        return self.workloads[key.kind].resource

    def identity(self, kind: str) -> Resource[AgentIdentity]:
        """The same of a kind, of which the API server sends the metadata only."""
        model = model_for(AgentIdentity, self._names.domain)
        return replace(self.workloads[kind].resource, model=model, metadata_only=True)

    def get(self, key: AgentKey) -> Agent | None:
        """The agent's workload."""
        return self.workloads[key.kind].cache.get(key.namespace, key.name)

    def __contains__(self, key: AgentKey) -> bool:
        return (key.namespace, key.name) in self.workloads[key.kind].cache

    def all(self) -> tuple[AgentKey, ...]:
        """The keys of all agents."""
        return tuple(
            build_key(kind, *key)
            for kind, informer in self.workloads.items()
            for key in informer.cache.all_keys()
        )

    def __len__(self) -> int:
        return sum(len(informer.cache) for informer in self.workloads.values())

    def twins(self, key: AgentKey) -> tuple[AgentKey, ...]:
        """The keys of agents with that name: kinds have names of their own, and share a Role."""
        _, namespace, name = key
        return tuple(
            AgentKey(kind, namespace, name)
            for kind, informer in self.workloads.items()
            if (namespace, name) in informer.cache
        )

    def of_namespace(self, namespace: str) -> Iterator[AgentKey]:
        """The keys of a namespace's agents."""
        for kind, informer in self.workloads.items():
            for agent in informer.cache.of_namespace(namespace):
                yield key_of_agent(kind, agent)

    def of_name(self, metadata: ObjectMeta) -> tuple[AgentKey, ...]:
        """The keys of agents of the same namespace and name as some other object."""
        return self.twins(build_key(AGENT_DEPLOYMENTS.kind, metadata.namespace, metadata.name))

    def has_agents(self, namespace: str) -> bool:
        """Whether any agent lives in that namespace."""
        return any(i.cache.count(namespace) for i in self.workloads.values())

    def namespaces(self) -> set[str]:
        """Every namespace that holds an agent."""
        values = (i.cache.namespaces() for i in self.workloads.values())
        return set(itertools.chain.from_iterable(values))

    def role(self, key: AgentKey) -> Role | None:
        """The Role of an agent."""
        return self.roles.cache.get(key.namespace, self._names.agent_role(key.name))

    def other_roles(self, key: AgentKey, experiment_id: str) -> Iterator[Role]:
        """The Roles of other agents of the namespace on which that id is recorded."""
        own = self._names.agent_role(key.name)
        for role in self.roles.cache.of_namespace(key.namespace):
            metadata = role.metadata
            if metadata.annotations.experiment_id == experiment_id and metadata.name != own:
                yield role

    def is_granted_to_others(self, key: AgentKey, experiment: str) -> bool:
        """Whether the Role of another agent of the namespace grants an experiment by that name."""
        own = self._names.agent_role(key.name)
        return any(
            experiment in role.resource_names and role.metadata.name != own
            for role in self.roles.cache.of_namespace(key.namespace)
        )

    def binding(self, key: AgentKey) -> RoleBinding | None:
        """The RoleBinding of an agent's name, whoever made it."""
        return self.bindings.cache.get(key.namespace, self._names.agent_role(key.name))

    def foreign_bindings(self, key: AgentKey) -> tuple[RoleBinding, ...]:
        """RoleBindings of other names that grant the Role of an agent."""
        role = f"{key.namespace}/{self._names.agent_role(key.name)}"
        return tuple(sorted(self.bindings.cache.by_index(BY_ROLE, role), key=lambda it: it.metadata.name))
