"""What the platform says of MLflow, from the caches."""

from collections.abc import Iterable
from typing import Any

from kagenti_operator import contract
from kagenti_operator.http.service import Service, service_of
from kagenti_operator.kube.objects.models import DataScienceCluster, EndpointSlice, MLflow
from kagenti_operator.kube.resources import DATA_SCIENCE_CLUSTERS, ENDPOINT_SLICES, MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.cache.shared_informers import SharedInformers
from kagenti_operator.runtime.telemetry.events import ObjectRef


class MLflowFacts:
    """The DataScienceCluster, the MLflow CR, and the endpoints of the Service that its address names."""

    def __init__(self, informers: SharedInformers) -> None:
        self.data_science_clusters = informers.get(Selection(resource=DATA_SCIENCE_CLUSTERS))
        self.mlflows = informers.get(Selection(resource=MLFLOWS))
        # Until the CR has an address, and where it loses it again, the Service stays the one that it was.
        # `located`: it had one since this operator was started.
        self.service: Service | None = Service(namespace=contract.MLFLOW_NAMESPACE, name=contract.MLFLOW)
        self.located = False
        self.endpoints = informers.get_movable(_slices_of(self.service))
        # The first to hear of a change: those who hear of it next find the right Service.
        self.mlflows.subscribe(lambda _: self._follow_address())

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All of them."""
        return (self.data_science_clusters, self.mlflows, self.endpoints)

    @property
    def data_science_cluster(self) -> DataScienceCluster | None:
        """The DataScienceCluster that decides about MLflow, whatever its name."""
        return choose_data_science_cluster(self.data_science_clusters.cache.values())

    @property
    def state(self) -> str | None:
        """`managementState` of the MLflow component; None where no DataScienceCluster that stays says it."""
        found = self.data_science_cluster
        return found.mlflow_state if found and not found.going else None

    @property
    def served(self) -> bool:
        """Whether the API of MLflow CRs is served."""
        return self.mlflows.cache.served.value

    @property
    def cr(self) -> MLflow | None:
        """The MLflow CR: cluster-scoped, or of whichever namespace has one."""
        return choose_cr(self.mlflows.cache.values())

    @property
    def namespace(self) -> str | None:
        """MLflow's namespace; None where its address is no Service of the cluster."""
        return self.service.namespace if self.service else None

    @property
    def has_ready_endpoint(self) -> bool:
        """Whether the Service has a ready endpoint."""
        return any(piece.ready for piece in self.endpoints.cache.values())

    @property
    def endpoint_versions(self) -> frozenset[tuple[str, str]]:
        """What changes when the Service's endpoints do."""
        pieces = (piece.metadata for piece in self.endpoints.cache.values())
        return frozenset((piece.name, piece.resource_version) for piece in pieces)

    @property
    def ready(self) -> bool:
        """Whether the Service has a ready endpoint; without a Service, whether the CR is Available."""
        cr = self.cr
        if self.service is None or (cr is not None and status.address(cr) is None and status.rest_url(cr)):
            return cr is not None and status.is_available(cr)
        return self.has_ready_endpoint

    @property
    def subject(self) -> ObjectRef | None:
        """The object that people would describe for access to MLflow."""
        if cr := self.cr:
            return ObjectRef.of(MLFLOWS, cr)
        found = self.data_science_cluster
        return ObjectRef.of(DATA_SCIENCE_CLUSTERS, found) if found else None

    def _follow_address(self) -> None:
        cr = self.cr
        self.located = self.located or bool(cr and status.rest_url(cr))
        if cr and (address := status.address(cr)):
            self.service = service_of(address)
            self.endpoints.move(_slices_of(self.service) if self.service else None)


def _slices_of(service: Service) -> Selection[EndpointSlice]:
    return Selection(
        resource=ENDPOINT_SLICES,
        namespace=service.namespace,
        label_selector=f"{contract.SERVICE_NAME_LABEL}={service.name}",
    )


def choose_cr(found: Iterable[MLflow]) -> MLflow | None:
    """Choose the CR of the right name; of several, which only a namespaced CRD allows, the default's."""
    named = (cr for cr in found if cr.metadata.name == contract.MLFLOW)
    order = sorted(
        named, key=lambda cr: (cr.metadata.namespace != contract.MLFLOW_NAMESPACE, cr.metadata.namespace)
    )
    return next(iter(order), None)


def choose_data_science_cluster(found: Iterable[DataScienceCluster]) -> DataScienceCluster | None:
    """Choose the one that decides: the platform allows one, but for the time in which one is going.

    One that says nothing of MLflow (v1 has no such field) decides only where there is no other.
    """
    order = sorted(found, key=lambda one: (one.going, one.mlflow_state is None, one.metadata.name))
    return next(iter(order), None)
