"""Pure: the Role and RoleBinding that let an agent's pods use its experiment, and nothing else."""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.agents.keys import KINDS, AgentKey
from kagenti_operator.kube.manifests import (
    Manifest,
    build_manifest,
    build_owner,
    build_role,
    build_role_binding,
)
from kagenti_operator.kube.objects.agents import Agent, AgentPodTemplate
from kagenti_operator.kube.objects.models import OwnerReference
from kagenti_operator.kube.objects.rbac import RbacObject, Role, RoleBinding
from kagenti_operator.kube.resources import ROLES, Resource
from kagenti_operator.mlflow.client import Experiment

DEFAULT_ACCOUNT = "default"
_TIME = re.compile(r"[0-9]{1,18}")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a Role and its RoleBinding have for others than those that are known, and go on to have.

    `shared`: their experiment is the one that the Role records.
    """

    shared: bool = True
    experiments: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    owners: tuple[OwnerReference, ...] = ()


NOTHING_KEPT = Kept()


class Grantee(msgspec.Struct, frozen=True, kw_only=True):
    """A workload that shares the Role of its name: kinds have names of their own.

    `has_own_account`: where its template names no ServiceAccount, its pods may run as the one of its name.
    """

    key: AgentKey
    resource: Resource[Any]
    agent: Agent
    has_own_account: bool = False

    @property
    def accounts(self) -> tuple[str, ...]:
        """The ServiceAccounts that its pods may run as."""
        named = service_account(self.agent.template)
        return (named, self.key.name) if self.has_own_account and named == DEFAULT_ACCOUNT else (named,)


def is_ours(names: Names, grant: RbacObject) -> bool:
    """Whether the operator made it: people may have taken the label away, or what it belongs to."""
    metadata = grant.metadata
    return metadata.labels.managed_by == names.manager or any(
        o.kind in KINDS for o in metadata.owner_references
    )


def without_foreign_owners[T: RbacObject](grant: T | None) -> T | None:
    """The grant as if agents alone owned it: what others add is theirs, and no reason to write it again."""
    if grant is None:
        return None
    owners = tuple(o for o in grant.metadata.owner_references if o.kind in KINDS)
    if len(owners) == len(grant.metadata.owner_references):
        return grant
    metadata = msgspec.structs.replace(grant.metadata, owner_references=owners)
    return msgspec.structs.replace(grant, metadata=metadata)


def service_account(template: AgentPodTemplate) -> str:
    """The ServiceAccount that the pods run as."""
    return template.spec.service_account_name or template.spec.service_account or DEFAULT_ACCOUNT


def recorded_experiment(role: Role) -> Experiment | None:
    """The experiment that `build_access` recorded on a Role; None where it recorded none.

    Without a name where the Role is empty: then it is known by its id and the time of its creation alone.
    """
    annotations, names = role.metadata.annotations, role.resource_names
    time = annotations.experiment_creation_time or ""
    # Somebody may have written anything there.
    known = _TIME.fullmatch(time)
    if not annotations.experiment_id or not (names or known):
        return None
    name = sys.intern(names[0]) if names else ""
    return Experiment(id=annotations.experiment_id, name=name, creation_time=int(time) if known else None)


def what_to_keep(
    names: Names,
    role: Role | None,
    binding: RoleBinding | None,
    grantees: Sequence[Grantee],
    own: Experiment | None,
) -> Kept:
    """What an agent has that shares the Role and cannot be read; `own`: the experiment of those that can.

    While the Role grants nothing anybody may put accounts into its RoleBinding: they are not kept then.
    """
    if role is None:
        return NOTHING_KEPT
    unknown = KINDS.keys() - {grantee.key.kind for grantee in grantees}
    owners = tuple(owner for owner in role.metadata.owner_references if owner.kind in unknown)
    recorded = recorded_experiment(role)
    shared = recorded is not None and own is not None and recorded.is_same(own)
    subjects = (binding.subjects or ()) if binding and role.rules and is_ours(names, binding) else ()
    return Kept(
        shared=shared,
        experiments=() if shared else tuple(name for name in role.resource_names if name),
        accounts=tuple(
            subject.name
            for subject in subjects
            if (subject.kind, subject.namespace) == ("ServiceAccount", role.metadata.namespace)
        ),
        owners=owners,
    )


def build_emptied(names: Names, role: Role) -> Manifest:
    """Build the Role as it is, except that it grants nothing, whoever it serves."""
    mlflow_uid = role.metadata.annotations.mlflow_uid or ""
    return build_manifest(
        ROLES,
        role.metadata.name,
        role.metadata.namespace,
        labels=names.managed_labels,
        annotations=_identity(names, recorded_experiment(role), mlflow_uid),
        owners=[_refer_to(owner) for owner in role.metadata.owner_references if owner.kind in KINDS],
        rules=[],
    )


def _refer_to(owner: OwnerReference) -> Mapping[str, str]:
    return {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid}


def _identity(names: Names, experiment: Experiment | None, mlflow_uid: str) -> Mapping[str, str]:
    # The id is never left out: what is not in an apply is not compared either, and an outdated one would
    # stay. A Role of a version that did not record the rest is no reason to write it before that is known.
    annotations = {names.mlflow_annotation("experiment-id"): experiment.id if experiment else ""}
    if experiment and experiment.creation_time is not None:
        annotations[names.mlflow_annotation("experiment-creation-time")] = str(experiment.creation_time)
    if experiment and mlflow_uid:
        annotations[names.mlflow_annotation("mlflow-uid")] = mlflow_uid
    return annotations


def build_access(
    names: Names,
    key: AgentKey,
    experiments: tuple[str, ...],
    grantees: tuple[Grantee, ...],
    *,
    experiment: Experiment | None,
    mlflow_uid: str = "",
    kept: Kept = NOTHING_KEPT,
    empty: bool = False,
) -> tuple[Manifest, Manifest]:
    """Build Role and RoleBinding of section 2.6 of the contract, owned by the workloads that they serve.

    `experiment`: the one that all of them have, of the MLflow whose CR has that uid. Its id and creation time
    are kept on the Role, which those who may write workloads cannot write; None where there is no such one.
    `kept`: what is granted beside. `empty`: the Role grants nothing.

    Raises ValueError where there is nothing or nobody to grant: what has no owner outlives its agents.
    """
    if not grantees:
        raise ValueError(f"the grant of agent {key} needs a workload that owns it")
    name = names.agent_role(key.name)
    owners = [build_owner(grantee.resource, grantee.agent) for grantee in grantees]
    uids = {owner["uid"] for owner in owners}
    owners += [_refer_to(owner) for owner in kept.owners if owner.uid not in uids]
    # One order, whoever of them is known: that of `grantees`.
    owners.sort(key=lambda owner: tuple(KINDS).index(owner["kind"]))
    metadata: dict[str, Any] = {
        "labels": names.managed_labels,
        "annotations": _identity(names, experiment if kept.shared else None, mlflow_uid),
        "owners": owners,
    }
    role = (
        build_manifest(ROLES, name, key.namespace, **metadata, rules=[])
        if empty
        else build_role(
            name,
            key.namespace,
            group=contract.MLFLOW_RBAC_GROUP,
            resource=contract.EXPERIMENTS,
            names=tuple(sorted({*experiments, *kept.experiments})) if kept.experiments else experiments,
            verbs=contract.AGENT_VERBS,
            **metadata,
        )
    )
    accounts = sorted({*kept.accounts, *(it for grantee in grantees for it in grantee.accounts)})
    binding = build_role_binding(
        name,
        key.namespace,
        role=ROLES,
        role_name=name,
        accounts=[(key.namespace, account) for account in accounts],
        labels=names.managed_labels,
        owners=owners,
    )
    return role, binding
