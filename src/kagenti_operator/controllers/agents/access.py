"""Pure: the Role and RoleBinding that let an agent's pods use its experiment, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kagenti_operator.controllers.agents.injection import EXPERIMENT_ID
from kagenti_operator.controllers.cluster import AGENT_KINDS
from kagenti_operator.controllers.owners import build_owner
from kagenti_operator.controllers.settings import MANAGED_LABELS
from kagenti_operator.kube.objects.agents import Agent, AgentPodTemplate
from kagenti_operator.kube.objects.rbac import RbacObject, RoleBinding
from kagenti_operator.kube.resources import RBAC, ROLE_BINDINGS, ROLES, Resource

_ROLE_PREFIX = "kagenti-mlflow-"


def role_name(workload: str) -> str:
    """Name of an agent's Role and RoleBinding."""
    return f"{_ROLE_PREFIX}{workload}"


def workload_name(role: str) -> str | None:
    """The agent that a Role or RoleBinding of that name is for; None where it is none of an agent."""
    return role.removeprefix(_ROLE_PREFIX) if role.startswith(_ROLE_PREFIX) else None


def grants_role(binding: RoleBinding, role: str) -> bool:
    """Whether a RoleBinding is to that Role of its namespace; somebody may have made it for another."""
    return (binding.role_ref.kind, binding.role_ref.name) == (ROLES.kind, role)


def without_foreign_owners[T: RbacObject](grant: T | None) -> T | None:
    """The grant as if agents alone owned it: what others add is theirs, and no reason to write it again."""
    if grant is None:
        return None
    owners = tuple(o for o in grant.metadata.owner_references if o.kind in AGENT_KINDS)
    if len(owners) == len(grant.metadata.owner_references):
        return grant
    metadata = msgspec.structs.replace(grant.metadata, owner_references=owners)
    return msgspec.structs.replace(grant, metadata=metadata)


def service_account(template: AgentPodTemplate) -> str:
    """The ServiceAccount that the pods run as."""
    return template.spec.service_account_name or template.spec.service_account or "default"


@dataclass(frozen=True, kw_only=True)
class Grantee:
    """A workload that shares the Role of its name: kinds have names of their own."""

    resource: Resource[Any]
    agent: Agent


def build_access(
    namespace: str,
    workload: str,
    experiments: tuple[str, ...],
    grantees: tuple[Grantee, ...],
    *,
    experiment_id: str | None,
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Role and RoleBinding of section 2.6 of the contract, owned by the workloads that they serve.

    `experiment_id`: of the one experiment that all of them have. It is kept on the Role, which those who may
    write workloads cannot write; None where there is no such one.

    Raises ValueError where there is nothing or nobody to grant: a rule without names grants every experiment
    of the namespace, and what has no owner outlives its agents.
    """
    if not (experiments and all(experiments) and grantees):
        raise ValueError(
            f"the grant of agent {namespace}/{workload} needs experiments and workloads, not {experiments!r} "
            f"and {len(grantees)} workloads"
        )
    name = role_name(workload)
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": MANAGED_LABELS,
        "ownerReferences": [build_owner(g.resource, g.agent) for g in grantees],
    }
    role = {
        "apiVersion": ROLES.api_version,
        "kind": ROLES.kind,
        # Never left out: what is not in an apply is not compared either, and an outdated id would stay.
        "metadata": metadata | {"annotations": {EXPERIMENT_ID: experiment_id or ""}},
        "rules": [
            {
                "apiGroups": ["mlflow.kubeflow.org"],
                "resources": ["experiments"],
                "resourceNames": list(experiments),
                "verbs": ["get", "update"],
            }
        ],
    }
    accounts = sorted({service_account(g.agent.template) for g in grantees})
    binding = {
        "apiVersion": ROLE_BINDINGS.api_version,
        "kind": ROLE_BINDINGS.kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": ROLES.kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": a, "namespace": namespace} for a in accounts],
    }
    return role, binding
