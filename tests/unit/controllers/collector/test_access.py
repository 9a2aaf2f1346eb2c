import pytest

from kagenti_operator.controllers.collector.access import (
    Decision,
    Grant,
    Leave,
    Platform,
    Revoke,
    build_binding,
    decide,
    has_foreign_owner,
    is_granted,
)
from kagenti_operator.kube.objects.models import KubeObject, ObjectMeta, OwnerReference
from kagenti_operator.kube.objects.rbac import RbacLabels, RbacMeta, RoleBinding, RoleRef

READY = Platform(state="Managed", ready=True, cluster_role="integration")


def binding(*, ours: bool = True, role: str = "integration", kind: str = "ClusterRole") -> RoleBinding:
    labels = RbacLabels(managed_by="kagenti-operator" if ours else None)
    return RoleBinding(
        metadata=RbacMeta(name="otel-collector-mlflow", namespace="team1", labels=labels),
        role_ref=RoleRef(kind=kind, name=role),
    )


def platform(
    *, state: str | None = "Managed", ready: bool = True, role: str | None = "integration"
) -> Platform:
    return Platform(state=state, ready=ready, cluster_role=role)


@pytest.mark.parametrize(
    ("facts", "wanted", "current", "expected"),
    [
        pytest.param(READY, True, None, Grant("integration"), id="an agent's namespace is granted"),
        pytest.param(
            READY, True, binding(ours=False), Grant("integration"), id="a foreign binding is taken over"
        ),
        pytest.param(
            READY, True, binding(role="edit"), Grant("integration"), id="another ClusterRole is followed"
        ),
        pytest.param(READY, False, binding(), Revoke(), id="the last agent left"),
        pytest.param(READY, False, binding(ours=False), Leave(), id="a foreign binding without agents stays"),
        pytest.param(READY, False, None, Leave(), id="nothing to do"),
        pytest.param(platform(ready=False), True, None, Leave(), id="no grant before MLflow is ready"),
        pytest.param(platform(ready=False), True, binding(), Leave(), id="a flapping MLflow costs no grant"),
        pytest.param(
            platform(ready=False), False, binding(), Revoke(), id="leaving does not wait for MLflow"
        ),
        pytest.param(platform(role=None), True, None, Leave(), id="no ClusterRole, no binding"),
        pytest.param(
            platform(role=None), True, binding(), Leave(), id="a ClusterRole being replaced costs no grant"
        ),
        pytest.param(
            platform(state="Removed"), True, binding(), Revoke(), id="Removed takes the grants away"
        ),
        pytest.param(
            platform(state="Removed"), True, binding(ours=False), Leave(), id="but not foreign ones"
        ),
        pytest.param(
            platform(state=None), True, binding(), Revoke(), id="no DataScienceCluster is like Removed"
        ),
        pytest.param(platform(state="Unmanaged"), True, binding(), Leave(), id="Unmanaged keeps what works"),
        pytest.param(platform(state="Unmanaged"), True, None, Leave(), id="Unmanaged grants nothing new"),
        pytest.param(platform(state="Unmanaged"), False, binding(), Revoke(), id="Unmanaged still cleans up"),
    ],
)
def test_decision(facts: Platform, wanted: bool, current: RoleBinding | None, expected: Decision) -> None:
    assert decide(facts, wanted=wanted, current=current) == expected


@pytest.mark.parametrize(
    ("current", "role", "expected"),
    [
        (binding(), "integration", True),
        (binding(ours=False), "integration", True),
        (binding(role="edit"), "integration", False),
        (binding(kind="Role"), "integration", False),
        (binding(), None, False),
        (None, "integration", False),
        (None, None, False),
    ],
)
def test_only_the_clusterrole_itself_counts_as_granted(
    current: RoleBinding | None, role: str | None, expected: bool
) -> None:
    assert is_granted(current, role) is expected


def test_binding_names_the_collector_of_the_platform() -> None:
    body = build_binding(
        "team1", "mlflow-operator-mlflow-edit", collector_namespace="kagenti-system", owner=None
    )
    assert body == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": "otel-collector-mlflow",
            "namespace": "team1",
            "labels": {"app.kubernetes.io/managed-by": "kagenti-operator"},
        },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "mlflow-operator-mlflow-edit",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "otel-collector", "namespace": "kagenti-system"}],
    }


def owner(name: str) -> OwnerReference:
    return OwnerReference(
        api_version="rbac.authorization.k8s.io/v1", kind="ClusterRole", name=name, uid=f"uid of {name}"
    )


def test_binding_goes_with_the_operators_own_permissions() -> None:
    role = KubeObject(metadata=ObjectMeta(name="kagenti-controller-manager", uid="1-2"))
    body = build_binding("team1", "edit", collector_namespace="kagenti-system", owner=role)
    assert body["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "name": "kagenti-controller-manager",
            "uid": "1-2",
        }
    ]


@pytest.mark.parametrize(
    ("owners", "foreign"),
    [
        ((), False),
        ((owner("kagenti-controller-manager"),), False),
        ((owner("somebody-else"),), True),
        ((owner("kagenti-controller-manager"), owner("somebody-else")), True),
    ],
)
def test_a_binding_that_goes_with_somebody_elses_object_is_known(
    owners: tuple[OwnerReference, ...], foreign: bool
) -> None:
    metadata = RbacMeta(name="otel-collector-mlflow", namespace="team1", owner_references=owners)
    binding = RoleBinding(metadata=metadata, role_ref=RoleRef(kind="ClusterRole", name="integration"))
    assert has_foreign_owner(binding) is foreign
