"""Deployments: their environment and their rollout."""

from typing import Any

import pytest

from kagenti_devcluster.demo.workloads import annotate_templates, environment, is_rolled_out


def test_the_pods_of_deployments_carry_the_secrets_version_and_all_else_is_as_it_was():
    service = {"kind": "Service", "spec": {"ports": [{"port": 8000}]}}
    template: dict[str, Any] = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"own": "1"}},
        "spec": {"containers": []},
    }
    deployment = {"kind": "Deployment", "spec": {"replicas": 1, "template": template}}
    marked = annotate_templates([service, deployment], {"version": "7"})
    wanted = {**template, "metadata": {"labels": {"a": "b"}, "annotations": {"own": "1", "version": "7"}}}
    assert marked == [service, {"kind": "Deployment", "spec": {"replicas": 1, "template": wanted}}]


def workload(**status: int) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "a",
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {}}],
    }
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
        "status": status,
    }


COMPLETE = {"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1, "replicas": 1}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, True),
        ({"observedGeneration": 1}, False),
        ({"updatedReplicas": 0}, False),
        ({"readyReplicas": 0}, False),
        ({"replicas": 2}, False),
    ],
)
def test_a_rollout_is_through_when_only_new_pods_are_there_and_ready(change: dict[str, int], verdict: bool):
    assert is_rolled_out(workload(**{**COMPLETE, **change})) is verdict


def test_the_environment_is_that_of_plain_values():
    assert environment(workload()) == {"A": "1"}
