"""The collector's access to MLflow: one RoleBinding in every namespace whose spans it delivers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.last_look import LastLook
from kagenti_operator.controllers.collector.access_facts import AccessFacts, has_foreign_owner, names_role
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.workspaces_in_use import WorkspacesInUse
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.removal import Removal
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.manifests import Manifest, build_owner, build_role_binding
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.kube.resources import CLUSTER_ROLES, ROLE_BINDINGS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Removed, Updated
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.reporter import Report, Reporter
from kagenti_operator.runtime.telemetry.standing import Standing

log = structlog.get_logger(__name__)

# Enough to keep the API server busy with many small grants.
WORKERS = 16
# As for the experiment in it.
ABSENT_SECONDS = 15.0


def setup(
    dependencies: Dependencies,
    mlflow: MLflowFacts,
    access: AccessFacts,
    agents: AgentFacts,
    own: CollectorExperiments,
    gone: Observable[bool],
    configuration: CollectorFacts | None,
) -> Controller[str]:
    """Watch agents and bindings by namespace, and the platform's facts for all namespaces at once.

    `configuration`: None where others configure the collector.
    """
    in_use = WorkspacesInUse(dependencies.settings.names, configuration) if configuration else None
    reconciler = AccessReconciler(dependencies, mlflow, access, agents, own, gone, in_use)
    controller = dependencies.controller("collector-access", reconciler.reconcile, workers=WORKERS)
    for informer in agents.workloads.values():
        informer.subscribe(reconciler.follow_departures)
        controller.watches(informer, namespace_of_new_agent, needed=False)
    controller.watches(access.bindings, lambda event: (event.object.metadata.namespace,))
    platform: tuple[Informer[Any], ...] = (
        *access.roles,
        access.own_role,
        access.deployments,
        *((configuration.config_map,) if configuration else ()),
    )
    for informer in platform:
        controller.watches(informer, lambda _: reconciler.namespaces_of_platform())
    for informer in mlflow.informers:
        # What they do not say takes no access away, and gives none.
        controller.watches(informer, lambda _: reconciler.namespaces_of_platform(), needed=False)
    controller.follows(gone, reconciler.namespaces_of_platform)
    # Its experiment is recorded on the binding.
    workspace = dependencies.settings.mlflow_workspace
    controller.follows(own.resolved, lambda: (workspace,) if workspace and own.resolved.value else ())
    return controller.suspend_while(dependencies.suspended.mlflow)


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The cluster-wide facts on which every namespace's access depends."""

    state: str | None
    ready: bool
    cluster_role: str | None
    mlflow_namespace: str | None = contract.MLFLOW_NAMESPACE
    # The configured one.
    workspace: str | None = None
    # Those that the collector is still configured for.
    in_use: frozenset[str] = frozenset()
    # Since this operator was started MLflow's CR has said where it is, or has been gone for long.
    mlflow_located: bool = True
    # That Deployment otel-collector runs as, None without one.
    account: str | None = None
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


def is_wanted(
    platform: Platform, namespace: str, *, has_agents: bool, left: bool, complete: bool = True
) -> bool | None:
    """Whether the collector needs access there; None where that cannot be known yet.

    `left`: the namespace had agents since this operator was started. One without any may be MLflow's, where
    its CR was gone already when the operator was started. `complete`: there are no agents that nobody could
    list.
    """
    if has_agents or namespace in (platform.mlflow_namespace, platform.workspace):
        return True
    if namespace in platform.in_use:
        return None
    return False if complete and (left or platform.mlflow_located) else None


def decide(platform: Platform, *, wanted: bool | None, ours: bool) -> Decision:
    """Decide about one namespace's binding. `wanted`: see `is_wanted`; `ours`: it is ours.

    A binding that works is never taken away by a hiccup: while MLflow is not ready, or its ClusterRole is
    being replaced, or somebody else manages the component, or no DataScienceCluster says anything because it
    is absent or going, what exists stays and nothing new is made.
    """
    if platform.state == "Removed" or wanted is False:
        return Revoke() if ours else Leave()
    if wanted is None:
        return Leave()
    if platform.state == "Managed" and platform.ready and platform.cluster_role:
        return Grant(platform.cluster_role)
    return Leave()


