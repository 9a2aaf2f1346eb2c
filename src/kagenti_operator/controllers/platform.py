"""Tells OpenShift from other Kubernetes by discovery, and wakes informers whose CRD comes or goes."""

from collections.abc import Callable

from kagenti_operator.controllers.cluster import BY_GROUP, OPENSHIFT_GROUP, Cluster
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.models import KubeObject

# Discovery follows a CustomResourceDefinition within a second or two; until then the two disagree.
RECHECK_SECONDS = 1.0


class PlatformController:
    """One key: what the API server serves."""

    name = "platform"
    KEY = "platform"

    def __init__(self, client: KubeClient, cluster: Cluster, on_change: Callable[[], None]) -> None:
        self._client = client
        self._cluster = cluster
        self._on_change = on_change

    async def reconcile(self, key: str) -> float | None:
        """Ask discovery for OpenShift's API group; come again while it lags behind the CRDs."""
        del key
        served = await self._serves(OPENSHIFT_GROUP)
        if served != self._cluster.openshift:
            self._cluster.openshift = served
            self._on_change()
        defined = bool(self._cluster.crds.store.by_index(BY_GROUP, OPENSHIFT_GROUP))
        return RECHECK_SECONDS if defined and not served else None

    async def _serves(self, group: str) -> bool:
        try:
            await self._client.raw("GET", f"/apis/{group}")
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return True

    def on_crd(self, old: KubeObject | None, new: KubeObject | None) -> bool:
        """Wake the informers that may wait for it; return whether the platform must be asked again."""
        changed = new or old
        assert changed is not None
        name = changed.metadata.name
        group = name.partition(".")[2]
        for informer in self._cluster.informers:
            # What is there with a group need not hear of every change of that group's CRDs.
            if informer.resource.crd_name == name or (old is None and informer.where_served == group):
                informer.retry_now()
        return group == OPENSHIFT_GROUP
