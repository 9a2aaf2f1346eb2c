"""On OpenShift, the right of a namespace's pods to the constraints that its init container needs."""

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.authbridge.namespaces import EnabledNamespaces
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.list_now import list_now
from kagenti_operator.kube.manifests import Manifest, build_manifest, build_owner
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.kube.resources import CLUSTER_ROLES, NAMESPACES, RBAC, ROLE_BINDINGS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import ObjectRef
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter

NAME = "authbridge-scc"


class SecurityConstraints:
    """The ClusterRole that permits the constraints, and the bindings to it."""

    def __init__(self, dependencies: Dependencies, scc: str) -> None:
        names, informers = dependencies.settings.names, dependencies.informers
        self.role_name = f"{contract.SCC_ROLE_PREFIX}{scc}"
        self.roles: Informer[KubeObject] = informers.get(
            Selection(resource=CLUSTER_ROLES, name=self.role_name, optional=True)
        )
        self.bindings: Informer[RoleBinding] = informers.get(
            Selection(resource=ROLE_BINDINGS.for_names(names), name=contract.SCC_BINDING)
        )

    @property
    def role(self) -> KubeObject | None:
        """The ClusterRole."""
        return self.roles.cache.get("", self.role_name)

    def binding(self, namespace: str) -> RoleBinding | None:
        """The namespace's binding, whoever made it."""
        return self.bindings.cache.get(namespace, contract.SCC_BINDING)


def setup(
    dependencies: Dependencies,
    namespaces: EnabledNamespaces,
    constraints: SecurityConstraints,
    is_openshift: Observable[bool | None],
) -> Controller[str]:
    """Watch the namespaces with the label, and the bindings; keyed by namespace."""
    reconciler = SCCReconciler(dependencies, namespaces, constraints, is_openshift)
    controller = dependencies.controller(NAME, reconciler.reconcile)
    controller.watches(namespaces.namespaces, lambda event: (event.object.metadata.name,))
    controller.watches(constraints.bindings, lambda event: (event.object.metadata.namespace,))
    controller.watches(constraints.roles, lambda _: namespaces.all())
    controller.follows(is_openshift, namespaces.all)
    return controller


def build_binding(names: Names, namespace: str, role: KubeObject) -> Manifest:
    """Build the RoleBinding: every ServiceAccount of the namespace may use the constraints.

    It goes with its ClusterRole, which the chart makes: when the operator is uninstalled, nobody else takes
    the right away.
    """
    return build_manifest(
        ROLE_BINDINGS,
        contract.SCC_BINDING,
        namespace,
        labels=names.managed_labels,
        owners=[build_owner(CLUSTER_ROLES, role)],
        roleRef={"apiGroup": RBAC, "kind": CLUSTER_ROLES.kind, "name": role.metadata.name},
        subjects=[{"apiGroup": RBAC, "kind": "Group", "name": f"system:serviceaccounts:{namespace}"}],
    )


class SCCReconciler:
    """Grants where the label is, and takes its own grant away where the label went."""

    def __init__(
        self,
        dependencies: Dependencies,
        namespaces: EnabledNamespaces,
        constraints: SecurityConstraints,
        is_openshift: Observable[bool | None],
    ) -> None:
        self._names = dependencies.settings.names
        self._client = dependencies.client
        self._namespaces = namespaces
        self._constraints = constraints
        self._is_openshift = is_openshift
        self._events = dependencies.events
        self._applier = Applier(dependencies.client)
        self._reporter = Reporter[str](dependencies.events, __name__)

    async def reconcile(self, namespace: str) -> float | None:
        """Bring the namespace's binding to what its label says."""
        current, role = self._constraints.binding(namespace), self._constraints.role
        if self._namespaces.get(namespace) is None:
            return await self._revoke(current)
        if not self._is_openshift.value:
            return None
        self._reporter.report(NAME, None, () if role else (self._report_missing(),))
        if role is None:
            return None
        desired, replaced = build_binding(self._names, namespace, role), None
        if current and (current.role_ref.kind, current.role_ref.name) != (
            CLUSTER_ROLES.kind,
            role.metadata.name,
        ):
            # The API refuses to change a roleRef.
            current, replaced = None, current
        about = ObjectRef(
            api_version=ROLE_BINDINGS.api_version,
            kind=ROLE_BINDINGS.kind,
            name=contract.SCC_BINDING,
            namespace=namespace,
        )
        consequence = "Pods with a sidecar cannot have the init container that redirects their calls"
        with failures_recorded(self._events, about, "ConstraintsNotGranted", consequence):
            bindings = self._constraints.bindings.resource
            wrote = await self._applier.ensure(bindings, desired, current, replaced=replaced)
        return CONFIRM_SECONDS if wrote else None

    async def _revoke(self, current: RoleBinding | None) -> float | None:
        """Pods that run keep what they were admitted with; new ones get no sidecar, and need no right."""
        if current is None or current.metadata.labels.managed_by != self._names.manager:
            return None
        namespace = current.metadata.namespace
        if await list_now(
            self._client, NAMESPACES, label_selector=self._namespaces.selector, name=namespace, limit=1
        ):
            # The cache is wrong: it learns of it, or hears of its end.
            return CONFIRM_SECONDS
        about = ObjectRef.of(ROLE_BINDINGS, current)
        consequence = "The namespace keeps the right to use the sidecar's constraints"
        with failures_recorded(self._events, about, "ConstraintsNotRevoked", consequence):
            await self._applier.delete(ROLE_BINDINGS, current)
        return None

    def _report_missing(self) -> Report:
        return Report(
            reason="ConstraintsMissing",
            message=f"ClusterRole {self._constraints.role_name} does not exist, so agents' pods are not "
            "granted the SecurityContextConstraints that redirecting their calls needs, and OpenShift "
            "refuses them. Install the chart with authbridge.scc.create=true, or make the ClusterRole.",
            log=True,
        )
