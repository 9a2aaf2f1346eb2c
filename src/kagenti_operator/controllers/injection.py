"""Pure: what an agent's workload carries so that its `mlflow` client just works."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kagenti_operator.controllers.owners import build_owner
from kagenti_operator.controllers.settings import MANAGED_LABELS
from kagenti_operator.kube.agent_models import Agent, AgentPodTemplate
from kagenti_operator.kube.rbac_models import RoleBinding
from kagenti_operator.kube.resources import RBAC, ROLE_BINDINGS, ROLES, Resource

TRACKING_AUTH = "kubernetes-namespaced"
OPT_OUT = "disabled"
# On pod templates for people, and on Roles for the operator itself.
EXPERIMENT_ID = "mlflow.kagenti.io/experiment-id"
# On pod templates: what is left out beside variables of the user's.
LEFT_OUT = "mlflow.kagenti.io/left-out"

URI_VARIABLE = "MLFLOW_TRACKING_URI"
AUTH_VARIABLE = "MLFLOW_TRACKING_AUTH"
ID_VARIABLE = "MLFLOW_EXPERIMENT_ID"
NAME_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
WORKSPACE_VARIABLE = "MLFLOW_WORKSPACE"


@dataclass(frozen=True, kw_only=True)
class Injection:
    """One agent's experiment, and how its client reaches it."""

    tracking_uri: str
    experiment_id: str
    experiment_name: str
    workspace: str

    def environment(self) -> Mapping[str, str]:
        """The environment variables of section 2.6 of the contract, as a pod template has them."""
        values = {
            URI_VARIABLE: self.tracking_uri,
            AUTH_VARIABLE: TRACKING_AUTH,
            ID_VARIABLE: self.experiment_id,
            NAME_VARIABLE: self.experiment_name,
            WORKSPACE_VARIABLE: self.workspace,
        }
        # The kubelet makes `$` of `$$`, and looks for a variable in `$(NAME)`.
        return {name: value.replace("$", "$$") for name, value in values.items()}

    def annotations(self) -> Mapping[str, str]:
        """The pod template's annotations; they also tell later what is ours."""
        return {
            EXPERIMENT_ID: self.experiment_id,
            "mlflow.kagenti.io/experiment-name": self.experiment_name,
            "mlflow.kagenti.io/tracking-uri": self.tracking_uri,
            "mlflow.kagenti.io/tracking-auth": TRACKING_AUTH,
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`body`: what to apply, None when the workload has everything.

    `kept`: variables that are the user's, as container/name; `left_out`: ours that do not go with them.
    """

    body: Mapping[str, Any] | None
    kept: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def injected(agent: Agent) -> Injection | None:
    """What an earlier reconcile put into this workload, read back from its annotations."""
    found = agent.template.metadata.annotations
    if not (found.experiment_id and found.experiment_name and found.tracking_uri and found.tracking_auth):
        return None
    return Injection(
        tracking_uri=found.tracking_uri,
        experiment_id=found.experiment_id,
        experiment_name=found.experiment_name,
        workspace=agent.metadata.namespace,
    )


def _current_annotations(agent: Agent) -> Mapping[str, str]:
    """Ours on the pod template, as `Injection.annotations` names them."""
    found: Mapping[str, str | None] = msgspec.to_builtins(agent.template.metadata.annotations)
    return {name: value for name, value in found.items() if value is not None}


def is_marked(agent: Agent) -> bool:
    """Whether any of our annotations is on the pod template."""
    return any(_current_annotations(agent).values())


def is_opted_out(agent: Agent) -> bool:
    """Whether the user does not want anything put into this workload."""
    return agent.metadata.annotations.inject == OPT_OUT


def _own_environment(
    existing: Mapping[str, str | None], wanted: Mapping[str, str], before: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The variables to apply on a container, and the names of those that the user set and that win.

    A variable is ours when it holds what our annotations say that we wrote, or what we want: left out of an
    apply, one that is ours would go, and people may have edited the annotations.
    """
    kept = [
        name
        for name, value in wanted.items()
        if name in existing and existing[name] not in (value, before.get(name, value))
    ]
    missing = _find_unfit(kept)
    return {name: value for name, value in wanted.items() if name not in (*kept, *missing)}, kept


def _find_unfit(kept: Collection[str]) -> Collection[str]:
    """Which of our variables would work against those that the user keeps.

    With another server than ours, our token and workspace are none of its business. Of an experiment, the
    client refuses an id and a name that do not belong together.
    """
    if URI_VARIABLE in kept:
        return (AUTH_VARIABLE, ID_VARIABLE, NAME_VARIABLE, WORKSPACE_VARIABLE)
    pair = {ID_VARIABLE, NAME_VARIABLE}
    return pair if pair & set(kept) else ()


def plan_injection(agent: Agent, resource: Resource[Any], injection: Injection) -> Plan:
    """One apply that brings a workload to `injection`, or none when nothing differs."""
    wanted = injection.environment()
    earlier = injected(agent)
    before = earlier.environment() if earlier else dict[str, str]()
    differs = False
    containers: list[Mapping[str, Any]] = []
    kept: list[str] = []
    left_out: list[str] = []
    for container in agent.template.spec.containers:
        existing = {var.name: var.value for var in container.env or ()}
        ours, theirs = _own_environment(existing, wanted, before)
        kept += [f"{container.name}/{name}" for name in theirs]
        left_out += [f"{container.name}/{name}" for name in wanted if name not in (*ours, *theirs)]
        differs = differs or any(existing.get(name) != value for name, value in ours.items())
        env = [{"name": name, "value": value} for name, value in ours.items()]
        containers.append({"name": container.name, "env": env})
    annotations = dict(injection.annotations())
    if left_out:
        # Whether a variable that is there is the user's, or ours and to be taken out, is seen nowhere else.
        annotations[LEFT_OUT] = ",".join(left_out)
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": containers}}
    differs = differs or annotations != _current_annotations(agent)
    body = _identity(agent, resource) | {"spec": {_template_field(resource): template}} if differs else None
    return Plan(body=body, kept=tuple(kept), left_out=tuple(left_out))


def build_release(agent: Agent, resource: Resource[Any]) -> Mapping[str, Any]:
    """An apply that gives up every field that is ours: server-side apply takes them out of the workload."""
    return _identity(agent, resource)


def _identity(agent: Agent, resource: Resource[Any]) -> dict[str, Any]:
    meta = agent.metadata
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        # uid: never create; resourceVersion: decide again when somebody changed the workload meanwhile.
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        },
    }


def _template_field(resource: Resource[Any]) -> str:
    return "podTemplate" if resource.kind == "Sandbox" else "template"


def role_name(workload: str) -> str:
    """Name of an agent's Role and RoleBinding."""
    return f"kagenti-mlflow-{workload}"


def grants_role(binding: RoleBinding, role: str) -> bool:
    """Whether a RoleBinding is to that Role of its namespace; somebody may have made it for another."""
    return (binding.role_ref.kind, binding.role_ref.name) == (ROLES.kind, role)


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
