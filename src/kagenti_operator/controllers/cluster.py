"""The operator's view of the cluster: every informer it runs, and the facts that are read from them."""

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kagenti_operator.controllers.settings import (
    AGENT_SELECTOR,
    COLLECTOR,
    COLLECTOR_BINDING,
    COLLECTOR_CONFIG,
    CONSOLE_LINK,
    CONSOLE_LINK_ROLE,
    DATA_SCIENCE_CLUSTER,
    EDIT_ROLE,
    INGRESS_CA,
    INTEGRATION_ROLE,
    MANAGED_BY_LABEL,
    MANAGER,
    MLFLOW_NAME,
    MLFLOW_NAMESPACE,
    OPERATOR_CLUSTER_ROLE,
    OPERATOR_DEPLOYMENTS,
    PHOENIX,
    SERVICE_CA,
    UI_CONFIG,
    Settings,
)
from kagenti_operator.kube import resources
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.kube.objects.models import ConfigMap, KubeObject, MLflow
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.cache.informer import Informer

BY_NAMESPACE = "namespace"
BY_GROUP = "group"
OPENSHIFT_GROUP = "config.openshift.io"
INGRESS_NAMESPACE = "openshift-config-managed"
INGRESS_SOURCE = "default-ingress-cert"
ROOT_NAMESPACE = "openshift-config"
ROOT_SOURCE = "kube-root-ca.crt"

AGENT_KINDS: Mapping[str, Resource[Any]] = {
    r.kind: r for r in (resources.AGENT_DEPLOYMENTS, resources.AGENT_STATEFUL_SETS, resources.AGENT_SANDBOXES)
}


def _namespace(obj: KubeObject) -> Iterable[str]:
    return (obj.metadata.namespace,)


def _crd_group(obj: KubeObject) -> Iterable[str]:
    return (obj.metadata.name.partition(".")[2],)


def agent_key(kind: str, namespace: str, name: str) -> str:
    """The work queue's key of an agent."""
    return f"{kind}/{namespace}/{name}"


def namespace_of_key(key: str) -> str:
    """The namespace in an agent's key."""
    return key.split("/", 2)[1]


