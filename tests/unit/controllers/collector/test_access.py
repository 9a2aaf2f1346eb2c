from dataclasses import replace

import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.collector.access import (
    Decision,
    Grant,
    Leave,
    Platform,
    Revoke,
    decide,
    is_wanted,
)
from kagenti_operator.controllers.collector.access_facts import (
    bound_account,
    choose_account,
    has_foreign_owner,
    is_granted,
)
from kagenti_operator.kube.objects.models import OwnerReference
from kagenti_operator.kube.objects.rbac import RbacLabels, RbacMeta, RoleBinding, RoleRef, Subject

READY = Platform(state="Managed", ready=True, cluster_role="integration")


COLLECTOR = Subject(kind="ServiceAccount", name="telemetry", namespace="kagenti-system")


def binding(
    *subjects: Subject, ours: bool = True, role: str = "integration", kind: str = "ClusterRole"
) -> RoleBinding:
    labels = RbacLabels(managed_by="kagenti-operator" if ours else None)
    return RoleBinding(
        metadata=RbacMeta(name="otel-collector-mlflow", namespace="team1", labels=labels),
        role_ref=RoleRef(kind=kind, name=role),
        subjects=subjects or (COLLECTOR,),
    )


def platform(
    *, state: str | None = "Managed", ready: bool = True, role: str | None = "integration"
) -> Platform:
    return Platform(state=state, ready=ready, cluster_role=role)


@pytest.mark.parametrize(
    ("facts", "wanted", "ours", "expected"),
    [
        pytest.param(READY, True, False, Grant("integration"), id="an agent's namespace is granted"),
        pytest.param(READY, True, True, Grant("integration"), id="and what is granted is kept up to date"),
        pytest.param(READY, False, True, Revoke(), id="the last agent left"),
        pytest.param(READY, False, False, Leave(), id="a foreign binding without agents stays"),
        pytest.param(platform(ready=False), True, False, Leave(), id="no grant before MLflow is ready"),
        pytest.param(platform(ready=False), True, True, Leave(), id="a flapping MLflow costs no grant"),
        pytest.param(platform(ready=False), False, True, Revoke(), id="leaving does not wait for MLflow"),
        pytest.param(platform(role=None), True, False, Leave(), id="no ClusterRole, no binding"),
        pytest.param(
            platform(role=None), True, True, Leave(), id="a ClusterRole being replaced costs no grant"
        ),
        pytest.param(
            READY, None, True, Leave(), id="what may be MLflow's namespace stays until that is known"
        ),
        pytest.param(platform(state="Removed"), None, True, Revoke(), id="Removed does not wait for that"),
        pytest.param(platform(state="Removed"), True, True, Revoke(), id="Removed takes the grants away"),
        pytest.param(platform(state="Removed"), True, False, Leave(), id="but not foreign ones"),
        pytest.param(
            platform(state=None), True, True, Leave(), id="a missing DataScienceCluster takes nothing away"
        ),
        pytest.param(platform(state=None), True, False, Leave(), id="and wants nothing made"),
        pytest.param(platform(state=None), False, True, Revoke(), id="the last agent left all the same"),
        pytest.param(platform(state="Unmanaged"), True, True, Leave(), id="Unmanaged keeps what works"),
        pytest.param(platform(state="Unmanaged"), True, False, Leave(), id="Unmanaged grants nothing new"),
        pytest.param(platform(state="Unmanaged"), False, True, Revoke(), id="Unmanaged still cleans up"),
    ],
)
def test_decision(facts: Platform, wanted: bool | None, ours: bool, expected: Decision) -> None:
    assert decide(facts, wanted=wanted, ours=ours) == expected


UNLOCATED = Platform(state="Managed", ready=False, cluster_role="integration", mlflow_located=False)


@pytest.mark.parametrize(
    ("facts", "has_agents", "left", "expected"),
    [
        pytest.param(READY, True, False, True, id="an agent is there"),
        pytest.param(READY, False, False, False, id="nobody is there"),
        pytest.param(UNLOCATED, True, False, True, id="an agent is there, wherever MLflow is"),
        pytest.param(UNLOCATED, False, False, None, id="it may be the namespace of the MLflow that went"),
        pytest.param(UNLOCATED, False, True, False, id="its last agent left"),
    ],
)
def test_a_namespace_without_agents_may_be_that_of_an_mlflow_that_is_away(
    facts: Platform, has_agents: bool, left: bool, expected: bool | None
) -> None:
    assert is_wanted(facts, "opendatahub", has_agents=has_agents, left=left) is expected
    assert is_wanted(facts, "redhat-ods-applications", has_agents=False, left=left) is True
    assert is_wanted(replace(facts, workspace="team1"), "team1", has_agents=False, left=left) is True


def test_access_is_not_taken_away_while_a_kind_of_agents_cannot_be_listed() -> None:
    assert is_wanted(READY, "team1", has_agents=False, left=True, complete=False) is None
    assert decide(READY, wanted=None, ours=True) == Leave()
    assert is_wanted(READY, "team1", has_agents=True, left=False, complete=False) is True


def test_a_workspace_to_which_the_collector_still_sends_keeps_its_binding() -> None:
    """Another is configured, but it may be mistyped: until it can be used spans go on to the last one."""
    changed = replace(READY, workspace="team2", in_use=frozenset({"team1"}))
    assert is_wanted(changed, "team1", has_agents=False, left=True) is None
    assert (
        is_wanted(replace(changed, in_use=frozenset({"team2"})), "team1", has_agents=False, left=True)
        is False
    )


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
    assert is_granted(current, role, ("kagenti-system", "telemetry")) is expected


@pytest.mark.parametrize(
    "account",
    [("kagenti-system", "otel-collector"), ("team1", "telemetry"), ("kagenti-system", "default")],
)
def test_a_grant_to_another_account_is_none_to_the_collector(account: tuple[str, str]) -> None:
    assert not is_granted(binding(), "integration", account)


def test_the_account_to_bind_is_the_one_that_the_deployment_runs_as() -> None:
    assert choose_account("telemetry", None) == "telemetry"
    assert choose_account("telemetry", "otel-collector") == "telemetry"


def test_without_a_deployment_who_is_bound_stays_else_it_is_the_usual_account() -> None:
    assert choose_account(None, "telemetry") == "telemetry"
    assert choose_account(None, None) == "otel-collector"


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (None, None),
        (binding(), "telemetry"),
        (binding(COLLECTOR, COLLECTOR), None),
        (binding(Subject(kind="ServiceAccount", name="telemetry", namespace="team1")), None),
        (binding(Subject(kind="User", name="somebody")), None),
    ],
)
def test_only_one_account_of_the_platforms_namespace_counts_as_bound(
    current: RoleBinding | None, expected: str | None
) -> None:
    assert bound_account(current, "kagenti-system") == expected


def owner(name: str) -> OwnerReference:
    return OwnerReference(
        api_version="rbac.authorization.k8s.io/v1", kind="ClusterRole", name=name, uid=f"uid of {name}"
    )


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
    assert has_foreign_owner(KAGENTI, binding) is foreign
