"""Why MLflow refuses every span of the collector, where that can be foreseen; told when that changes."""

from dataclasses import dataclass

import structlog

from kagenti_operator.collector.model import MLflowDestination
from kagenti_operator.controllers.cluster import Cluster
from kagenti_operator.controllers.settings import COLLECTOR_BINDING, DATA_SCIENCE_CLUSTER
from kagenti_operator.kube.resources import MLFLOWS
from kagenti_operator.runtime.events import EventRecorder, ObjectRef

log = structlog.get_logger("controllers.collector-config")


@dataclass(frozen=True)
class SpanRefusal:
    """What people are told: the Event's reason, and a message that says what to do."""

    reason: str
    message: str


def foresee_refusal(
    workspace: str | None, *, state: str | None, bound: bool, has_agents: bool
) -> SpanRefusal | None:
    """Why MLflow refuses what is sent to that workspace; None where nothing speaks against it.

    `state`: the component's managementState. `bound`: the collector has its RoleBinding there.
    """
    if workspace is None:
        return SpanRefusal(
            "WorkspaceNotConfigured",
            "No workspace is configured, so the collector sends none and MLflow refuses every span with "
            "400. Set the chart's value mlflow.workspace (flag --mlflow-workspace).",
        )
    if bound:
        return None
    if state != "Managed":
        return SpanRefusal(
            "MLflowNotManaged",
            f"Component mlflowoperator of DataScienceCluster {DATA_SCIENCE_CLUSTER} is not Managed but "
            f"{state or 'unset'}, so the operator grants the collector no access to namespace '{workspace}', "
            "the configured workspace, and MLflow refuses spans with 403. Set it to Managed, or delete the "
            "MLflow CR if MLflow is not wanted any more.",
        )
    if not has_agents:
        return SpanRefusal(
            "WorkspaceWithoutAgents",
            f"No agent lives in namespace '{workspace}', the configured workspace, so the collector has "
            "no access there and MLflow refuses spans with 403. Access follows the first workload "
            "labelled kagenti.io/type=agent.",
        )
    # On its way; that there is no ClusterRole to grant is told by whoever grants it.
    return None


class SpanRefusals:
    """Tells of the refusal that the cluster's facts foresee, once until another takes its place."""

    def __init__(self, cluster: Cluster, events: EventRecorder) -> None:
        self._cluster = cluster
        self._events = events
        self._told: SpanRefusal | None = None

    def tell(self, destination: MLflowDestination | None) -> None:
        """Look at the facts, for the destination that is in the configuration now."""
        refusal = self._foresee(destination)
        if refusal == self._told:
            return
        self._told = refusal
        cr = self._cluster.mlflow
        if refusal is None or destination is None or cr is None:
            return
        log.warning(refusal.message, workspace=destination.workspace)
        self._events.warning(ObjectRef.of(MLFLOWS, cr), refusal.reason, refusal.message)

    def _foresee(self, destination: MLflowDestination | None) -> SpanRefusal | None:
        cluster = self._cluster
        if destination is None or cluster.mlflow is None or not cluster.openshift:
            return None
        workspace = destination.workspace
        binding = cluster.collector_bindings.store.get(workspace, COLLECTOR_BINDING) if workspace else None
        return foresee_refusal(
            workspace,
            state=cluster.mlflow_state,
            bound=binding is not None,
            has_agents=workspace is not None and cluster.has_agents(workspace),
        )
