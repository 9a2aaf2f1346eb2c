"""The controller decides about a pod template, admission about the pod that comes of it: both alike."""

import copy
from typing import Any

import pytest
import yaml

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.authbridge.decide import decide
from kagenti_operator.controllers.authbridge.gates import Gates
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Surroundings
from kagenti_operator.controllers.authbridge.outcome import Injected
from kagenti_operator.controllers.authbridge.platform_config import Images, PlatformConfig
from kagenti_operator.controllers.authbridge.workload import Workload

NAMESPACE = NamespaceConfig(
    namespace="team1",
    config={
        "ISSUER": "https://login.example.com/realms/agents",
        "KEYCLOAK_URL": "http://keycloak-service.keycloak.svc:8080",
        "KEYCLOAK_REALM": "agents",
        "CLIENT_AUTH_TYPE": "client-secret",
        "DEFAULT_OUTBOUND_POLICY": "exchange",
    },
)
PLATFORM = PlatformConfig(
    images=Images(authbridge="r/a:1", authbridge_lite="r/l:1", proxy_init="r/i:1", envoy_proxy="r/e:1")
)
SURROUNDINGS = Surroundings(names=KAGENTI, client_registration=True, platform_namespace="kagenti-system")
MLFLOW = "https://mlflow.redhat-ods-applications.svc:8443"
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"kagenti.io/type": "agent", "app": "weather"}, "annotations": {}},
    "spec": {
        "containers": [
            {
                "name": "agent",
                "image": "r/weather:1",
                "ports": [{"containerPort": 8000, "name": "http"}],
                "env": [{"name": "MLFLOW_TRACKING_URI", "value": MLFLOW}],
            }
        ]
    },
}


def as_admitted(template: dict[str, Any]) -> dict[str, Any]:
    """What the API server and its own admission make of a template before webhooks see the pod."""
    pod = copy.deepcopy(template)
    pod["metadata"] |= {"generateName": "weather-5d59d67564-", "namespace": "team1"}
    pod["metadata"]["labels"] = {**pod["metadata"]["labels"], "pod-template-hash": "5d59d67564"}
    pod["metadata"]["annotations"] = {"kagenti.io/config-hash": "an-earlier-one"}
    spec = pod["spec"]
    spec |= {
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "restartPolicy": "Always",
        "securityContext": {},
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        "volumes": [{"name": "kube-api-access-x", "projected": {"sources": []}}],
    }
    token = {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    for container in spec["containers"]:
        container |= {"imagePullPolicy": "IfNotPresent", "resources": {}, "volumeMounts": [token]}
        for port in container["ports"]:
            port["protocol"] = "TCP"
    return pod


def injected(pod: dict[str, Any], base: str | None = None) -> Injected:
    namespace = NamespaceConfig(namespace="team1", config=NAMESPACE.config, base=base)
    workload = Workload("Deployment", "weather", "u1")
    outcome = decide(pod, workload, namespace, Gates(), PLATFORM, SURROUNDINGS)
    assert isinstance(outcome, Injected), outcome
    return outcome


@pytest.mark.parametrize("mode", ["proxy-sidecar", "lite", "envoy-sidecar"])
def test_a_template_and_its_pod_get_the_same_file_and_hash(mode: str) -> None:
    template, pod = injected(TEMPLATE, f"mode: {mode}"), injected(as_admitted(TEMPLATE), f"mode: {mode}")
    assert template.restart_hash
    assert template.restart_hash == pod.restart_hash
    assert (template.config, template.envoy_config) == (pod.config, pod.envoy_config)


def test_the_hash_is_another_for_what_only_a_new_pod_takes_over() -> None:
    moved = copy.deepcopy(TEMPLATE)
    moved["spec"]["containers"][0]["ports"][0]["containerPort"] = 9000
    found = [injected(TEMPLATE), injected(TEMPLATE, "mode: lite"), injected(moved)]
    assert len({it.restart_hash for it in found}) == len(found)


def test_the_hash_is_the_same_for_another_pipeline() -> None:
    changed = NamespaceConfig(namespace="team1", config={**NAMESPACE.config, "KEYCLOAK_REALM": "other"})
    workload = Workload("Deployment", "weather", "u1")
    outcome = decide(TEMPLATE, workload, changed, Gates(), PLATFORM, SURROUNDINGS)
    assert isinstance(outcome, Injected)
    before = injected(TEMPLATE)
    assert outcome.config != before.config
    assert outcome.restart_hash == before.restart_hash


def test_an_agents_traces_go_on_where_calls_are_exchanged_by_default() -> None:
    """Neither OTLP to the collector nor `mlflow`, which shows its own token, is exchanged or refused."""
    file = yaml.safe_load(injected(TEMPLATE).config or "")
    exchange = file["pipeline"]["outbound"]["plugins"][0]["config"]
    assert exchange["default_policy"] == "exchange"
    skipped = file["listener"]["skip_hosts"]
    assert "otel-collector.kagenti-system.svc" in skipped
    assert "mlflow.redhat-ods-applications.svc" in skipped
