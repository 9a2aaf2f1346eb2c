"""Objects of which there are as many as agents, kept as bytes."""

import sys
from typing import Any, cast

import msgspec
import pytest

from kagenti_operator.contract import PLATFORMS
from kagenti_operator.kube.objects.agents import AgentSandbox, AgentWorkload
from kagenti_operator.kube.objects.models import KubeObject, wire_names
from kagenti_operator.kube.objects.naming import model_for
from kagenti_operator.kube.objects.packing import Packing
from kagenti_operator.kube.objects.rbac import Role, RoleBinding

METADATA = {
    "name": "weather",
    "namespace": "team1",
    "uid": "6f1c5f0e-0000-4000-8000-000000000001",
    "resourceVersion": "5",
    "generation": 3,
    "annotations": {"mlflow.kagenti.io/inject": "enabled", "mlflow.kagenti.io/experiment-id": "7"},
    "labels": {"app.kubernetes.io/managed-by": "kagenti-operator"},
    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "u"}],
}
TEMPLATE = {
    "metadata": {"annotations": {"mlflow.kagenti.io/experiment-id": "7"}},
    "spec": {
        "serviceAccountName": "weather",
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": "agent",
                "env": [{"name": "MLFLOW_EXPERIMENT_ID", "value": "7"}, {"name": "MLFLOW_WORKSPACE"}],
                "volumeMounts": [
                    {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
                ],
            },
            {"name": "proxy"},
        ],
    },
}
STATUS = {
    "observedGeneration": 3,
    "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}],
}
RULE = {
    "apiGroups": ["mlflow.kubeflow.org"],
    "resources": ["experiments"],
    "resourceNames": ["weather"],
    "verbs": ["get"],
}
STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
OBJECTS: list[tuple[type[KubeObject], dict[str, Any]]] = [
    (
        AgentWorkload,
        {"spec": {"replicas": 2, "updateStrategy": STRATEGY, "template": TEMPLATE}, "status": STATUS},
    ),
    (AgentSandbox, {"spec": {"podTemplate": TEMPLATE}}),
    (Role, {"rules": [RULE]}),
    (
        RoleBinding,
        {
            "roleRef": {"kind": "Role", "name": "weather", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "ServiceAccount", "name": "weather", "namespace": "team1"}],
        },
    ),
]
ALL_MODELS = [
    (model_for(model, names.domain), {"metadata": METADATA, **content})
    for names in PLATFORMS.values()
    for model, content in OBJECTS
]


def to_plain(value: object) -> object:
    """Everything that a struct holds, by its names on the wire."""
    if isinstance(value, msgspec.Struct):
        return {wire: to_plain(getattr(value, name)) for wire, name in wire_names(type(value)).items()}
    return tuple(map(to_plain, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else value


@pytest.mark.parametrize(("model", "content"), ALL_MODELS)
def test_what_was_packed_comes_back_whole(model: type[KubeObject], content: dict[str, Any]) -> None:
    packing, obj = Packing(model), msgspec.convert(content, model)
    unpacked = packing.unpack(packing.pack(obj))
    assert isinstance(unpacked, model)
    assert to_plain(unpacked) == msgspec.to_builtins(obj)
    # Also what was unpacked before, as by a cache that is filled from another.
    assert packing.pack(unpacked) == packing.pack(obj)


def test_an_agent_with_its_grants_is_packed_into_a_kibibyte() -> None:
    sizes = {
        model.__name__: sys.getsizeof(Packing(model).pack(msgspec.convert(content, model)))
        for model, content in ALL_MODELS[: len(OBJECTS)]
    }
    assert sizes["AgentWorkload"] + sizes["Role"] + sizes["RoleBinding"] <= 1024
