"""What is kept of objects that tenants make as large as the API server stores them."""

import json
from typing import Any

import msgspec
import pytest

from kagenti_operator.contract import SERVICE_ACCOUNT_FOLDER
from kagenti_operator.controllers.authbridge.yaml_text import MAX_BYTES
from kagenti_operator.kube.objects.agents import AgentSandbox, AgentWorkload
from kagenti_operator.kube.objects.models import LARGEST_SHARED, KubeObject, SharedConfigMap
from kagenti_operator.kube.objects.rbac import Role, RoleBinding
from kagenti_operator.kube.watch import decode_page

LARGE = "x" * 2**20
MANY = 20_000
# Of an ordinary agent about a fifth is kept.
MOST_BYTES = 16_384


def agent(
    *, annotations: Any = None, metadata: Any = None, pod: Any = None, **container: Any
) -> dict[str, Any]:
    template: dict[str, Any] = {"metadata": {"annotations": annotations or {}}}
    template["spec"] = {"containers": [{"name": "agent", **container}], **(pod or {})}
    return {
        "metadata": {"name": "fat", "namespace": "team1", **(metadata or {})},
        "spec": {"template": template, "podTemplate": template},
    }


FAT_AGENTS = {
    "a value that is read": agent(env=[{"name": "MLFLOW_TRACKING_URI", "value": LARGE}]),
    "a value that refers to ours": agent(env=[{"name": "A", "value": "$(MLFLOW_WORKSPACE)" * 50_000}]),
    "a name that refers to ours": agent(env=[{"name": LARGE, "value": "$(MLFLOW_WORKSPACE)"}]),
    "the same variable many times": agent(env=[{"name": "HTTPS_PROXY", "value": "a"}] * MANY),
    "many variables that refer to ours": agent(
        env=[{"name": f"A{number}", "value": "$(MLFLOW_WORKSPACE)"} for number in range(MANY)]
    ),
    "an annotation of ours": agent(annotations={"mlflow.kagenti.io/experiment-id": LARGE}),
    "the annotation of theirs": agent(metadata={"annotations": {"mlflow.kagenti.io/inject": LARGE}}),
    "other annotations": agent(metadata={"annotations": {"a": LARGE}}, annotations={"b": LARGE}),
    "a mount": agent(volumeMounts=[{"name": LARGE, "mountPath": SERVICE_ACCOUNT_FOLDER}]),
    "many mounts": agent(volumeMounts=[{"name": "a", "mountPath": SERVICE_ACCOUNT_FOLDER}] * MANY),
    "an account": agent(pod={"serviceAccountName": LARGE}),
    "a condition": {
        **agent(),
        "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": LARGE}] * 3},
    },
}


@pytest.mark.parametrize("model", [AgentWorkload, AgentSandbox])
@pytest.mark.parametrize("body", FAT_AGENTS.values(), ids=FAT_AGENTS)
def test_little_is_kept_of_a_fat_agent(model: type[KubeObject], body: dict[str, Any]) -> None:
    assert len(msgspec.json.encode(msgspec.convert(body, model))) < MOST_BYTES


def test_a_value_that_is_too_long_differs_from_another_and_equals_itself() -> None:
    def value_of(text: str) -> str | None:
        body = agent(env=[{"name": "MLFLOW_TRACKING_URI", "value": text}])
        return (
            msgspec.convert(body, AgentWorkload).template.spec.containers[0].variables["MLFLOW_TRACKING_URI"]
        )

    assert value_of(LARGE) == value_of(LARGE)
    assert value_of(LARGE) != value_of(LARGE + "y")
    assert value_of("https://mlflow.example.org") == "https://mlflow.example.org"


def test_the_users_own_variable_is_seen_behind_any_number_of_others() -> None:
    many = [{"name": f"A{number}", "value": "$(MLFLOW_WORKSPACE)"} for number in range(MANY)]
    repeated = [
        {"name": "MLFLOW_TRACKING_URI", "value": f"https://{number}.example.org"} for number in range(MANY)
    ]
    containers = msgspec.convert(agent(env=many + repeated), AgentWorkload).template.spec.containers
    assert containers[0].variables["MLFLOW_TRACKING_URI"] == f"https://{MANY - 1}.example.org"


