"""What the operator says at the start when its ServiceAccount lacks what it cannot do without."""

import json
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_operator.sandbox import binaries
from tests.integration.conftest import Cluster
from tests.integration.reconcile.conftest import StartOperator
from tests.integration.reconcile.platform import RBAC, SYSTEM, Platform
from tests.integration.reconcile.scrape import free_port

CHART = Path(__file__).parents[3] / "charts" / "kagenti-operator"
ACCOUNT = "chart-operator"
PATHS = {
    "ServiceAccount": f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/",
    "ClusterRole": f"{RBAC}/clusterroles/",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings/",
    "Role": f"{RBAC}/namespaces/{SYSTEM}/roles/",
    "RoleBinding": f"{RBAC}/namespaces/{SYSTEM}/rolebindings/",
}


def render(home: Path) -> list[dict[str, Any]]:
    """What the chart grants where it is not told of OpenShift."""
    values = ("mlflow.enable=true", "otelBootstrap.enable=true", "platform=kubernetes")
    account = f"controllerManager.serviceAccountName={ACCOUNT}"
    sets = [argument for value in (*values, account) for argument in ("--set", value)]
    call = [binaries.find("helm"), "template", "x", CHART, "--namespace", SYSTEM, *sets]
    done = subprocess.run(call, env={"HOME": str(home)}, capture_output=True, text=True, check=True)
    return [m for m in yaml.safe_load_all(done.stdout) if m["kind"] in PATHS]


@pytest.fixture
async def roles(platform: Platform, tmp_path: Path) -> AsyncIterator[list[dict[str, Any]]]:
    """The chart's ServiceAccount with all that it is granted; taken away after the test."""
    rendered = render(tmp_path)
    for manifest in rendered:
        await platform.put(PATHS[manifest["kind"]] + manifest["metadata"]["name"], manifest)
    yield rendered
    for manifest in rendered:
        await platform.delete(PATHS[manifest["kind"]] + manifest["metadata"]["name"])


async def without(
    platform: Platform, roles: list[dict[str, Any]], kind: str, resource: str, verb: str
) -> None:
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
        await platform.put(PATHS[kind] + manifest["metadata"]["name"], changed)


FLAGS = ("--leader-elect", "--metrics-secure")


@pytest.mark.usefixtures("roles")
async def test_what_the_chart_grants_is_enough(
    cluster: Cluster, start_operator: StartOperator, platform: Platform
) -> None:
    await platform.managed_and_ready()
    kubeconfig = await cluster.service_account_kubeconfig(SYSTEM, ACCOUNT)
    address = f"--metrics-bind-address=127.0.0.1:{free_port()}"
    operator = start_operator(*FLAGS, address, kubeconfig=kubeconfig)
    operator.wait_for_log("OTel collector bootstrap complete")


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
    cluster: Cluster,
    start_operator: StartOperator,
    platform: Platform,
    roles: list[dict[str, Any]],
    *,
    kind: str,
    resource: str,
    verb: str,
    named: str,
) -> None:
    await without(platform, roles, kind, resource, verb)
    kubeconfig = await cluster.service_account_kubeconfig(SYSTEM, ACCOUNT)
    address = f"--metrics-bind-address=127.0.0.1:{free_port()}"
    operator = start_operator(*FLAGS, address, kubeconfig=kubeconfig)
    assert operator.process.wait(20) == 1
    operator.kill()
    said = operator.text()
    assert "of the permissions that the enabled features need" in said
    assert json.dumps(named)[1:-1] in said
    assert "rbac.enable=true" in said


async def test_what_is_switched_off_is_not_asked_for_and_not_waited_for(
    cluster: Cluster, start_operator: StartOperator, platform: Platform, team: str
) -> None:
    name = f"nobody-{uuid.uuid4().hex[:6]}"
    body = {"metadata": {"name": name}}
    await platform.request("POST", f"/api/v1/namespaces/{team}/serviceaccounts", body)
    kubeconfig = await cluster.service_account_kubeconfig(team, name)
    operator = start_operator(kubeconfig=kubeconfig, features=())
    operator.wait_for_log("Caches are complete, starting the controllers")


@pytest.mark.parametrize("flag", ["--health-probe-bind-address", "--metrics-bind-address"])
async def test_an_address_in_use_stops_it_with_the_address_and_the_cure(
    start_operator: StartOperator, flag: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        operator = start_operator(f"{flag}={address}", "--metrics-secure=false", features=())
        assert operator.process.wait(20) == 1
        operator.kill()
    said = operator.text()
    assert f"{address} cannot be listened on" in said
    assert "Choose another address, or 0 for none" in said


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
    operator.wait_for_log("Cannot ask the API server for my permissions, starting without")
    operator.wait_for_log("Starting")
