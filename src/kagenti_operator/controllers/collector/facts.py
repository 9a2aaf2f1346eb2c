"""The collector's Deployment and what its configuration is made from, from the caches."""

from typing import Any

from kagenti_operator import contract
from kagenti_operator.controllers.collector.workload import is_oauth_client
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.own_deployment import OwnDeployment
from kagenti_operator.kube.objects.models import ConfigMap
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import CONFIG_MAPS, DEPLOYMENTS, SERVICES
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import ObjectRef


class CollectorFacts:
    """Deployments and ConfigMaps of the platform's namespace, and OpenShift's certificates.

    `openshift`: whether this is OpenShift; None until discovery has answered once.
    """

    def __init__(self, dependencies: Dependencies, openshift: Observable[bool | None]) -> None:
        settings, informers = dependencies.settings, dependencies.informers
        self.openshift = openshift
        self._namespace = settings.namespace
        own = settings.own_namespace == settings.namespace
        self._own = OwnDeployment(dependencies) if own else None
        self.deployments = informers.get(Selection(resource=DEPLOYMENTS, namespace=settings.namespace))
        self.phoenix_service = informers.get(
            Selection(resource=SERVICES, namespace=settings.namespace, name=contract.PHOENIX)
        )
        self.config_map, self.ingress_ca, self.service_ca, self.extra = (
            informers.get(Selection(resource=CONFIG_MAPS, namespace=settings.namespace, name=name))
            for name in (
                contract.COLLECTOR_CONFIG,
                contract.INGRESS_CA,
                contract.SERVICE_CA,
                contract.COLLECTOR_EXTRA,
            )
        )
        # The chart grants these two on OpenShift only, where their namespaces exist.
        self.ingress_source, self.root_source = (
            informers.get(
                Selection(
                    resource=CONFIG_MAPS,
                    namespace=namespace,
                    name=name,
                    optional=True,
                    where_served=contract.OPENSHIFT_GROUP,
                )
            )
            for namespace, name in (
                (contract.INGRESS_CERTIFICATE_NAMESPACE, contract.INGRESS_CERTIFICATE),
                (contract.ROOT_CA_NAMESPACE, contract.ROOT_CA),
            )
        )

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All of them."""
        return (
            self.deployments,
            self.phoenix_service,
            self.config_map,
            self.ingress_ca,
            self.service_ca,
            self.extra,
            self.ingress_source,
            self.root_source,
        )

    @property
    def collector(self) -> Workload | None:
        """Deployment of the collector."""
        return self.deployments.cache.get(self._namespace, contract.COLLECTOR)

    @property
    def collector_ready(self) -> bool:
        """Whether the collector, at least one replica of it, runs as its Deployment says by now."""
        found = self.collector
        return found is not None and found.spec.replicas > 0 and found.is_rolled_out

    @property
    def operator(self) -> Workload | None:
        """The operator's own Deployment, where it runs from one in the platform's namespace."""
        return self._own.found if self._own else None

    @property
    def subject(self) -> ObjectRef | None:
        """The object that people would describe for the collector's configuration."""
        found = self.collector or self.operator
        return ObjectRef.of(DEPLOYMENTS, found) if found else None

    @property
    def mlflow_by_kubernetes(self) -> bool:
        """Whether the collector shows MLflow its ServiceAccount's token, as no OAuth client of MLflow's.

        False while it is not known whether this is OpenShift.
        """
        openshift = self.openshift.value
        return openshift is not None and (openshift or not is_oauth_client(self.collector))

    @property
    def phoenix(self) -> bool:
        """Whether Phoenix is installed."""
        return len(self.phoenix_service.cache) > 0


def read_key(informer: Informer[ConfigMap], key: str) -> str | None:
    """The text under that key of the only ConfigMap of an informer."""
    found = informer.cache.only()
    return (found.data or {}).get(key) if found else None
