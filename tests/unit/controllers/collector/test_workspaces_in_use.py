"""From where the collector still delivers, so that access there is not taken away under it."""

from collections.abc import AsyncGenerator

import msgspec
import pytest

from kagenti_operator.contract import COLLECTOR, COLLECTOR_CONFIG, COLLECTOR_CONFIG_KEY, KAGENTI
from kagenti_operator.controllers.collector.facts import CollectorFacts
from kagenti_operator.controllers.collector.workspaces_in_use import WorkspacesInUse
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import ConfigMap
from kagenti_operator.kube.objects.workloads import Workload
from kagenti_operator.otelcol.model import Facts, MLflowDestination
from kagenti_operator.otelcol.render import config_hash, render
from kagenti_operator.runtime.observable import Observable
from tests.unit.controllers.dependencies import open_dependencies, put

NAMESPACE = "kagenti-system"


def text_for(workspace: str | None) -> str:
    destination = MLflowDestination(
        traces_endpoint="https://mlflow:8443/v1/traces",
        workspace=workspace,
        experiment_id="1" if workspace else None,
    )
    return render(
        Facts(openshift=True, mlflow=destination, phoenix=False, ingress_ca=False, modern_exporter_names=True)
    )


def config_map(workspace: str | None) -> ConfigMap:
    text = text_for(workspace)
    annotations = {KAGENTI.config_hash_annotation: config_hash(text)}
    meta = {"name": COLLECTOR_CONFIG, "namespace": NAMESPACE, "annotations": annotations}
    return msgspec.convert({"metadata": meta, "data": {COLLECTOR_CONFIG_KEY: text}}, ConfigMap)


def collector(workspace: str) -> Workload:
    """The Deployment, rolled to the configuration for that workspace."""
    annotations = {KAGENTI.config_hash_annotation: config_hash(text_for(workspace))}
    return msgspec.convert(
        {
            "metadata": {"name": COLLECTOR, "namespace": NAMESPACE, "generation": 1},
            "spec": {"replicas": 1, "template": {"metadata": {"annotations": annotations}}},
            "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
        },
        Workload,
    )


@pytest.fixture
async def facts() -> AsyncGenerator[CollectorFacts]:
    async with open_dependencies(Settings(enable_otel_bootstrap=True)) as dependencies:
        yield CollectorFacts(dependencies, Observable[bool | None](True))


def test_the_last_workspace_is_in_use_until_the_collector_is_rolled_to_another(facts: CollectorFacts) -> None:
    in_use = WorkspacesInUse(KAGENTI, facts)
    put(facts.config_map, config_map("team1"))
    put(facts.deployments, collector("team1"))
    assert in_use.find() == {"team1"}
    put(facts.config_map, config_map("team2"))
    assert in_use.find() == {"team1", "team2"}
    put(facts.deployments, collector("team2"))
    assert in_use.find() == {"team2"}
    put(facts.config_map, config_map(None))
    assert in_use.find() == {"team2"}


def test_without_a_collector_no_earlier_workspace_is_in_use(facts: CollectorFacts) -> None:
    in_use = WorkspacesInUse(KAGENTI, facts)
    assert in_use.find() == set()
    put(facts.config_map, config_map("team1"))
    assert in_use.find() == {"team1"}
    put(facts.config_map, config_map("team2"))
    assert in_use.find() == {"team2"}
