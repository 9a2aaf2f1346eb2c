"""What is said while the collector's configuration is made; there is no API server."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from kagenti_operator.controllers.collector.config import CollectorConfigReconciler
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.sources import MLflowSources
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.traces_url import TracesURL
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.runtime.observable import Observable
from tests.unit.controllers.dependencies import open_dependencies


@pytest.mark.parametrize(("openshift", "reported"), [(False, True), (True, False)])
async def test_a_ca_file_that_is_missing_is_reported_where_the_collector_gets_it_by_value(
    tmp_path: Path, openshift: bool, reported: bool
) -> None:
    settings = Settings(enable_otel_bootstrap=True, mlflow_ca_file=tmp_path / "ca.crt")
    async with open_dependencies(settings, "http://nobody.invalid") as dependencies:
        facts = CollectorFacts(dependencies, Observable[bool | None](openshift))
        mlflow = MLflowFacts(dependencies.informers)
        own = CollectorExperiments(settings, None)
        sources = MLflowSources(mlflow, own, Observable[TracesURL | None](None), None)
        with capture_logs() as logs, pytest.raises(KubeError):
            await CollectorConfigReconciler(dependencies, facts, sources).reconcile()
    assert [line["reason"] for line in logs if "ca.crt" in line["event"]] == ["MLflowCANotUsed"] * reported
