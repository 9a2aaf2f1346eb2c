"""What the collector's configuration needs to know of MLflow."""

from dataclasses import dataclass, field

from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments, Resolved
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.traces_url import TracesURL
from kagenti_operator.runtime.observable import Observable


@dataclass(frozen=True)
class Access:
    """Who may write to MLflow, where this operator grants it."""

    bindings: AccessFacts
    agents: AgentFacts


@dataclass(frozen=True)
class MLflowSources:
    """What the configuration needs to know of MLflow.

    `access`: None where others grant it; `suspended`: the platform's own operator grants it meanwhile.
    """

    mlflow: MLflowFacts
    own: CollectorExperiments
    traces: Observable[TracesURL | None]
    access: Access | None = None
    suspended: Observable[bool] = field(default_factory=lambda: Observable(False))

    @property
    def resolved(self) -> Observable[Resolved | None]:
        """The collector's experiment as MLflow last had it."""
        return self.own.resolved

    @property
    def expected(self) -> bool:
        """Whether MLflow is there or on its way."""
        mlflow = self.mlflow
        return mlflow.state == "Managed" or (mlflow.cr is not None and mlflow.state != "Removed")

    @property
    def grants(self) -> Access | None:
        """Who may write to MLflow; None while others grant it."""
        return None if self.suspended.value else self.access

    def is_granted(self, workspace: str) -> bool:
        """Whether spans may be sent to that workspace, as far as that is this operator's business."""
        # MLflow remembers a refusal for minutes: the grant comes before the configuration that needs it.
        grants = self.grants
        if grants is None or self.mlflow.state != "Managed":
            return True
        return grants.bindings.is_granted(workspace)
