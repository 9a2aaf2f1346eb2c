"""The address of MLflow's dashboard, for the platform's user interface."""

from kagenti_operator import contract
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.manifests import build_patch
from kagenti_operator.kube.objects.models import ConfigMap
from kagenti_operator.kube.resources import CONFIG_MAPS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.control.applier import Applier
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.telemetry.events import ObjectRef


def config_map(dependencies: Dependencies) -> Informer[ConfigMap]:
    """The informer of the user interface's ConfigMap."""
    settings = dependencies.settings
    return dependencies.informers.get(
        Selection(resource=CONFIG_MAPS, namespace=settings.namespace, name=settings.names.ui_config)
    )


def setup(dependencies: Dependencies, mlflow: MLflowFacts) -> Controller[str]:
    """Watch the MLflow CR and the ConfigMap, which belongs to somebody else and is never created."""
    reconciler = UIConfigReconciler(dependencies, mlflow)
    return build_singleton(
        dependencies, "ui-config", reconciler.reconcile, mlflow.mlflows, config_map(dependencies)
    ).suspend_while(dependencies.suspended.mlflow)


class UIConfigReconciler:
    """Writes the one key that is ours."""

    def __init__(self, dependencies: Dependencies, mlflow: MLflowFacts) -> None:
        self._events = dependencies.events
        self._applier = Applier(dependencies.client)
        self._mlflow = mlflow
        self._config_map = config_map(dependencies)

    async def reconcile(self) -> None:
        """Write the dashboard's address where both the ConfigMap and the address exist."""
        current = self._config_map.cache.only()
        cr = self._mlflow.cr
        url = status.dashboard_url(cr) if cr else None
        if not (current and url):
            return
        about = ObjectRef.of(CONFIG_MAPS, current)
        consequence = f"{contract.DASHBOARD_KEY} could not be set to {url}"
        patch = build_patch(CONFIG_MAPS, current, data={contract.DASHBOARD_KEY: url})
        with failures_recorded(self._events, about, "DashboardAddressNotWritten", consequence):
            await self._applier.ensure(CONFIG_MAPS, patch, current)
