"""Pure: where the collector sends spans."""

from dataclasses import dataclass

from kagenti_operator.controllers.collector.experiment_record import Resolved
from kagenti_operator.controllers.mlflow.traces_url import TracesURL, find_traces_url
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.mlflow import status
from kagenti_operator.otelcol.model import MLflowDestination


@dataclass(frozen=True, kw_only=True)
class MLflowView:
    """What decides where spans go.

    `by_kubernetes`: MLflow authorizes by Kubernetes, and takes spans of a workspace's experiments only.
    `granted`: the collector may write to the workspace, or others see to that.
    """

    cr: MLflow | None
    by_kubernetes: bool
    workspace: str | None
    resolved: Resolved | None
    traces: TracesURL | None
    granted: bool
    last_known: MLflowDestination | None


def choose_destination(view: MLflowView) -> MLflowDestination | None:
    """Choose the last known destination until a better one is complete.

    Only the CR's end takes MLflow out of the configuration (section 2.3 of the contract).
    """
    if view.cr is None:
        return None
    endpoint = find_traces_url(view.cr, view.traces) if status.is_available(view.cr) else None
    if endpoint is None:
        return view.last_known
    if not view.by_kubernetes or not view.workspace:
        return MLflowDestination(traces_endpoint=endpoint)
    resolved = view.resolved
    known = (
        resolved is not None
        and resolved.workspace == view.workspace
        and resolved.base_url == status.rest_url(view.cr)
    )
    if resolved is None or not known or not view.granted:
        return view.last_known
    return MLflowDestination(
        traces_endpoint=endpoint, workspace=resolved.workspace, experiment_id=resolved.experiment.id
    )
