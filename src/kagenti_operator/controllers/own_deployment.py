"""The operator's own Deployment, on which people find what concerns the operator as a whole."""

from kagenti_operator import contract
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.platform_operator_marks import is_platform_operator
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
    def reference(self) -> ObjectRef | None:
        """It, as Events point at it; None where the operator does not run from one."""
        for name in self._names:
            found = self.informer.cache.get(self._namespace, name)
            if found and not is_platform_operator(found):
                return ObjectRef.of(DEPLOYMENTS, found)
        return None
