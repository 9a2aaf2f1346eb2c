"""Who may write to MLflow as the collector, from the caches."""

from typing import Any

from kagenti_operator import contract
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.kube.resources import CLUSTER_ROLES, ROLE_BINDINGS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection


class AccessFacts:
    """The ClusterRoles that the collector can be bound to, its RoleBindings, and the operator's own role."""

    def __init__(self, dependencies: Dependencies) -> None:
        informers, names = dependencies.informers, dependencies.settings.names
        self._own_name = names.deployment
        self.integration_role = informers.get(
            Selection(resource=CLUSTER_ROLES, name=contract.INTEGRATION_ROLE)
        )
        self.edit_role = informers.get(Selection(resource=CLUSTER_ROLES, name=contract.EDIT_ROLE))
        # Whoever brings the permissions themselves may name it otherwise: then nothing has it as owner.
        self.own_role = informers.get(Selection(resource=CLUSTER_ROLES, name=names.deployment, optional=True))
        self.bindings = informers.get(Selection(resource=ROLE_BINDINGS, name=contract.COLLECTOR_BINDING))

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All of them."""
        return (*self.roles, self.own_role, self.bindings)

    @property
    def roles(self) -> tuple[Informer[KubeObject], ...]:
        """The informers of the ClusterRoles that the collector can be bound to."""
        return (self.integration_role, self.edit_role)

    @property
    def cluster_role(self) -> str | None:
        """The ClusterRole to bind the collector to, None while there is none."""
        found = (role.selection.name for role in self.roles if role.cache.get("", role.selection.name))
        return next(found, None)

    @property
    def operator_role(self) -> KubeObject | None:
        """The operator's own ClusterRole, where it has it from the chart."""
        return self.own_role.cache.get("", self._own_name)

    def binding(self, namespace: str) -> RoleBinding | None:
        """The collector's RoleBinding in a namespace."""
        return self.bindings.cache.get(namespace, contract.COLLECTOR_BINDING)

    def is_granted(self, namespace: str) -> bool:
        """Whether the collector is bound to the ClusterRole in a namespace."""
        return is_granted(self.binding(namespace), self.cluster_role)


def is_granted(binding: RoleBinding | None, cluster_role: str | None) -> bool:
    """Whether that binding grants the collector that ClusterRole."""
    if binding is None or cluster_role is None:
        return False
    # A Role of the namespace may have the same name, and any rules.
    return (binding.role_ref.kind, binding.role_ref.name) == (CLUSTER_ROLES.kind, cluster_role)
