"""Who may write to MLflow as the collector, from the caches."""

from typing import Any

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.rbac import RoleBinding, Subject
from kagenti_operator.kube.resources import CLUSTER_ROLES, DEPLOYMENTS, ROLE_BINDINGS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection


class AccessFacts:
    """The collector's account and RoleBindings, the ClusterRoles to bind it to, and the operator's own."""

    def __init__(self, dependencies: Dependencies) -> None:
        informers, settings = dependencies.informers, dependencies.settings
        names = settings.names
        self._own_name = names.deployment
        self._namespace = settings.namespace
        self._manager = names.manager
        # The selection of CollectorFacts, so that one informer serves both.
        self.deployments = informers.get(Selection(resource=DEPLOYMENTS, namespace=settings.namespace))
        self.integration_role = informers.get(
            Selection(resource=CLUSTER_ROLES, name=contract.INTEGRATION_ROLE)
        )
        self.edit_role = informers.get(Selection(resource=CLUSTER_ROLES, name=contract.EDIT_ROLE))
        # Whoever brings the permissions themselves may name it otherwise: then nothing has it as owner.
        self.own_role = informers.get(Selection(resource=CLUSTER_ROLES, name=names.deployment, optional=True))
        self.bindings = informers.get(
            Selection(resource=ROLE_BINDINGS.for_names(names), name=contract.COLLECTOR_BINDING, packed=True)
        )

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All of them."""
        return (*self.roles, self.own_role, self.bindings, self.deployments)

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

    def is_ours(self, namespace: str) -> bool:
        """Whether the RoleBinding in a namespace is there and the operator's."""
        binding = self.binding(namespace)
        return binding is not None and binding.metadata.labels.managed_by == self._manager

    @property
    def collector_account(self) -> str | None:
        """Name of the ServiceAccount that the collector runs as, None without its Deployment."""
        collector = self.deployments.cache.get(self._namespace, contract.COLLECTOR)
        # What the API server takes for a pod that names none.
        return (collector.spec.template.spec.service_account_name or "default") if collector else None

    def account(self, namespace: str) -> tuple[str, str]:
        """Namespace and name of the ServiceAccount to bind in a namespace."""
        bound = None
        if self.is_ours(namespace):
            bound = bound_account(self.binding(namespace), self._namespace)
        return self._namespace, choose_account(self.collector_account, bound)

    def is_granted(self, namespace: str) -> bool:
        """Whether the account that the collector runs as is bound to the ClusterRole in a namespace."""
        return is_granted(self.binding(namespace), self.cluster_role, self.account(namespace))


def choose_account(running_as: str | None, bound: str | None) -> str:
    """Choose the account to bind: while the Deployment is away, for example replaced, who was bound stays."""
    return running_as or bound or contract.COLLECTOR


def bound_account(binding: RoleBinding | None, namespace: str) -> str | None:
    """Name of the only account that a binding grants to, where it is a ServiceAccount of that namespace."""
    match binding.subjects if binding else None:
        case (Subject(kind="ServiceAccount", name=name, namespace=found),) if found == namespace:
            return name
        case _:
            return None


def names_role(binding: RoleBinding, cluster_role: str) -> bool:
    """Whether that binding is one to that ClusterRole."""
    # A Role of the namespace may have the same name, and any rules.
    return (binding.role_ref.kind, binding.role_ref.name) == (CLUSTER_ROLES.kind, cluster_role)


def is_granted(binding: RoleBinding | None, cluster_role: str | None, account: tuple[str, str]) -> bool:
    """Whether that binding grants that ClusterRole to the account, given by namespace and name."""
    if binding is None or cluster_role is None or not names_role(binding, cluster_role):
        return False
    subjects = binding.subjects or ()
    return any(it.kind == "ServiceAccount" and (it.namespace, it.name) == account for it in subjects)


def has_foreign_owner(names: Names, binding: RoleBinding | None) -> bool:
    """Whether that binding, taken over from somebody else, goes with an object of theirs."""
    owners = binding.metadata.owner_references if binding else ()
    return any((o.kind, o.name) != (CLUSTER_ROLES.kind, names.deployment) for o in owners)
