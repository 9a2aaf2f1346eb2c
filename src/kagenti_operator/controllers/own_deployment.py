"""The operator's own Deployment, on which people find what concerns the operator as a whole."""

from kagenti_operator import contract
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.platform_operator_marks import is_platform_operator
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.kube.resources import DEPLOYMENTS
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.telemetry.events import ObjectRef


class OwnDeployment:
    """Found by name, in the operator's own namespace."""

    def __init__(self, dependencies: Dependencies) -> None:
        settings = dependencies.settings
        self._namespace = settings.own_namespace
        self._names = (settings.names.deployment, contract.CONTROLLER_MANAGER)
        # Where that is the platform's namespace too, its Deployments are followed by others as well.
        selection = Selection(resource=DEPLOYMENTS, namespace=settings.namespace)
        if settings.own_namespace != settings.namespace:
            selection = Selection(
                resource=DEPLOYMENTS, namespace=settings.own_namespace, name=self._names[0], optional=True
            )
        self.informer = dependencies.informers.get(selection)

    @property
    def found(self) -> Workload | None:
        """It; None where the operator does not run from one."""
        named = (self.informer.cache.get(self._namespace, name) for name in self._names)
        # The platform's own operator has the names of a first installation of ours.
        return next((found for found in named if found and not is_platform_operator(found)), None)

    @property
    def reference(self) -> ObjectRef | None:
        """It, as Events point at it; None where the operator does not run from one."""
        found = self.found
        return ObjectRef.of(DEPLOYMENTS, found) if found else None
