"""Namespaces that are no workspaces because of the MLflow CR's selector."""

from typing import Any

import msgspec
import pytest

from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.mlflow.workspaces import describe_selector, explain_refusal

ABSENT = MLflowError(404, "RESOURCE_DOES_NOT_EXIST", "Workspace 'team1' not found in the Kubernetes cluster.")
DENIED = MLflowError(403, "PERMISSION_DENIED", "Permission denied for workspace 'team1'.")


def mlflow(selector: Any) -> MLflow:
    body = {"metadata": {"name": "mlflow"}, "spec": {"workspaceLabelSelector": selector}}
    return msgspec.convert(body, MLflow)


@pytest.mark.parametrize(
    ("selector", "described"),
    [
        ({"matchLabels": {"mlflow": "true", "team": "a"}}, "mlflow=true,team=a"),
        (
            {
                "matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["x", "y"]},
                    {"key": "b", "operator": "NotIn", "values": ["z"]},
                    {"key": "c", "operator": "Exists"},
                    {"key": "d", "operator": "DoesNotExist"},
                ]
            },
            "a in (x, y),b notin (z),c,!d",
        ),
        ("mlflow=true", "mlflow=true"),
        ({}, None),
        (None, None),
        ("", None),
        (7, None),
        ({"matchLabels": ["a"], "matchExpressions": ["b"]}, "None"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": 7}]}, "a in ()"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": "xy"}]}, "a in ()"),
    ],
)
def test_the_selector_is_described_as_kubectl_writes_it(selector: Any, described: str | None) -> None:
    assert describe_selector(mlflow(selector)) == described


def test_a_namespace_without_the_labels_is_told_which() -> None:
    found = explain_refusal(mlflow({"matchLabels": {"mlflow": "true"}}), "team1", ABSENT)
    assert found is not None
    for part in ("spec.workspaceLabelSelector of MLflow mlflow", "mlflow=true", "namespace 'team1'"):
        assert part in found


def test_the_selector_is_not_blamed_for_other_refusals() -> None:
    selected = mlflow({"matchLabels": {"mlflow": "true"}})
    assert explain_refusal(selected, "team1", DENIED) is None
    assert explain_refusal(selected, "team2", ABSENT) is None
    assert explain_refusal(mlflow(None), "team1", ABSENT) is None
