"""A link to MLflow's user interface in OpenShift's web console."""

from kagenti_operator.contract import Names
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.failure_events import failures_recorded
from kagenti_operator.controllers.features import Feature
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.singleton import build_singleton
from kagenti_operator.kube.manifests import Manifest, build_manifest, build_owner
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import CLUSTER_ROLES, CONSOLE_LINKS, MLFLOWS
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS, Applier
from kagenti_operator.runtime.telemetry.events import ObjectRef


def build_feature(dependencies: Dependencies, mlflow: MLflowFacts) -> Feature:
    """Watch the MLflow CR, the link, and the ClusterRole with which it goes."""
    reconciler = ConsoleLinkReconciler(dependencies, mlflow)
    links, role = reconciler.links, reconciler.role
    controller = build_singleton(
        dependencies,
        "console-link",
        reconciler.reconcile,
        mlflow.mlflows,
        links,
        role,
        follows=(links.cache.served,),
    )
    return Feature(name="console-link", informers=(mlflow.mlflows, links, role), controllers=(controller,))


def build_link(names: Names, url: str, owner: KubeObject | None) -> Manifest:
    """Build the ConsoleLink.

    `owner`: the ClusterRole that permits it, which the chart makes only while it is wanted. Once that is
    switched off the operator may no longer delete the link, and need not.
    """
    return build_manifest(
        CONSOLE_LINKS,
        names.console_link,
        labels=names.managed_labels,
        owners=[build_owner(CLUSTER_ROLES, owner)] if owner else [],
        spec={
            "href": url,
            "text": "MLflow",
            "location": "ApplicationMenu",
            "applicationMenu": {"section": "Kagenti"},
        },
    )


class ConsoleLinkReconciler:
    """Keeps the link. It stays while an MLflow CR has no address: that is a hiccup."""

    def __init__(self, dependencies: Dependencies, mlflow: MLflowFacts) -> None:
        names, informers = dependencies.settings.names, dependencies.informers
        self.links = informers.get(Selection(resource=CONSOLE_LINKS, name=names.console_link))
        self.role = informers.get(
            Selection(resource=CLUSTER_ROLES, name=names.console_link_role, optional=True)
        )
        self._names = names
        self._mlflow = mlflow
        self._events = dependencies.events
        self._applier = Applier(dependencies.client)

    async def reconcile(self) -> float | None:
        """Bring the link to MLflow's address; delete it when the MLflow CR is gone."""
        current = self.links.cache.get("", self._names.console_link)
        cr = self._mlflow.cr
        if cr is None:
            about = ObjectRef.of(CONSOLE_LINKS, current) if current else None
            consequence = "MLflow is gone, but the link to it could not be deleted"
            with failures_recorded(self._events, about, "ConsoleLinkNotDeleted", consequence):
                await self._applier.delete(CONSOLE_LINKS, current)
            return None
        url = status.dashboard_url(cr)
        # The console's API refuses any other scheme.
        if not (self.links.cache.served.value and url and url.startswith("https://")):
            return None
        owner = self.role.cache.get("", self._names.console_link_role)
        about, consequence = ObjectRef.of(MLFLOWS, cr), "The console's link to MLflow could not be written"
        with failures_recorded(self._events, about, "ConsoleLinkNotWritten", consequence):
            wrote = await self._applier.ensure(CONSOLE_LINKS, build_link(self._names, url, owner), current)
        return CONFIRM_SECONDS if wrote else None
