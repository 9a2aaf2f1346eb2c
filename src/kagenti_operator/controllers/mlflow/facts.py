"""What the platform says of MLflow, from the caches."""

from collections.abc import Iterable
from typing import Any

from kagenti_operator import contract
from kagenti_operator.kube.objects.models import DataScienceCluster, MLflow
from kagenti_operator.kube.resources import DATA_SCIENCE_CLUSTERS, ENDPOINT_SLICES, MLFLOWS
from kagenti_operator.runtime.cache.informer import Informer, SharedInformers
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.telemetry.events import ObjectRef


class MLflowFacts:
    """The DataScienceCluster, the MLflow CR, and MLflow's endpoints."""

    def __init__(self, informers: SharedInformers) -> None:
        self.data_science_clusters = informers.get(Selection(resource=DATA_SCIENCE_CLUSTERS))
        self.mlflows = informers.get(Selection(resource=MLFLOWS))
        self.endpoints = informers.get(
            Selection(
                resource=ENDPOINT_SLICES,
                namespace=contract.MLFLOW_NAMESPACE,
                label_selector=f"{contract.SERVICE_NAME_LABEL}={contract.MLFLOW}",
            )
        )

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
        """The MLflow CR, cluster-scoped or in the platform's namespace."""
        cache = self.mlflows.cache
        return cache.get("", contract.MLFLOW) or cache.get(contract.MLFLOW_NAMESPACE, contract.MLFLOW)

    @property
    def ready(self) -> bool:
        """Whether MLflow's Service has a ready endpoint."""
        return any(piece.ready for piece in self.endpoints.cache.values())

    @property
    def subject(self) -> ObjectRef | None:
        """The object that people would describe for access to MLflow."""
        if cr := self.cr:
            return ObjectRef.of(MLFLOWS, cr)
        found = self.data_science_cluster
        return ObjectRef.of(DATA_SCIENCE_CLUSTERS, found) if found else None


def choose_data_science_cluster(found: Iterable[DataScienceCluster]) -> DataScienceCluster | None:
    """Choose the one that decides: the platform allows one, but for the time in which one is going.

    One that says nothing of MLflow (v1 has no such field) decides only where there is no other.
    """
    order = sorted(found, key=lambda one: (one.going, one.mlflow_state is None, one.metadata.name))
    return next(iter(order), None)
