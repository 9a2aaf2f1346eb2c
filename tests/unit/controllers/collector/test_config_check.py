import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.collector.config_check import describe, find_problem
from kagenti_operator.kube.objects.models import ConfigMap, LabelledMeta
from kagenti_operator.kube.objects.workloads import (
    PodTemplate,
    RolloutStatus,
    TemplateMeta,
    Workload,
    WorkloadMeta,
    WorkloadSpec,
)
from kagenti_operator.otelcol.model import Facts, MLflowDestination
from kagenti_operator.otelcol.render import config_hash, render


def text_for(destination: MLflowDestination | None) -> str:
    return render(
        Facts(openshift=True, mlflow=destination, phoenix=False, ingress_ca=False, modern_exporter_names=True)
    )


TEXT = text_for(
    MLflowDestination(traces_endpoint="https://mlflow:8443/v1/traces", workspace="team1", experiment_id="7")
)


def config_map(text: str = TEXT, hashed: str = TEXT) -> ConfigMap:
    annotations = {"kagenti.io/otel-config-hash": config_hash(hashed)}
    metadata = LabelledMeta(name="otel-collector-config", annotations=annotations)
    return ConfigMap(metadata=metadata, data={"base.yaml": text})


def collector(text: str = TEXT, *, generation: int = 2, available: int = 1) -> Workload:
    annotations = {"kagenti.io/otel-config-hash": config_hash(text)}
    return Workload(
        metadata=WorkloadMeta(name="otel-collector", generation=generation),
        spec=WorkloadSpec(template=PodTemplate(metadata=TemplateMeta(annotations=annotations))),
        status=RolloutStatus(observed_generation=2, updated_replicas=1, available_replicas=available),
    )


def test_written_by_the_operator_and_rolled_out_is_in_place() -> None:
    assert find_problem(KAGENTI, config_map(), collector()) is None


@pytest.mark.parametrize(
    ("found", "deployment", "said"),
    [
        (None, collector(), "does not exist: the operator has written none"),
        (config_map(text=TEXT + "# mine"), collector(), "something else than the operator wrote"),
        (config_map(), None, "does not exist: install it"),
        (config_map(), collector("another"), "is not rolled to the configuration"),
        (config_map(), collector(generation=3), "pods are not ready"),
        (config_map(), collector(available=0), "pods are not ready"),
    ],
)
def test_what_is_missing_is_said(found: ConfigMap | None, deployment: Workload | None, said: str) -> None:
    problem = find_problem(KAGENTI, found, deployment)
    assert problem is not None
    assert said in problem


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        (None, "sends nothing to MLflow"),
        (
            MLflowDestination(traces_endpoint="https://mlflow/v1/traces"),
            "it sends to https://mlflow/v1/traces",
        ),
        (
            MLflowDestination(
                traces_endpoint="https://mlflow/v1/traces", workspace="team1", experiment_id="7"
            ),
            "it sends to https://mlflow/v1/traces, workspace team1, experiment 7",
        ),
    ],
)
def test_where_the_spans_go_is_said(destination: MLflowDestination | None, said: str) -> None:
    text = text_for(destination)
    assert said in describe(KAGENTI, config_map(text, text))