class Cluster:
    """Informers by subject. Nothing here sends a request but the informers themselves."""

    def __init__(self, client: KubeClient, settings: Settings, *, rng: random.Random) -> None:
        self.settings = settings
        # Unknown until discovery has answered once.
        self.openshift: bool | None = None
        own = settings.namespace

        def informer[T: KubeObject](
            resource: Resource[T],
            *,
            namespace: str | None = None,
            name: str = "",
            optional: bool = False,
            where_served: str = "",
            label_selector: str = "",
            indexes: Mapping[str, Callable[[T], Iterable[str]]] | None = None,
        ) -> Informer[T]:
            return Informer(
                client,
                resource,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=f"metadata.name={name}" if name else "",
                optional=optional,
                where_served=where_served,
                indexes=indexes or {},
                rng=rng,
            )

        self.crds = informer(resources.CUSTOM_RESOURCE_DEFINITIONS, indexes={BY_GROUP: _crd_group})
        self.data_science_clusters = informer(resources.DATA_SCIENCE_CLUSTERS)
        self.mlflows = informer(resources.MLFLOWS)
        self.mlflow_endpoints = informer(
            resources.ENDPOINT_SLICES,
            namespace=MLFLOW_NAMESPACE,
            label_selector=f"kubernetes.io/service-name={MLFLOW_NAME}",
        )
        self.integration_role = informer(resources.CLUSTER_ROLES, name=INTEGRATION_ROLE)
        self.edit_role = informer(resources.CLUSTER_ROLES, name=EDIT_ROLE)
        # Whoever brings the permissions themselves may name it otherwise: then nothing has it as owner.
        self.own_role = informer(resources.CLUSTER_ROLES, name=OPERATOR_CLUSTER_ROLE, optional=True)
        self.console_link_role = informer(resources.CLUSTER_ROLES, name=CONSOLE_LINK_ROLE, optional=True)
        self.console_links = informer(resources.CONSOLE_LINKS, name=CONSOLE_LINK)
        self.collector_bindings = informer(resources.ROLE_BINDINGS, name=COLLECTOR_BINDING)
        by_namespace: Mapping[str, Callable[[KubeObject], Iterable[str]]] = {BY_NAMESPACE: _namespace}
        self.agents: Mapping[str, Informer[Any]] = {
            kind: informer(resource, label_selector=AGENT_SELECTOR, indexes=by_namespace)
            for kind, resource in AGENT_KINDS.items()
        }
        ours = f"{MANAGED_BY_LABEL}={MANAGER}"
        self.roles = informer(resources.ROLES, label_selector=ours)
        self.agent_bindings = informer(resources.ROLE_BINDINGS, label_selector=ours)
        self.deployments = informer(resources.DEPLOYMENTS, namespace=own)
        self.phoenix_service = informer(resources.SERVICES, namespace=own, name=PHOENIX)
        self.collector_config_map = informer(resources.CONFIG_MAPS, namespace=own, name=COLLECTOR_CONFIG)
        self.ingress_ca_map = informer(resources.CONFIG_MAPS, namespace=own, name=INGRESS_CA)
        self.service_ca_map = informer(resources.CONFIG_MAPS, namespace=own, name=SERVICE_CA)
        self.ui_config_map = informer(resources.CONFIG_MAPS, namespace=own, name=UI_CONFIG)
        # The chart grants these two on OpenShift only, where their namespaces exist.
        self.ingress_source, self.root_source = (
            informer(
                resources.CONFIG_MAPS,
                namespace=namespace,
                name=name,
                optional=True,
                where_served=OPENSHIFT_GROUP,
            )
            for namespace, name in ((INGRESS_NAMESPACE, INGRESS_SOURCE), (ROOT_NAMESPACE, ROOT_SOURCE))
        )

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """The informers that the enabled features need."""
        chosen: list[Informer[Any]] = []
        # Without a feature there is nothing to follow, and nothing is permitted either.
        if self.settings.enable_mlflow or self.settings.enable_otel_bootstrap:
            chosen.append(self.crds)
        if self.settings.enable_mlflow:
            chosen += [
                self.data_science_clusters,
                self.mlflows,
                self.mlflow_endpoints,
                self.integration_role,
                self.edit_role,
                self.own_role,
                self.collector_bindings,
                *self.agents.values(),
                self.roles,
                self.agent_bindings,
                self.ui_config_map,
            ]
        if self.settings.enable_console_link:
            chosen += [self.console_links, self.console_link_role]
        if self.settings.enable_otel_bootstrap:
            chosen += [
                self.deployments,
                self.phoenix_service,
                self.collector_config_map,
                self.ingress_ca_map,
                self.service_ca_map,
                self.ingress_source,
                self.root_source,
            ]
        return tuple(chosen)

    @property
    def mlflow_state(self) -> str | None:
        """`managementState` of the MLflow component; None where no DataScienceCluster says it."""
        dsc = self.data_science_clusters.store.get("", DATA_SCIENCE_CLUSTER)
        return dsc.mlflow_state if dsc else None

    @property
    def mlflow(self) -> MLflow | None:
        """The MLflow CR, cluster-scoped or in the platform's namespace."""
        store = self.mlflows.store
        return store.get("", MLFLOW_NAME) or store.get(MLFLOW_NAMESPACE, MLFLOW_NAME)

    @property
    def mlflow_ready(self) -> bool:
        """Whether MLflow's Service has a ready endpoint."""
        return any(piece.ready for piece in self.mlflow_endpoints.store.values())

    @property
    def cluster_role(self) -> str | None:
        """The ClusterRole to bind the collector to, or None while there is none."""
        if self.integration_role.store.get("", INTEGRATION_ROLE):
            return INTEGRATION_ROLE
        return EDIT_ROLE if self.edit_role.store.get("", EDIT_ROLE) else None

    def has_agents(self, namespace: str) -> bool:
        """Whether any agent lives in that namespace."""
        return any(i.store.index_size(BY_NAMESPACE, namespace) for i in self.agents.values())

    def agent_namespaces(self) -> set[str]:
        """Every namespace that holds an agent."""
        return {ns for i in self.agents.values() for ns in i.store.index_values(BY_NAMESPACE)}

    def agent(self, kind: str, namespace: str, name: str) -> Agent | None:
        """An agent's workload."""
        return self.agents[kind].store.get(namespace, name)

    @property
    def collector(self) -> Workload | None:
        """Deployment of the collector."""
        return self.deployments.store.get(self.settings.namespace, COLLECTOR)

    @property
    def collector_ready(self) -> bool:
        """Whether the collector, at least one replica of it, runs as its Deployment says by now."""
        found = self.collector
        return found is not None and found.spec.replicas > 0 and found.is_rolled_out

    @property
    def operator(self) -> Workload | None:
        """The operator's own Deployment, where it runs from one."""
        for name in OPERATOR_DEPLOYMENTS:
            found = self.deployments.store.get(self.settings.namespace, name)
            if found:
                return found
        return None

    @property
    def operator_role(self) -> KubeObject | None:
        """The operator's own ClusterRole, where it has it from the chart."""
        return self.own_role.store.get("", OPERATOR_CLUSTER_ROLE)

    @property
    def phoenix(self) -> bool:
        """Whether Phoenix is installed."""
        return self.phoenix_service.store.get(self.settings.namespace, PHOENIX) is not None

    def config_map(self, name: str) -> ConfigMap | None:
        """One of the platform's ConfigMaps that the operator follows."""
        informers = {
            COLLECTOR_CONFIG: self.collector_config_map,
            INGRESS_CA: self.ingress_ca_map,
            SERVICE_CA: self.service_ca_map,
            UI_CONFIG: self.ui_config_map,
        }
        return informers[name].store.get(self.settings.namespace, name)

    def ca_source(self, informer: Informer[ConfigMap], key: str) -> str | None:
        """The PEM text under that key of the only object an informer follows."""
        for found in informer.store.values():
            return (found.data or {}).get(key)
        return None
