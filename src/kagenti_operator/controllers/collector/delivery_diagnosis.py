"""Pure: why MLflow refuses every span of the collector, where that can be foreseen."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from kagenti_operator import contract
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.sources import MLflowSources
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.otelcol.assemble import is_plain_http
from kagenti_operator.runtime.telemetry.reporter import Report

# Why no span at all is taken. Who manages MLflow instead of the operator may have granted access otherwise.
REASONS = ("WorkspaceNotConfigured", "MLflowNotManaged", "WorkspaceNotGranted")
UNMANAGED = "MLflowUnmanaged"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The facts. `bound`: the collector has its RoleBinding.

    `cluster`: the name of the DataScienceCluster, if there is one; `going`: it is being deleted; `state`: the
    component's managementState; `account`: the ServiceAccount that the collector runs as.
    """

    workspace: str | None
    cluster: str | None = None
    going: bool = False
    state: str | None
    bound: bool
    account: str = contract.COLLECTOR

    @classmethod
    def of(cls, mlflow: MLflowFacts, access: AccessFacts, workspace: str | None) -> Self:
        """What the caches have for spans that are sent to that workspace."""
        binding = access.binding(workspace) if workspace else None
        managed = mlflow.state == "Managed"
        cluster = mlflow.data_science_cluster
        return cls(
            workspace=workspace,
            cluster=cluster.metadata.name if cluster else None,
            going=cluster is not None and cluster.going,
            state=mlflow.state,
            # The ClusterRole may be another by now; whatever else manages MLflow is not followed.
            bound=bool(workspace) and access.is_granted(workspace) if managed else binding is not None,
            account=access.account(workspace or "")[1],
        )


def find_delivery(sources: MLflowSources, workspace: str | None) -> Delivery:
    """What decides whether MLflow takes spans that are sent to that workspace."""
    access = sources.grants
    if access is None:
        # Who grants access instead of this operator is not followed.
        return Delivery(workspace=workspace, state=sources.mlflow.state, bound=True)
    return Delivery.of(sources.mlflow, access.bindings, workspace)


def foresee_refusal(delivery: Delivery) -> str | None:
    """Find which of REASONS keeps spans from MLflow, or UNMANAGED; None where nothing does."""
    if not delivery.workspace:
        return "WorkspaceNotConfigured"
    if delivery.bound:
        return None
    if delivery.state != "Managed":
        unmanaged = delivery.cluster is None or delivery.state == "Unmanaged"
        return UNMANAGED if unmanaged else "MLflowNotManaged"
    return "WorkspaceNotGranted"


def report_delivery(delivery: Delivery) -> Iterable[Report]:
    """Report the refusal, and what to do; whoever grants access reports where that fails."""
    reason = foresee_refusal(delivery)
    workspace = delivery.workspace
    not_managed = (
        f"{_describe_state(delivery)}, so the operator grants the collector no access to namespace "
        f"'{workspace}', the configured workspace, and MLflow refuses spans with 403"
    )
    messages = {
        "WorkspaceNotConfigured": "No workspace is configured, so the collector sends none and MLflow "
        "refuses every span with 400. Set the chart's value mlflow.workspace (flag --mlflow-workspace).",
        "MLflowNotManaged": f"{not_managed}. {_advise_managed(delivery)}, or delete the MLflow CR if MLflow "
        "is not wanted any more.",
        UNMANAGED: f"{not_managed}, unless somebody else has granted it."
        if delivery.cluster
        else "No DataScienceCluster manages MLflow, so this operator grants nothing: bind ServiceAccount "
        f"{delivery.account} to ClusterRole {contract.INTEGRATION_ROLE} in namespace '{workspace}' by "
        f"RoleBinding {contract.COLLECTOR_BINDING}, unless that is done otherwise. Until then MLflow refuses "
        "spans with 403.",
    }
    if reason in messages:
        yield Report(reason=reason, message=messages[reason], log=True)


def report_encryption(endpoint: str, *, allowed: bool) -> Iterable[Report]:
    """Report an address to which the collector sends its token unencrypted, or does not send it."""
    if not is_plain_http(endpoint):
        return
    if allowed:
        yield Report(
            reason="TokenSentUnencrypted",
            message=f"The collector sends its token to {endpoint}, where others can read it on its way: "
            "mlflow.allowHTTP (flag --mlflow-allow-http) permits it.",
            log=True,
        )
        return
    yield Report(
        reason="TokenNotSent",
        message=f"The collector sends no token to {endpoint}, where others could read it on its way, so "
        "MLflow refuses every span with 401. Have MLflow serve https, or permit it by the chart's value "
        "mlflow.allowHTTP (flag --mlflow-allow-http).",
        log=True,
    )


def _describe_state(delivery: Delivery) -> str:
    if delivery.going:
        return f"DataScienceCluster {delivery.cluster} is being deleted"
    state = delivery.state or "unset"
    return f"Component mlflowoperator of DataScienceCluster {delivery.cluster} is not Managed but {state}"


def _advise_managed(delivery: Delivery) -> str:
    if delivery.going:
        return "Make a DataScienceCluster whose component mlflowoperator is Managed"
    return "Set it to Managed"
