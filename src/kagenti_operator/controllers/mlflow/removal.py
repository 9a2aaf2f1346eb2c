"""Whether the MLflow component is removed: the DataScienceCluster itself is asked, once for each version."""

from kagenti_operator.controllers.list_now import list_now
from kagenti_operator.controllers.mlflow.facts import MLflowFacts, choose_data_science_cluster
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import DataScienceCluster
from kagenti_operator.kube.resources import DATA_SCIENCE_CLUSTERS

REMOVED = "Removed"


class Removal:
    """Confirms what the cache says, so that a thousand namespaces cost one request."""

    def __init__(self, client: KubeClient, mlflow: MLflowFacts) -> None:
        self._client = client
        self._mlflow = mlflow
        # Uid and version of the one that was seen to say so.
        self._seen: tuple[str, str] | None = None

    async def is_sure(self) -> bool:
        """Whether the DataScienceCluster says so by now, and stays. Raises KubeError."""
        if (cached := self._mlflow.data_science_cluster) and _version(cached) == self._seen:
            return True
        found = choose_data_science_cluster(await list_now(self._client, DATA_SCIENCE_CLUSTERS))
        sure = found is not None and not found.going and found.mlflow_state == REMOVED
        self._seen = _version(found) if found and sure else None
        return sure


def _version(cluster: DataScienceCluster) -> tuple[str, str]:
    return cluster.metadata.uid, cluster.metadata.resource_version