def build_binding(
    names: Names,
    namespace: str,
    cluster_role: str,
    *,
    account: tuple[str, str],
    owner: KubeObject | None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Build the RoleBinding of section 2.2 of the contract.

    `account`: namespace and name of the ServiceAccount that the collector runs as.
    `owner`: the operator's own ClusterRole, because nobody else deletes the grants when it is uninstalled.
    `annotations`: which experiments of that workspace are the collector's.
    """
    return build_role_binding(
        contract.COLLECTOR_BINDING,
        namespace,
        role=CLUSTER_ROLES,
        role_name=cluster_role,
        accounts=[account],
        labels=names.managed_labels,
        annotations=annotations,
        owners=[build_owner(CLUSTER_ROLES, owner)] if owner else [],
    )


def report_missing_role(platform: Platform) -> Iterable[Report]:
    """Report that there is no ClusterRole that the collector could be bound to."""
    if platform.state == "Managed" and platform.ready and not platform.cluster_role:
        yield Report(
            reason="ClusterRoleMissing",
            message=f"Neither ClusterRole {contract.INTEGRATION_ROLE} nor {contract.EDIT_ROLE} exists, so "
            "the collector is granted no access to MLflow and traces are refused. The MLflow operator brings "
            "them; access is granted as soon as one appears.",
            log=True,
        )


def namespace_of_new_agent(event: Event[Any]) -> tuple[str, ...]:
    """The namespace of an agent that came or went; other changes of agents do not matter here."""
    return () if isinstance(event, Updated) else (event.object.metadata.namespace,)


class AccessReconciler:
    """Keyed by namespace, so that an event costs the work of its namespace only."""

    def __init__(
        self,
        dependencies: Dependencies,
        mlflow: MLflowFacts,
        access: AccessFacts,
        agents: AgentFacts,
        own: CollectorExperiments,
        gone: Observable[bool],
        in_use: WorkspacesInUse | None = None,
    ) -> None:
        self._in_use = in_use
        self._names = dependencies.settings.names
        self._workspace = dependencies.settings.mlflow_workspace
        self._mlflow = mlflow
        self._access = access
        self._agents = agents
        self._own = own
        self._gone = gone
        self._applier = Applier(dependencies.client)
        self._budget = dependencies.budget
        self._removal = Removal(dependencies.client, mlflow)
        self._last_look = LastLook(dependencies.client, agents)
        self._events = dependencies.events
        self._reporter = Reporter[str](dependencies.events, __name__)
        self._absent = Standing[str]()
        self._platform: Platform | None = None
        # Namespaces that agents left before it was known where MLflow is.
        self._left: set[str] = set()

    def follow_departures(self, event: Event[Any]) -> None:
        """Remember that a namespace had an agent, as long as that decides anything."""
        if isinstance(event, Removed) and not self._mlflow.located:
            self._left.add(event.object.metadata.namespace)

    async def reconcile(self, namespace: str) -> float | None:
        """Bring the binding of a namespace to what is decided."""
        with self._budget.spending(namespace, namespace):
            return await self._reconcile(namespace)

    async def _reconcile(self, namespace: str) -> float | None:
        current, platform = self._access.binding(namespace), self._observe()
        has_agents, left = self._agents.has_agents(namespace), namespace in self._left
        complete = self._agents.complete
        wanted = is_wanted(platform, namespace, has_agents=has_agents, left=left, complete=complete)
        decision = decide(platform, wanted=wanted, ours=self._access.is_ours(namespace))
        if not isinstance(decision, Grant):
            self._absent.ends(namespace)
        match decision:
            case Grant(cluster_role):
                consequence = f"The collector is not granted access to MLflow for namespace '{namespace}'"
                with failures_recorded(self._events, self._mlflow.subject, "AccessNotGranted", consequence):
                    return await self._grant(namespace, cluster_role, current)
            case Revoke() if not await self._is_sure(namespace, removed=platform.state == "Removed"):
                return CONFIRM_SECONDS
            case Revoke():
                consequence = f"The collector keeps its access to MLflow for namespace '{namespace}'"
                with failures_recorded(self._events, self._mlflow.subject, "AccessNotRevoked", consequence):
                    await self._applier.delete(ROLE_BINDINGS, current)
            case Leave():
                if current is None and not wanted:
                    # It went with its namespace, which may come back.
                    self._applier.forget(ROLE_BINDINGS, namespace, contract.COLLECTOR_BINDING)
        return None

    async def _grant(self, namespace: str, cluster_role: str, current: RoleBinding | None) -> float | None:
        """Make the binding grant that; return after how many seconds to look again."""
        replaced = None
        if current is not None and not names_role(current, cluster_role):
            # The API refuses to change a roleRef.
            current, replaced = None, current
        desired = build_binding(
            self._names,
            namespace,
            cluster_role,
            account=self._access.account(namespace),
            owner=None if has_foreign_owner(self._names, current) else self._access.operator_role,
            annotations=self._own.annotations(namespace),
        )
        try:
            bindings = self._access.bindings.resource
            wrote = await self._applier.ensure(bindings, desired, current, replaced=replaced)
        except ApiError as error:
            if not (error.namespace_terminating or error.not_found):
                raise
            if self._absent.holds(namespace, "absent"):
                log.info("Namespace does not exist or is going away, no access granted", namespace=namespace)
            # Agents go with their namespace, and their events follow: until then "not found" is not believed.
            # No event says that a workspace is made.
            return ABSENT_SECONDS if error.not_found or namespace == self._workspace else None
        self._absent.ends(namespace)
        return CONFIRM_SECONDS if wrote else None

    async def _is_sure(self, namespace: str, *, removed: bool) -> bool:
        """Whether the API server itself has what the caches say for which the access goes."""
        if removed:
            return await self._removal.is_sure()
        return not await self._last_look.has_agents(namespace)

    def _observe(self) -> Platform:
        role = self._access.operator_role
        return Platform(
            state=self._mlflow.state,
            ready=self._mlflow.ready,
            cluster_role=self._access.cluster_role,
            mlflow_namespace=self._mlflow.namespace,
            workspace=self._workspace,
            in_use=self._in_use.find() if self._in_use else frozenset(),
            mlflow_located=self._mlflow.located or self._gone.value,
            account=self._access.collector_account,
            owner_uid=role.metadata.uid if role else "",
        )

    def namespaces_of_platform(self) -> Iterable[str]:
        """Every namespace, but only when a fact changed that all of them depend on."""
        if self._mlflow.located:
            self._left.clear()
        platform = self._observe()
        if platform == self._platform:
            return ()
        self._platform = platform
        self._reporter.report("platform", self._mlflow.subject, report_missing_role(platform))
        bound = {namespace for namespace, _ in self._access.bindings.cache.all_keys()}
        always = {name for name in (platform.mlflow_namespace, platform.workspace) if name}
        return sorted(always | bound | self._agents.namespaces())
