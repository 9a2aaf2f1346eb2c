from typing import Any

import pytest

from kagenti_operator.controllers.authbridge.workload import Workload, find_workload


def owner(kind: str, name: str, version: str = "apps/v1") -> dict[str, Any]:
    return {"kind": kind, "name": name, "apiVersion": version, "uid": "u", "controller": True}


def find(**metadata: Any) -> Workload:
    return find_workload({"metadata": metadata, "spec": {}})


def test_a_pod_of_a_deployment_is_its_deployments() -> None:
    labels = {"pod-template-hash": "7d4b9c8f5"}
    assert find(ownerReferences=[owner("ReplicaSet", "weather-7d4b9c8f5")], labels=labels) == Workload(
        "Deployment", "weather"
    )


def test_a_pod_of_a_bare_replica_set_is_named_as_it_and_has_no_owner() -> None:
    assert find(ownerReferences=[owner("ReplicaSet", "weather-7d4b9c8f5")]) == Workload(
        "", "weather-7d4b9c8f5"
    )
    other = {"pod-template-hash": "other"}
    assert find(ownerReferences=[owner("ReplicaSet", "weather")], labels=other) == Workload("", "weather")


@pytest.mark.parametrize(
    ("kind", "version"), [("StatefulSet", "apps/v1"), ("Sandbox", "agents.x-k8s.io/v1beta1")]
)
def test_a_pod_of_a_kind_that_names_its_pods_is_its_owners(kind: str, version: str) -> None:
    assert find(ownerReferences=[owner(kind, "weather", version)]) == Workload(kind, "weather", "u")


def test_an_owner_that_is_no_controller_or_of_another_group_owns_nothing() -> None:
    one = {**owner("StatefulSet", "weather"), "controller": False}
    assert find(ownerReferences=[one], name="weather-0") == Workload("", "weather-0")
    other = owner("Sandbox", "weather", "example.com/v1")
    assert find(ownerReferences=[other], name="weather-0") == Workload("", "weather-0")


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"generateName": "weather-7d4b9c8f5-"}, "weather"),
        ({"generateName": "weather-agent-"}, "weather-agent"),
        ({"generateName": "weather-grpc-"}, "weather-grpc"),
        ({"generateName": "weather-a1-", "labels": {"pod-template-hash": "a1"}}, "weather"),
        ({"generateName": "7d4b9c8f5-"}, "7d4b9c8f5"),
        ({"name": "weather"}, "weather"),
        ({"uid": "u7"}, "u7"),
    ],
)
def test_a_pod_without_such_an_owner_is_named_by_itself(metadata: dict[str, Any], name: str) -> None:
    assert find(**metadata) == Workload("", name)
