"""The address of MLflow's dashboard, told to the platform's user interface."""

from collections.abc import Mapping
from typing import Any

from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.failure_events import refusals_told
from kagenti_operator.controllers.settings import UI_CONFIG
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import ConfigMap
from kagenti_operator.kube.resources import CONFIG_MAPS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.control.applier import Applier
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

DASHBOARD_KEY = "MLFLOW_DASHBOARD_URL"


def build_patch(current: ConfigMap, dashboard_url: str) -> Mapping[str, Any]:
    """The one key that is ours; the uid keeps an apply from creating the ConfigMap."""
    meta = current.metadata
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
        "data": {DASHBOARD_KEY: dashboard_url},
    }


class UIConfigController:
    """One key: ConfigMap `kagenti-ui-config`, which belongs to somebody else and is never created."""

    name = "ui-config"
    KEY = UI_CONFIG

    def __init__(self, client: KubeClient, cluster: Cluster, events: EventRecorder) -> None:
        self._cluster = cluster
        self._events = events
        self._applier = Applier(client)

    async def reconcile(self, key: str) -> None:
        """Write the dashboard's address where both the ConfigMap and the address exist."""
        del key
        current = self._cluster.config_map(UI_CONFIG)
        cr = self._cluster.mlflow
        url = status.dashboard_url(cr) if cr else None
        if not (current and url):
            return
        about = ObjectRef.of(CONFIG_MAPS, current)
        trouble = f"{DASHBOARD_KEY} could not be set to {url}"
        with refusals_told(self._events, about, "DashboardAddressNotWritten", trouble):
            await self._applier.ensure(CONFIG_MAPS, build_patch(current, url), current)
