"""Tells OpenShift from other Kubernetes by discovery, and wakes informers whose CRD comes or goes."""

import structlog

from kagenti_operator import contract
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Added, Event, ObjectCache, Selection
from kagenti_operator.runtime.cache.shared_informers import SharedInformers
from kagenti_operator.runtime.observable import Observable

log = structlog.get_logger(__name__)

BY_GROUP = "group"
OPENSHIFT = contract.OPENSHIFT_GROUP
# Discovery follows a CustomResourceDefinition within a second or two; until then the two disagree.
RECHECK_SECONDS = 1.0
# Where they still do after so many looks, something is wrong: it is logged, and asked seldom.
PATIENT_LOOKS = 30
SELDOM_SECONDS = 60.0


def _crd_group(obj: KubeObject) -> tuple[str, ...]:
    return (obj.metadata.name.partition(".")[2],)


class Definitions(Observable[bool | None]):
    """Whether CRDs of OpenShift's are defined: what a replica knows of it that does not lead."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(None)
        self.informer = _crds(dependencies)
        self.informer.subscribe(lambda _: self.set(self._has_any))

    @property
    def value(self) -> bool | None:
        """None until they are listed. Where there are none at all no event says so."""
        return self._has_any if self.informer.synced else None

    @property
    def _has_any(self) -> bool:
        return bool(self.informer.cache.by_index(BY_GROUP, OPENSHIFT))


def _crds(dependencies: Dependencies) -> Informer[KubeObject]:
    return dependencies.informers.get(
        Selection(resource=CUSTOM_RESOURCE_DEFINITIONS, indexes=((BY_GROUP, _crd_group),))
    )


def build_feature(dependencies: Dependencies, openshift: Observable[bool | None]) -> Feature:
    """Follow CRDs; what is found goes into `openshift`."""
    crds = _crds(dependencies)
    # Replicas that wait for the lease follow CRDs too, so that they can take over at once.
    crds.subscribe(lambda event: retry_informers(dependencies.informers, event))
    reconciler = OpenShiftReconciler(dependencies.client, crds.cache, openshift)
    controller = build_singleton(dependencies, "platform", reconciler.reconcile)
    controller.watches(crds, lambda e: ("platform",) if _crd_group(e.object) == (OPENSHIFT,) else ())
    return Feature(name="platform", informers=(crds,), controllers=(controller,))


def retry_informers(informers: SharedInformers, event: Event[KubeObject]) -> None:
    """Wake the informers that may wait for that CRD."""
    name = event.object.metadata.name
    group = name.partition(".")[2]
    for informer in informers.all():
        # What is there with a group need not hear of every change of that group's CRDs.
        appeared = isinstance(event, Added) and informer.selection.where_served == group
        if informer.resource.crd_name == name or appeared:
            informer.retry_now()


class OpenShiftReconciler:
    """Asks discovery for OpenShift's API group."""

    def __init__(
        self, client: KubeClient, crds: ObjectCache[KubeObject], openshift: Observable[bool | None]
    ) -> None:
        self._client = client
        self._crds = crds
        self._openshift = openshift
        self._disagreements = 0

    async def reconcile(self) -> float | None:
        """Ask, and come again while the answer and the CRDs disagree.

        That a group is not served is believed only where none of its CRDs is defined: an API server that is
        starting answers 404 as well, and would roll the collector to a configuration that loses spans.
        """
        served = await self._serves(OPENSHIFT)
        defined = bool(self._crds.by_index(BY_GROUP, OPENSHIFT))
        if served or not defined:
            self._openshift.set(served)
        return self._seconds_to_recheck(served=served, defined=defined)

    def _seconds_to_recheck(self, *, served: bool, defined: bool) -> float | None:
        if served == defined:
            self._disagreements = 0
            return None
        self._disagreements += 1
        if defined and self._disagreements == PATIENT_LOOKS:
            log.warning(
                f"CustomResourceDefinitions of {OPENSHIFT} exist, but the API server serves "
                "none, so it is unknown whether this is OpenShift, and what was known stays: see the "
                "conditions in their status",
                openshift=self._openshift.value,
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
