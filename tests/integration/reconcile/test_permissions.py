"""What the operator says when its ServiceAccount lacks what it cannot do without, at the start and later."""

import json
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_devcluster.testing.platform import EDIT, INTEGRATION, RBAC, SYSTEM, Platform, eventually
from kagenti_devcluster.testing.ports import free_port
from kagenti_operator.kube.client import APPLY_PATCH
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.resources import ROLES
from tests.support.agents import MLFLOW_ONLY
from tests.support.chart_permissions import Manifest, grant, granted_account, object_path
from tests.support.cluster import Cluster
from tests.support.expectations import expect_event
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

ACCOUNT = "chart-operator"


@pytest.fixture
async def roles(platform: Platform) -> AsyncIterator[list[Manifest]]:
    """An account with all that the chart grants for Kubernetes without OpenShift; gone after the test."""
    async with granted_account(platform, ACCOUNT, openshift=False) as manifests:
        yield manifests


@pytest.fixture
async def kubeconfig(cluster: Cluster, roles: list[Manifest]) -> Path:
    """The identity of that account."""
    del roles
    return await cluster.service_account_kubeconfig(SYSTEM, ACCOUNT)


async def without(platform: Platform, roles: list[Manifest], kind: str, resource: str, verb: str) -> None:
    """Take a verb on a resource away."""
    for manifest in roles:
        if manifest["kind"] != kind:
            continue
        rules = [
            {**rule, "verbs": [v for v in rule["verbs"] if v != verb or resource not in rule["resources"]]}
            for rule in manifest["rules"]
            if "resources" in rule
        ]
        changed = {**manifest, "rules": [rule for rule in rules if rule["verbs"]]}
        await platform.put(object_path(manifest), changed)


FLAGS = ("--leader-elect", "--metrics-secure")


async def test_what_the_chart_grants_is_enough(
    kubeconfig: Path, start_operator: StartOperator, platform: Platform
) -> None:
    await platform.managed_and_ready()
    address = f"--metrics-bind-address=127.0.0.1:{free_port()}"
    operator = start_operator(*FLAGS, address, kubeconfig=kubeconfig)
    await operator.expect_log("OTel collector bootstrap complete")


@pytest.mark.parametrize(
    ("kind", "resource", "verb", "named"),
    [
        ("ClusterRole", "statefulsets", "watch", "watch statefulsets.apps cluster-wide"),
        ("ClusterRole", "rolebindings", "patch", "patch rolebindings.rbac.authorization.k8s.io cluster-wide"),
        ("ClusterRole", "tokenreviews", "create", "create tokenreviews.authentication.k8s.io cluster-wide"),
        (
            "Role",
            "configmaps",
            "create",
            f'create configmaps "otel-collector-config" in namespace {SYSTEM}',
        ),
        (
            "Role",
            "leases",
            "update",
            f'update leases.coordination.k8s.io "b7c4ae34.kagenti.dev" in namespace {SYSTEM}',
        ),
    ],
)
async def test_a_missing_permission_stops_it_with_its_name_and_the_cure(
    kubeconfig: Path,
    start_operator: StartOperator,
    platform: Platform,
    roles: list[Manifest],
    *,
    kind: str,
    resource: str,
    verb: str,
    named: str,
) -> None:
    await without(platform, roles, kind, resource, verb)
    address = f"--metrics-bind-address=127.0.0.1:{free_port()}"
    operator = start_operator(*FLAGS, address, kubeconfig=kubeconfig)
    said = await operator.expect_failed_start()
    assert "of the permissions that the enabled features need" in said
    assert json.dumps(named)[1:-1] in said
    assert "rbac.enable=true" in said


RECONCILING_FAILED = "Reconciling failed, retrying"
NOT_HELD = "is attempting to grant RBAC permissions not currently held"


async def test_without_delete_no_owner_is_set_on_what_is_there_already(
    kubeconfig: Path, start_operator: StartOperator, platform: Platform, roles: list[Manifest]
) -> None:
    await platform.workload(SYSTEM, "kagenti-controller-manager", agent=False)
    await platform.config_map(SYSTEM, "otel-collector-config", {"base.yaml": "receivers: {}"})
    await without(platform, roles, "Role", "configmaps", "delete")
    operator = start_operator(features=("--enable-otel-bootstrap",), kubeconfig=kubeconfig)

    def refused(line: dict[str, Any]) -> bool:
        return "cannot set an ownerRef on a resource you can't delete" in line["error"]

    await operator.expect_log(RECONCILING_FAILED, matching=refused)
    # With the chart's rule the same is written.
    await grant(platform, roles, ACCOUNT)
    await operator.expect_log("OTel collector bootstrap complete")


async def expect_refused_grant(operator: OperatorProcess, kind: str) -> None:
    def matches(line: dict[str, Any]) -> bool:
        return NOT_HELD in line["error"] and kind in line["error"]

    await operator.expect_log(RECONCILING_FAILED, matching=matches)


