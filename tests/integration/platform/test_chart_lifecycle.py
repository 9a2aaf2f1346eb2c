"""From the first chart to today's and away again, while the operator is at work."""

import base64
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_devcluster.cluster.kubectl import apply, read_manifests
from kagenti_devcluster.testing.platform import (
    BINDING,
    INTEGRATION,
    MLFLOW_NAMESPACE,
    RBAC,
    SYSTEM,
    Platform,
    always,
    config_map_path,
    eventually,
    workload_path,
)
from kagenti_operator.kube.client import KubeClient
from tests.integration.platform.conftest import Helm
from tests.support.cluster import Cluster
from tests.support.operator_process import OperatorProcess

# As it was when the chart was first installed: `helm package` of its first commit.
FIRST_CHART = Path(__file__).with_name("kagenti-operator-0.1.0.tgz")
SERVICE_MONITOR_CRD = Path(__file__).with_name("service-monitor-crd.yaml")
CHART = Path(__file__).parents[3] / "charts" / "kagenti-operator"
ENABLED = (
    "--set=mlflow.enable=true",
    "--set=otelBootstrap.enable=true",
    "--set=controllerManager.replicas=2",
)
DEPLOYMENT = workload_path(SYSTEM, "kagenti-controller-manager")
MLFLOW = "/apis/mlflow.opendatahub.io/v1/mlflows/mlflow"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/b7c4ae34.kagenti.dev"
# What is looked through for anything that was left behind.
COLLECTIONS = (
    "/api/v1/configmaps",
    "/api/v1/pods",
    "/api/v1/secrets",
    "/api/v1/serviceaccounts",
    "/api/v1/services",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/replicasets",
    "/apis/batch/v1/jobs",
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/policy/v1/poddisruptionbudgets",
    f"{RBAC}/clusterrolebindings",
    f"{RBAC}/clusterroles",
    f"{RBAC}/rolebindings",
    f"{RBAC}/roles",
)
OURS = ("app.kubernetes.io/name=kagenti-operator", "app.kubernetes.io/managed-by=kagenti-operator")


@pytest.fixture
async def agents(api: Platform, namespace: str) -> AsyncIterator[str]:
    """A namespace with an agent, whose access to its experiment was granted before; and MLflow."""
    await api.cluster_role(INTEGRATION)
    await api.set_mlflow_endpoint(ready=True)
    agent = await api.workload(namespace, "trip-planner")
    name = "kagenti-mlflow-trip-planner"
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "trip-planner"}
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {"app.kubernetes.io/managed-by": "kagenti-operator"},
        "ownerReferences": [{**owner, "uid": agent["metadata"]["uid"]}],
    }
    rule = {
        "apiGroups": ["mlflow.kubeflow.org"],
        "resources": ["experiments"],
        "resourceNames": ["trip-planner"],
        "verbs": ["get", "update"],
    }
    body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata}
    await api.put(f"{RBAC}/namespaces/{namespace}/roles/{name}", {**body, "rules": [rule]})
    yield namespace
    for path in (
        workload_path(namespace, "trip-planner"),
        MLFLOW,
        f"/apis/discovery.k8s.io/v1/namespaces/{MLFLOW_NAMESPACE}/endpointslices/mlflow-1",
        f"{RBAC}/clusterroles/{INTEGRATION}",
    ):
        await api.delete(path)


async def ours(api: Platform) -> set[str]:
    """Kind, namespace and name of everything that carries the chart's or the operator's label."""
    found: set[str] = set()
    for collection in COLLECTIONS:
        for label in OURS:
            answer = await api.request("GET", collection, params={"labelSelector": label})
            plural = collection.rpartition("/")[2]
            metadata = [item["metadata"] for item in answer["items"]]
            found |= {f"{plural} {m.get('namespace', '')} {m['name']}" for m in metadata}
    if await api.get(LEASE):
        found.add("the lease")
    return found


async def exists(api: Platform, path: str) -> dict[str, Any]:
    found = await api.get(path)
    assert found is not None, path
    return found


