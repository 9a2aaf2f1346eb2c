"""Why MLflow refuses every span of the collector, where that can be foreseen; told when that changes."""

import structlog

from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.collector.access import is_granted
from kagenti_operator.controllers.settings import COLLECTOR_BINDING, DATA_SCIENCE_CLUSTER
from kagenti_operator.kube.resources import MLFLOWS
from kagenti_operator.otelcol.model import MLflowDestination
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef

log = structlog.get_logger("controllers.collector-config")


# Why no span at all is taken. Who manages MLflow instead of the operator may have granted access otherwise.
REASONS = ("WorkspaceNotConfigured", "MLflowNotManaged", "WorkspaceWithoutAgents", "WorkspaceNotGranted")
UNMANAGED = "MLflowUnmanaged"


def foresee_refusal(workspace: str | None, *, state: str | None, bound: bool, has_agents: bool) -> str | None:
    """Which of REASONS keeps spans for that workspace from MLflow, or UNMANAGED; None where nothing does.

    `state`: the component's managementState. `bound`: the collector has its RoleBinding there.
    """
    if not workspace:
        return "WorkspaceNotConfigured"
    if bound:
        return None
    if state != "Managed":
        return UNMANAGED if state == "Unmanaged" else "MLflowNotManaged"
    return "WorkspaceNotGranted" if has_agents else "WorkspaceWithoutAgents"


def word_reason(reason: str, workspace: str | None, state: str | None) -> str | None:
    """What people are told, and what to do; None where whoever grants access tells of it."""
    not_managed = (
        f"Component mlflowoperator of DataScienceCluster {DATA_SCIENCE_CLUSTER} is not Managed but "
        f"{state or 'unset'}, so the operator grants the collector no access to namespace '{workspace}', "
        "the configured workspace, and MLflow refuses spans with 403"
    )
    return {
        "WorkspaceNotConfigured": "No workspace is configured, so the collector sends none and MLflow "
        "refuses every span with 400. Set the chart's value mlflow.workspace (flag --mlflow-workspace).",
        "MLflowNotManaged": f"{not_managed}. Set it to Managed, or delete the MLflow CR if MLflow is not "
        "wanted any more.",
        UNMANAGED: f"{not_managed}, unless somebody else has granted it.",
        "WorkspaceWithoutAgents": f"No agent lives in namespace '{workspace}', the configured workspace, so "
        "the collector has no access there and MLflow refuses spans with 403. Access follows the first "
        "workload labelled kagenti.io/type=agent.",
    }.get(reason)


def find_refusal(cluster: Cluster, workspace: str | None) -> str | None:
    """What the cluster's facts foresee for spans that are sent to that workspace."""
    if cluster.mlflow is None or not cluster.openshift:
        return None
    binding = cluster.collector_bindings.store.get(workspace, COLLECTOR_BINDING) if workspace else None
    return foresee_refusal(
        workspace,
        state=cluster.mlflow_state,
        # The ClusterRole may be another by now; whatever else manages MLflow is not followed.
        bound=is_granted(binding, cluster.cluster_role)
        if cluster.mlflow_state == "Managed"
        else binding is not None,
        has_agents=bool(workspace) and cluster.has_agents(workspace),
    )


class SpanRefusals:
    """Tells of the refusal that the cluster's facts foresee, once until another takes its place."""

    def __init__(self, cluster: Cluster, events: EventRecorder) -> None:
        self._cluster = cluster
        self._events = events
        self._told: tuple[str, str | None] | None = None

    def tell(self, destination: MLflowDestination | None) -> None:
        """Look at the facts, for the destination that is in the configuration now."""
        workspace = destination.workspace if destination else None
        reason = find_refusal(self._cluster, workspace) if destination else None
        refusal = (reason, workspace) if reason else None
        if refusal == self._told:
            return
        self._told = refusal
        cr = self._cluster.mlflow
        message = word_reason(reason, workspace, self._cluster.mlflow_state) if reason else None
        if reason is None or message is None or cr is None:
            return
        log.warning(message, workspace=workspace)
        self._events.warning(ObjectRef.of(MLFLOWS, cr), reason, message)