async def test_without_bind_the_collector_is_not_granted_what_the_operator_does_not_hold(
    kubeconfig: Path, start_operator: StartOperator, platform: Platform, roles: list[Manifest], team: str
) -> None:
    await without(platform, roles, "ClusterRole", "clusterroles", "bind")
    await platform.managed_and_ready()
    await platform.delete(f"{RBAC}/clusterroles/{INTEGRATION}")
    await platform.cluster_role(EDIT)
    await platform.workload(team, "weather")
    operator = start_operator(features=MLFLOW_ONLY, kubeconfig=kubeconfig)
    await expect_refused_grant(operator, "rolebindings")
    assert await platform.binding(team) is None


@pytest.mark.parametrize("verb", ["get", "update"])
async def test_an_agents_role_needs_the_experiments_verbs_whatever_mlflows_role_holds(
    kubeconfig: Path,
    cluster: Cluster,
    platform: Platform,
    roles: list[Manifest],
    team: str,
    *,
    verb: str,
) -> None:
    """MLflow's role is somebody else's, and lacks the verb here."""
    lacking = [v for v in ("get", "create", "update") if v != verb]
    experiments = {"apiGroups": ["mlflow.kubeflow.org"], "resources": ["experiments"]}
    await platform.cluster_role(INTEGRATION, [{**experiments, "verbs": lacking}])
    await without(platform, roles, "ClusterRole", "experiments", verb)
    name = "kagenti-mlflow-weather"
    rule = {**experiments, "resourceNames": ["weather"], "verbs": ["get", "update"]}
    role = {"apiVersion": ROLES.api_version, "kind": "Role", "metadata": {"name": name}, "rules": [rule]}
    async with cluster.connect(kubeconfig) as operator:

        async def try_to_grant() -> str:
            try:
                await operator.raw(
                    "PATCH",
                    ROLES.path(team, name),
                    params={"dryRun": "All", "fieldManager": "tests"},
                    body=json.dumps(role).encode(),
                    content_type=APPLY_PATCH,
                )
            except ApiError as error:
                return error.message
            return ""

        async def refused() -> None:
            assert "is attempting to grant RBAC permissions not currently held" in await try_to_grant()

        async def granted() -> None:
            assert not await try_to_grant()

        await eventually(refused)
        # With the chart's rule alone the same is granted.
        await grant(platform, roles, ACCOUNT)
        await eventually(granted)


async def test_without_the_binding_to_mlflows_role_no_experiment_is_made(
    kubeconfig: Path,
    start_with_mlflow: StartOperator,
    platform: Platform,
    mlflow: MLflow,
    roles: list[Manifest],
    team: str,
) -> None:
    (binding,) = [
        m for m in roles if m["kind"] == "ClusterRoleBinding" and m["roleRef"]["name"] == INTEGRATION
    ]
    await platform.delete(object_path(binding))
    await platform.managed_and_ready(mlflow.url)
    await platform.workload(team, "weather")
    start_with_mlflow(features=MLFLOW_ONLY, kubeconfig=kubeconfig)
    event = await expect_event(platform, team, "weather", "ExperimentNotAvailable", "403")
    assert event["type"] == "Warning"
    assert await mlflow.experiment(team, "weather") is None


async def test_what_is_switched_off_is_not_asked_for_and_not_waited_for(
    cluster: Cluster, start_operator: StartOperator, platform: Platform, team: str
) -> None:
    name = f"nobody-{uuid.uuid4().hex[:6]}"
    body = {"metadata": {"name": name}}
    await platform.request("POST", f"/api/v1/namespaces/{team}/serviceaccounts", body)
    kubeconfig = await cluster.service_account_kubeconfig(team, name)
    operator = start_operator(kubeconfig=kubeconfig, features=())
    await operator.expect_log("Caches are complete, starting the controllers")


@pytest.mark.parametrize("flag", ["--health-probe-bind-address", "--metrics-bind-address"])
async def test_an_address_in_use_stops_it_with_the_address_and_the_cure(
    start_operator: StartOperator, flag: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        operator = start_operator(f"{flag}={address}", "--metrics-secure=false", features=())
        said = await operator.expect_failed_start()
    assert f"{address} cannot be listened on" in said
    assert "Choose another address, or 0 for none" in said


async def test_a_host_that_cannot_be_one_stops_it_too(start_operator: StartOperator) -> None:
    operator = start_operator("--health-probe-bind-address=a..b:8081", features=())
    assert "a..b:8081 cannot be listened on for the probes" in await operator.expect_failed_start()


async def test_an_api_server_that_is_away_keeps_nobody_from_starting(
    start_operator: StartOperator, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    server = f"https://127.0.0.1:{free_port()}"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "away",
                "contexts": [{"name": "away", "context": {"cluster": "away", "user": "me"}}],
                "clusters": [{"name": "away", "cluster": {"server": server}}],
                "users": [{"name": "me", "user": {"token": "t"}}],
            }
        )
    )
    operator = start_operator("--leader-elect", kubeconfig=kubeconfig)
    await operator.expect_log("Cannot ask the API server for my permissions, starting without")
    await operator.expect_log("Starting")
