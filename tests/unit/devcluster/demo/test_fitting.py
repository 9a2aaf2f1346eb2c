"""The examples as each platform wants them."""

from typing import Any

import pytest

from kagenti_devcluster.cluster.kubectl import Manifest
from kagenti_devcluster.demo.fitting import fit
from kagenti_devcluster.demo.workloads import environment
from kagenti_devcluster.profiles import PROFILES

CA = "-----BEGIN CERTIFICATE-----"


def agent(kind: str = "Deployment") -> Manifest:
    labels = {"app": "planner", "kagenti.io/type": "agent"}
    url = {"name": "COLLECTOR", "value": "http://otel-collector.kagenti-system.svc:8335"}
    container = {"name": "agent", "image": "kagenti/planner:1", "env": [url]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "planner", "namespace": "team1", "labels": labels},
        "spec": {"template": template},
    }


def labels_of(workload: Manifest) -> tuple[dict[str, str], dict[str, str]]:
    return workload["metadata"]["labels"], workload["spec"]["template"]["metadata"]["labels"]


def test_where_people_label_agents_they_are_applied_as_they_are() -> None:
    assert fit([agent()], PROFILES["openshift-ai-3.4"], CA) == [agent()]


@pytest.mark.parametrize(
    ("profile", "prefix"), [("openshift-ai-3.5", "rossoctl"), ("open-data-hub", "kagenti")]
)
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_where_an_operator_labels_agents_people_make_an_agent_runtime(
    kind: str, profile: str, prefix: str
) -> None:
    workload, runtime = fit([agent(kind)], PROFILES[profile], CA)
    assert labels_of(workload) == ({"app": "planner"}, {"app": "planner"})
    assert environment(workload) == {"COLLECTOR": f"http://otel-collector.{prefix}-system.svc:8335"}
    assert runtime == {
        "apiVersion": f"agent.{prefix}.dev/v1alpha1",
        "kind": "AgentRuntime",
        "metadata": {"name": "planner", "namespace": "team1"},
        "spec": {"type": "agent", "targetRef": {"apiVersion": "apps/v1", "kind": kind, "name": "planner"}},
    }


def test_without_a_service_ca_agents_name_the_ca_that_their_namespace_has() -> None:
    namespace: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team1"}}
    same, config_map, workload = fit([namespace, agent()], PROFILES["kubernetes"], CA)
    assert same == namespace
    assert (config_map["metadata"]["namespace"], config_map["data"]) == ("team1", {"ca.crt": CA})
    assert environment(workload)["MLFLOW_TRACKING_SERVER_CERT_PATH"] == "/etc/mlflow-ca/ca.crt"
    pod = workload["spec"]["template"]["spec"]
    assert pod["containers"][0]["volumeMounts"][0]["name"] == pod["volumes"][0]["name"] == "mlflow-ca"
    assert labels_of(workload)[0] == {"app": "planner", "kagenti.io/type": "agent"}


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_no_agent_stays_as_it_is(profile: str) -> None:
    service: dict[str, Any] = {"kind": "Service", "metadata": {"name": "planner", "namespace": "team1"}}
    assert fit([service], PROFILES[profile], CA) == [service]
