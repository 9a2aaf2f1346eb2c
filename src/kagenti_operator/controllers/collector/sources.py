"""What the collector's configuration needs to know of MLflow."""

from dataclasses import dataclass

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
    """What the configuration needs to know of MLflow. `access`: None where others grant it."""

    mlflow: MLflowFacts
    own: CollectorExperiments
    traces: Observable[TracesURL | None]
    access: Access | None = None

    @property
    def resolved(self) -> Observable[Resolved | None]:
        """The collector's experiment as MLflow last had it."""
        return self.own.resolved

    @property
    def expected(self) -> bool:
        """Whether MLflow is there or on its way."""
        mlflow = self.mlflow
        return mlflow.state == "Managed" or (mlflow.cr is not None and mlflow.state != "Removed")

    def is_granted(self, workspace: str) -> bool:
        """Whether spans may be sent to that workspace, as far as that is this operator's business."""
        # MLflow remembers a refusal for minutes: the grant comes before the configuration that needs it.
        if self.access is None or self.mlflow.state != "Managed":
            return True
        return self.access.bindings.is_granted(workspace)
