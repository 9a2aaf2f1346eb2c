"""Agents as the work queue has them: their keys, and what each event is about."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kagenti_operator.contract import Names
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.kube.resources import (
    AGENT_DEPLOYMENTS,
    AGENT_SANDBOXES,
    AGENT_STATEFUL_SETS,
    ROLES,
    Resource,
)
from kagenti_operator.runtime.cache.object_cache import Event, Updated
from kagenti_operator.runtime.telemetry.events import ObjectRef

KINDS: Mapping[str, Resource[Any]] = {
    r.kind: r for r in (AGENT_DEPLOYMENTS, AGENT_STATEFUL_SETS, AGENT_SANDBOXES)
}


class AgentKey(NamedTuple):
    """An agent, as the work queue has it."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(self)


def key_of_agent(kind: str, agent: KubeObject) -> AgentKey:
    """The key of an agent's workload."""
    return build_key(kind, agent.metadata.namespace, agent.metadata.name)


def build_key(kind: str, namespace: str, name: str) -> AgentKey:
    """A key that may be kept: of its names there is one copy, also where they were unpacked many times."""
    return AgentKey(kind, sys.intern(namespace), sys.intern(name))


def reference(key: AgentKey, agent: Agent) -> ObjectRef:
    """The workload, as Events point at it."""
    return ObjectRef.of(KINDS[key.kind], agent)


def granted_role(binding: RoleBinding) -> str | None:
    """The Role of its namespace that a RoleBinding grants."""
    return binding.role_ref.name if binding.role_ref.kind == ROLES.kind else None


def namespace_of(key: AgentKey) -> str:
    """The bucket of the work queue: namespaces are served in turn."""
    return key.namespace


def key_of_event(kind: str, event: Event[Any]) -> tuple[AgentKey, ...]:
    """The agent that appeared, changed or went."""
    return (key_of_agent(kind, event.object),)


def agents_of_grant(names: Names, event: Event[Any]) -> Iterable[AgentKey]:
    """Whomever a Role or RoleBinding of ours serves, or served until now."""
    for grant in (event.old, event.object) if isinstance(event, Updated) else (event.object,):
        metadata = grant.metadata
        owners = {(o.kind, o.name) for o in metadata.owner_references if o.kind in KINDS}
        if isinstance(grant, RoleBinding) and (role := granted_role(grant)) and role != metadata.name:
            workload = names.workload_of_role(role)
            owners |= {(kind, workload) for kind in KINDS} if workload else set()
        # An owner that was deleted without what it owns is removed from it by the garbage collector.
        if not owners and (name := names.workload_of_role(metadata.name)):
            owners = {(kind, name) for kind in KINDS}
        for kind, name in owners:
            yield build_key(kind, metadata.namespace, name)
