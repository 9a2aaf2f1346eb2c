"""Whether spans may be sent to a workspace, as far as the operator sees to that."""

from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.delivery_diagnosis import find_delivery
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.collector.sources import Access, MLflowSources
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.traces_url import TracesURL
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.runtime.observable import Observable
from tests.unit.controllers.dependencies import open_dependencies, put
from tests.unit.controllers.platform import MANAGED


async def test_beside_an_operator_that_grants_access_no_binding_is_waited_for() -> None:
    async with open_dependencies(Settings(enable_mlflow=True, enable_otel_bootstrap=True)) as dependencies:
        mlflow, access = MLflowFacts(dependencies.informers), AccessFacts(dependencies)
        put(mlflow.data_science_clusters, MANAGED)
        suspended = dependencies.suspended.mlflow
        sources = MLflowSources(
            mlflow,
            CollectorExperiments(dependencies.settings, access),
            Observable[TracesURL | None](None),
            Access(access, AgentFacts(dependencies)),
            suspended,
        )
        assert not sources.is_granted("team1")
        assert not find_delivery(sources, "team1").bound
        suspended.set(True)
        assert sources.is_granted("team1")
        assert find_delivery(sources, "team1").bound
        suspended.set(False)
        assert not sources.is_granted("team1")