def test_a_long_list_of_what_needs_no_proxy_is_read_whole() -> None:
    listed = ",".join(f"host-{number}.example.org" for number in range(200)) + ",.svc"
    containers = msgspec.convert(agent(env=[{"name": "NO_PROXY", "value": listed}]), AgentWorkload)
    assert containers.template.spec.containers[0].variables["NO_PROXY"] == listed


def test_an_agent_of_a_thousand_containers_is_reported_and_spoils_no_other() -> None:
    fat = agent()
    fat["spec"]["template"]["spec"]["containers"] = [{"name": f"c{number}"} for number in range(1000)]
    modest = agent(metadata={"name": "modest"})
    body = {"metadata": {"resourceVersion": "1"}, "items": [fat, modest]}
    page = decode_page(AgentWorkload, json.dumps(body).encode())
    assert [item.metadata.name for item in page.items] == ["modest"]
    assert [(it.metadata.name, it.problem[:24]) for it in page.unreadable] == [
        ("fat", "more than 100 containers")
    ]


OWNED = [
    {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"a{number}", "uid": "u"}
    for number in range(MANY)
]
FAT_GRANTS: dict[str, tuple[type[KubeObject], dict[str, Any]]] = {
    "subjects": (
        RoleBinding,
        {"subjects": [{"kind": "ServiceAccount", "name": f"a{number}"} for number in range(MANY)]},
    ),
    "a subject": (RoleBinding, {"subjects": [{"kind": "ServiceAccount", "name": LARGE}]}),
    "rules": (Role, {"rules": [{"verbs": [f"get{number}"]} for number in range(MANY)]}),
    "names": (
        Role,
        {"rules": [{"verbs": ["get"], "resourceNames": [f"a{number}" for number in range(MANY)]}]},
    ),
    "a name": (Role, {"rules": [{"verbs": ["get"], "resourceNames": [LARGE]}]}),
    "owners": (Role, {"metadata": {"name": "fat", "ownerReferences": OWNED}}),
    "an annotation": (
        Role,
        {"metadata": {"name": "fat", "annotations": {"mlflow.kagenti.io/experiment-id": LARGE}}},
    ),
}


@pytest.mark.parametrize(("model", "fields"), FAT_GRANTS.values(), ids=FAT_GRANTS)
def test_little_is_kept_of_a_fat_grant(model: type[KubeObject], fields: dict[str, Any]) -> None:
    body = {"metadata": {"name": "fat"}, "roleRef": {"kind": "Role", "name": "a"}, **fields}
    assert len(msgspec.json.encode(msgspec.convert(body, model))) < MOST_BYTES


def many(prefix: str) -> dict[str, str]:
    return {f"{prefix}{number}": "x" for number in range(MANY)}


@pytest.mark.parametrize(
    "fat",
    [
        {"data": {"config.yaml": LARGE}},
        {"data": many("KEY")},
        {"data": {f"KEY{number}": "x" * 4096 for number in range(256)}},
        {"metadata": {"annotations": {"a": LARGE}, "labels": many("label")}},
        {
            "metadata": {
                "managedFields": [
                    {"manager": "m", "operation": "Apply", "fieldsV1": {"f:data": many("f:KEY")}},
                ]
            }
        },
    ],
    ids=["one value", "many keys", "many values", "metadata", "managed fields"],
)
def test_of_a_namespaces_configuration_little_is_kept_however_large_it_is(fat: dict[str, Any]) -> None:
    metadata = {"name": "authbridge-runtime-config", "namespace": "team1", **fat.get("metadata", {})}
    found = msgspec.convert({**fat, "metadata": metadata}, SharedConfigMap)
    assert len(msgspec.json.encode(found)) < LARGEST_SHARED + MOST_BYTES


def test_what_was_cut_off_is_still_too_large_for_whoever_reads_it() -> None:
    data = {"a": "y" * LARGEST_SHARED, "config.yaml": LARGE}
    found = msgspec.convert({"metadata": {"name": "n"}, "data": data}, SharedConfigMap)
    assert found.data is not None
    assert len(found.data["config.yaml"]) == MAX_BYTES + 1
    ordinary = {"ISSUER": "https://keycloak.example.org", "config.yaml": "mode: lite"}
    assert msgspec.convert({"metadata": {"name": "n"}, "data": ordinary}, SharedConfigMap).data == ordinary
