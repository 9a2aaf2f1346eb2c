"""The collector's access to MLflow: one RoleBinding in every namespace whose spans it delivers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.failure_events import refusals_told
from kagenti_operator.controllers.owners import build_owner
from kagenti_operator.controllers.settings import (
    COLLECTOR,
    COLLECTOR_BINDING,
    EDIT_ROLE,
    INTEGRATION_ROLE,
    MANAGED_LABELS,
    MANAGER,
    MLFLOW_NAMESPACE,
    OPERATOR_CLUSTER_ROLE,
)
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.kube.resources import (
    CLUSTER_ROLES,
    DATA_SCIENCE_CLUSTERS,
    MLFLOWS,
    RBAC,
    ROLE_BINDINGS,
)
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

log = structlog.get_logger("controllers.access")


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The cluster-wide facts on which every namespace's access depends."""

    state: str | None
    ready: bool
    cluster_role: str | None
    # Of the operator's own ClusterRole, with which the bindings go; empty where there is none.
    owner_uid: str = ""


@dataclass(frozen=True)
class Grant:
    """The binding must exist and grant this ClusterRole."""

    cluster_role: str


@dataclass(frozen=True)
class Revoke:
    """The binding goes."""


@dataclass(frozen=True)
class Leave:
    """Whatever exists stays as it is."""


type Decision = Grant | Revoke | Leave


def decide(platform: Platform, *, wanted: bool, current: RoleBinding | None) -> Decision:
    """What should become of one namespace's binding; `wanted`: an agent lives there, or MLflow itself.

    A binding that works is never taken away by a hiccup: while MLflow is not ready, or its ClusterRole is
    being replaced, or somebody else manages the component, what exists stays and nothing new is made.
    """
    ours = current is not None and current.metadata.labels.managed_by == MANAGER
    match platform.state:
        case "Managed" if wanted:
            return Grant(platform.cluster_role) if platform.ready and platform.cluster_role else Leave()
        case "Unmanaged" if wanted:
            return Leave()
        case _:
            return Revoke() if ours else Leave()


def build_binding(
    namespace: str, cluster_role: str, *, collector_namespace: str, owner: KubeObject | None
) -> Mapping[str, Any]:
    """The RoleBinding of section 2.2 of the contract.

    `owner`: the operator's own ClusterRole, because nobody else takes the grants away when it is uninstalled.
    """
    metadata: dict[str, Any] = {"name": COLLECTOR_BINDING, "namespace": namespace, "labels": MANAGED_LABELS}
    if owner:
        metadata["ownerReferences"] = [build_owner(CLUSTER_ROLES, owner)]
    return {
        "apiVersion": ROLE_BINDINGS.api_version,
        "kind": ROLE_BINDINGS.kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": cluster_role},
        "subjects": [{"kind": "ServiceAccount", "name": COLLECTOR, "namespace": collector_namespace}],
    }


def has_foreign_owner(binding: RoleBinding | None) -> bool:
    """Whether that binding, taken over from somebody else, goes with an object of theirs."""
    owners = binding.metadata.owner_references if binding else ()
    return any((o.kind, o.name) != (CLUSTER_ROLES.kind, OPERATOR_CLUSTER_ROLE) for o in owners)


def is_granted(binding: RoleBinding | None, cluster_role: str | None) -> bool:
    """Whether that binding grants the collector that ClusterRole."""
    if binding is None or cluster_role is None:
        return False
    # A Role of the namespace may have the same name, and any rules.
    return (binding.role_ref.kind, binding.role_ref.name) == (CLUSTER_ROLES.kind, cluster_role)


