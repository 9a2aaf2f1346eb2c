from kagenti_operator.controllers.collector.experiment import Resolved
from kagenti_operator.controllers.collector.metrics import ExperimentMetrics
from kagenti_operator.controllers.metrics import Leading
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.runtime.observable import Observable


def test_an_experiment_that_the_platforms_own_operator_sees_to_is_not_said_to_be_unknown() -> None:
    """Else a critical alert fires while this operator rests."""
    suspended, leading = Observable(False), Leading()
    leading.value = True
    resolved = Observable[Resolved | None](None)
    metrics = ExperimentMetrics(resolved, Settings(mlflow_workspace="team1"), leading, suspended)
    assert [sample.value for metric in metrics.collect() for sample in metric.samples] == [0]
    suspended.set(True)
    assert list(metrics.collect()) == []