async def test_upgrade_from_the_first_chart_and_uninstall(
    cluster: Cluster, helm: Helm, api: Platform, agents: str
) -> None:
    helm("install", FIRST_CHART, *ENABLED)
    installed = await exists(api, DEPLOYMENT)
    # The first of the two brings only values that the first chart knew.
    helm("upgrade", CHART, "--reuse-values")
    helm("upgrade", CHART, "--reset-then-reuse-values")
    upgraded = await exists(api, DEPLOYMENT)
    assert upgraded["metadata"]["uid"] == installed["metadata"]["uid"]
    assert upgraded["spec"]["replicas"] == 2

    kubeconfig = await cluster.service_account_kubeconfig(SYSTEM, "controller-manager")
    with OperatorProcess(kubeconfig, "--leader-elect") as operator:
        mlflow = await eventually(lambda: exists(api, MLFLOW))
        await operator.expect_log("OTel collector bootstrap complete")
        written = (
            f"{RBAC}/namespaces/{agents}/rolebindings/{BINDING}",
            f"{RBAC}/namespaces/{MLFLOW_NAMESPACE}/rolebindings/{BINDING}",
            config_map_path(SYSTEM, "otel-collector-config"),
            config_map_path(SYSTEM, "otel-ingress-ca"),
            LEASE,
        )
        for path in written:
            await eventually(lambda path=path: exists(api, path))

        # It is there to the end, as a pod is that has some seconds to leave.
        helm("uninstall")
        grant = f"roles {agents} kagenti-mlflow-trip-planner"

        async def nothing_else_is_left() -> None:
            assert await ours(api) == {grant}

        await eventually(nothing_else_is_left, seconds=60)
        await always(nothing_else_is_left, seconds=3)

    assert (await exists(api, MLFLOW))["metadata"]["uid"] == mlflow["metadata"]["uid"]
    await exists(api, workload_path(SYSTEM, "otel-collector"))
    # The grant goes with whom it serves.
    await api.delete(workload_path(agents, "trip-planner"))

    async def nothing_is_left() -> None:
        assert await ours(api) == set()

    await eventually(nothing_is_left, seconds=60)


async def test_the_readmes_token_for_prometheus_reads_metrics_and_nothing_else(
    cluster: Cluster, helm: Helm, api: Platform, tmp_path: Path
) -> None:
    section = (CHART / "README.md").read_text().partition("\n## Metrics for Prometheus\n")[2]
    recipe = section.partition("\n## ")[0].splitlines()
    code = "\n".join(line[4:] for line in recipe if line.startswith("    "))
    manifests, _, command = code.partition("helm upgrade")
    values = shlex.split(command.replace("\\\n", ""))
    await apply(cluster.admin_kubeconfig, read_manifests(SERVICE_MONITOR_CRD))
    helm("install", CHART, *values[values.index("--set") :])
    account, secret = yaml.safe_load_all(manifests)
    await apply(cluster.admin_kubeconfig, (account, secret))
    path = f"/api/v1/namespaces/{SYSTEM}/secrets/{secret['metadata']['name']}"

    async def token() -> str:
        data = (await exists(api, path)).get("data", {})
        assert "token" in data
        return base64.b64decode(data["token"]).decode()

    async def may(client: KubeClient, **asked: Any) -> bool:
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": asked}
        reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return (await Platform(client).request("POST", reviews, review))["status"]["allowed"]

    kubeconfig = tmp_path / "scraper.kubeconfig"
    cluster.control_plane.kubeconfig_for_token(await eventually(token), kubeconfig, SYSTEM)
    try:
        async with cluster.connect(kubeconfig) as scraper:
            assert await may(scraper, nonResourceAttributes={"path": "/metrics", "verb": "get"})
            asked = {"namespace": SYSTEM, "verb": "get", "resource": "secrets"}
            assert not await may(scraper, resourceAttributes=asked)
    finally:
        await api.delete(path)
        await api.delete(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{account['metadata']['name']}")


async def test_a_binding_follows_permissions_that_were_made_anew(
    cluster: Cluster, helm: Helm, api: Platform, agents: str
) -> None:
    """An owner that is replaced has another uid: the garbage collector takes what the old one owned."""
    helm("install", CHART, *ENABLED)
    binding = f"{RBAC}/namespaces/{agents}/rolebindings/{BINDING}"

    async def owner() -> str:
        references = (await exists(api, binding))["metadata"]["ownerReferences"]
        assert [r["name"] for r in references] == ["kagenti-controller-manager"]
        return references[0]["uid"]

    with OperatorProcess(cluster.admin_kubeconfig):
        before = await eventually(owner)
        path = f"{RBAC}/clusterroles/kagenti-controller-manager"
        role = await exists(api, path)
        await api.delete(path)
        again = {key: role[key] for key in ("apiVersion", "kind", "rules")}
        labels = role["metadata"]["labels"]
        # With Helm's marks, so that it is found when the chart is uninstalled.
        marks = role["metadata"]["annotations"]
        made = await api.put(
            path,
            {
                **again,
                "metadata": {"name": "kagenti-controller-manager", "labels": labels, "annotations": marks},
            },
        )
        assert made["metadata"]["uid"] != before

        async def follows() -> None:
            assert await owner() == made["metadata"]["uid"]

        await eventually(follows, seconds=60)
        await always(follows, seconds=2)
