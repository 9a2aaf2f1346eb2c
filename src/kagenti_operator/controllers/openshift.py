"""Tells OpenShift from other Kubernetes by discovery, and wakes informers whose CRD comes or goes."""

from collections.abc import Callable

import structlog

from kagenti_operator.controllers.cluster import BY_GROUP, OPENSHIFT_GROUP, Cluster
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import KubeObject

log = structlog.get_logger("controllers.platform")

# Discovery follows a CustomResourceDefinition within a second or two; until then the two disagree.
RECHECK_SECONDS = 1.0
# Where they still do after so many looks, something is wrong: people are told, and it is asked seldom.
PATIENT_LOOKS = 30
SELDOM_SECONDS = 60.0


class PlatformController:
    """One key: what the API server serves."""

    name = "platform"
    KEY = "platform"

    def __init__(self, client: KubeClient, cluster: Cluster, on_change: Callable[[], None]) -> None:
        self._client = client
        self._cluster = cluster
        self._on_change = on_change
        self._disagreements = 0

    async def reconcile(self, key: str) -> float | None:
        """Ask discovery for OpenShift's API group; come again while it and the CRDs disagree.

        That a group is not served is believed only where none of its CRDs is defined: an API server that is
        starting answers 404 as well, and would roll the collector to a configuration that loses spans.
        """
        del key
        served = await self._serves(OPENSHIFT_GROUP)
        defined = bool(self._cluster.crds.store.by_index(BY_GROUP, OPENSHIFT_GROUP))
        if (served or not defined) and served != self._cluster.openshift:
            self._cluster.openshift = served
            self._on_change()
        return self._seconds_to_recheck(served=served, defined=defined)

    def _seconds_to_recheck(self, *, served: bool, defined: bool) -> float | None:
        if served == defined:
            self._disagreements = 0
            return None
        self._disagreements += 1
        if defined and self._disagreements == PATIENT_LOOKS:
            log.warning(
                f"CustomResourceDefinitions of {OPENSHIFT_GROUP} exist, but the API server serves none, "
                "so it is unknown whether this is OpenShift, and what was known stays: see the conditions in "
                "their status",
                openshift=self._cluster.openshift,
            )
        return RECHECK_SECONDS if self._disagreements < PATIENT_LOOKS else SELDOM_SECONDS

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