class AccessController:
    """One key per namespace, so that an event costs the work of its namespace only."""

    name = "collector-access"

    def __init__(
        self, client: KubeClient, cluster: Cluster, events: EventRecorder, enqueue: Callable[[str], None]
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._applier = Applier(client)
        self._events = events
        self._enqueue = enqueue
        self._platform: Platform | None = None

    async def reconcile(self, key: str) -> float | None:
        """Bring the binding of namespace `key` to what the decision says."""
        current = self._cluster.collector_bindings.store.get(key, COLLECTOR_BINDING)
        wanted = key == MLFLOW_NAMESPACE or self._cluster.has_agents(key)
        match decide(self._observe(), wanted=wanted, current=current):
            case Grant(cluster_role):
                trouble = f"The collector is not granted access to MLflow for namespace '{key}'"
                with refusals_told(self._events, self._find_subject(), "AccessNotGranted", trouble):
                    return CONFIRM_SECONDS if await self._grant(key, cluster_role, current) else None
            case Revoke():
                trouble = f"The collector keeps its access to MLflow for namespace '{key}'"
                with refusals_told(self._events, self._find_subject(), "AccessNotRevoked", trouble):
                    await self._applier.absent(ROLE_BINDINGS, current)
            case Leave():
                pass
        return None

    async def _grant(self, namespace: str, cluster_role: str, current: RoleBinding | None) -> bool:
        """Make the binding grant that; return whether it had to be written."""
        if current is not None and not is_granted(current, cluster_role):
            # The API refuses to change a roleRef.
            await self._applier.absent(ROLE_BINDINGS, current)
            current = None
        desired = build_binding(
            namespace,
            cluster_role,
            collector_namespace=self._cluster.settings.namespace,
            owner=None if has_foreign_owner(current) else self._cluster.operator_role,
        )
        try:
            return await self._applier.ensure(ROLE_BINDINGS, desired, current)
        except ApiError as error:
            # The agents of a namespace that is going away go with it: their events follow.
            if not (error.namespace_terminating or error.not_found):
                raise
            log.info("Namespace is going away, no access granted", namespace=namespace)
            return False

    def _observe(self) -> Platform:
        cluster = self._cluster
        return Platform(
            state=cluster.mlflow_state,
            ready=cluster.mlflow_ready,
            cluster_role=cluster.cluster_role,
            owner_uid=cluster.operator_role.metadata.uid if cluster.operator_role else "",
        )

    def on_agent(self, old: KubeObject | None, new: KubeObject | None) -> None:
        """An agent came or went: its namespace is looked at. Changes of an agent do not matter here."""
        if old is None or new is None:
            changed = new or old
            assert changed is not None
            self._enqueue(changed.metadata.namespace)

    def on_binding(self, old: KubeObject | None, new: KubeObject | None) -> None:
        """A binding changed: whoever did it, its namespace is looked at."""
        changed = new or old
        assert changed is not None
        self._enqueue(changed.metadata.namespace)

    def on_platform(self, *_: KubeObject | None) -> None:
        """Look at every namespace, but only when a fact changed that all of them depend on."""
        platform = self._observe()
        if platform == self._platform:
            return
        self._platform = platform
        self._tell_without_role(platform)
        bound = {b.metadata.namespace for b in self._cluster.collector_bindings.store.values()}
        for namespace in sorted({MLFLOW_NAMESPACE} | bound | self._cluster.agent_namespaces()):
            self._enqueue(namespace)

    def _tell_without_role(self, platform: Platform) -> None:
        if platform.state != "Managed" or not platform.ready or platform.cluster_role:
            return
        message = (
            f"Neither ClusterRole {INTEGRATION_ROLE} nor {EDIT_ROLE} exists, so the collector is granted no "
            "access to MLflow and traces are refused. The MLflow operator installs them; access is granted "
            "as soon as one appears."
        )
        log.warning(message)
        subject = self._find_subject()
        if subject:
            self._events.warning(subject, "ClusterRoleMissing", message)

    def _find_subject(self) -> ObjectRef | None:
        """Whom to describe for access to MLflow."""
        cr = self._cluster.mlflow
        if cr:
            return ObjectRef.of(MLFLOWS, cr)
        dsc = next(iter(self._cluster.data_science_clusters.store.values()), None)
        return ObjectRef.of(DATA_SCIENCE_CLUSTERS, dsc) if dsc else None
