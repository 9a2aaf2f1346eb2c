"""A link to MLflow's user interface in OpenShift's web console."""

from collections.abc import Mapping
from typing import Any

from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.failure_events import refusals_told
from kagenti_operator.controllers.owners import build_owner
from kagenti_operator.controllers.settings import CONSOLE_LINK, CONSOLE_LINK_ROLE, MANAGED_LABELS
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import CLUSTER_ROLES, CONSOLE_LINKS, MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef


def build_link(url: str, owner: KubeObject | None) -> Mapping[str, Any]:
    """The ConsoleLink.

    `owner`: the ClusterRole that permits it, which the chart makes only while it is wanted. Once that is
    switched off the operator may no longer delete the link, and need not.
    """
    metadata: dict[str, Any] = {"name": CONSOLE_LINK, "labels": MANAGED_LABELS}
    if owner:
        metadata["ownerReferences"] = [build_owner(CLUSTER_ROLES, owner)]
    return {
        "apiVersion": CONSOLE_LINKS.api_version,
        "kind": CONSOLE_LINKS.kind,
        "metadata": metadata,
        "spec": {
            "href": url,
            "text": "MLflow",
            "location": "ApplicationMenu",
            "applicationMenu": {"section": "Kagenti"},
        },
    }


class ConsoleLinkController:
    """One key: the link. It stays while an MLflow CR tells no address: that is a hiccup."""

    name = "console-link"
    KEY = CONSOLE_LINK

    def __init__(self, client: KubeClient, cluster: Cluster, events: EventRecorder) -> None:
        self._cluster = cluster
        self._events = events
        self._applier = Applier(client)

    async def reconcile(self, key: str) -> float | None:
        """Bring the link to MLflow's address; take it away when the MLflow CR is gone."""
        del key
        cluster = self._cluster
        current = cluster.console_links.store.get("", CONSOLE_LINK)
        cr = cluster.mlflow
        if cr is None:
            about = ObjectRef.of(CONSOLE_LINKS, current) if current else None
            trouble = "MLflow is gone, but the link to it could not be deleted"
            with refusals_told(self._events, about, "ConsoleLinkNotDeleted", trouble):
                await self._applier.absent(CONSOLE_LINKS, current)
            return None
        url = status.dashboard_url(cr)
        # The console's API refuses any other scheme.
        if not (cluster.console_links.present and url and url.startswith("https://")):
            return None
        owner = cluster.console_link_role.store.get("", CONSOLE_LINK_ROLE)
        about, trouble = ObjectRef.of(MLFLOWS, cr), "The console's link to MLflow could not be written"
        with refusals_told(self._events, about, "ConsoleLinkNotWritten", trouble):
            wrote = await self._applier.ensure(CONSOLE_LINKS, build_link(url, owner), current)
        return CONFIRM_SECONDS if wrote else None
