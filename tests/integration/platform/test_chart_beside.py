"""The chart beside a release that has the names of the platform's own operator."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kagenti_devcluster.testing.platform import (
    INTEGRATION,
    RBAC,
    SYSTEM,
    Object,
    Platform,
    eventually,
    workload_path,
)
from kagenti_devcluster.toolchain import binaries
from tests.support.cluster import Cluster
from tests.support.expectations import expect_event
from tests.support.operator_process import OperatorProcess

CHART = Path(__file__).parents[3] / "charts" / "kagenti-operator"
OTHERS = Path(__file__).with_name("platforms-own-operator")
OURS = "kagenti-traces-operator"
ENABLED = ("--set=mlflow.enable=true", "--set=otelBootstrap.enable=true")

type Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def helm(cluster: Cluster, tmp_path: Path) -> Helm:
    """`helm("install", "traces", chart, ...)`; the caller judges the exit code."""
    environment = {"HOME": str(tmp_path), "KUBECONFIG": str(cluster.admin_kubeconfig)}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        call = [binaries.find("helm"), *arguments]
        return subprocess.run(call, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def others(helm: Helm) -> Iterator[None]:
    """The platform's own operator, as a release of its own."""
    assert helm("install", "platform", OTHERS, "--namespace", SYSTEM).returncode == 0
    yield
    for release in (("traces", SYSTEM), ("traces", "default"), ("platform", SYSTEM)):
        helm("uninstall", release[0], "--namespace", release[1], "--ignore-not-found")


async def find_others(api: Platform) -> list[Object]:
    """What the other release consists of, but for what changes by itself."""
    paths = (
        workload_path(SYSTEM, "kagenti-controller-manager"),
        f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/controller-manager",
        f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/b7c4ae34.kagenti.dev",
        f"{RBAC}/namespaces/{SYSTEM}/roles/kagenti-controller-manager",
        f"{RBAC}/namespaces/{SYSTEM}/rolebindings/kagenti-controller-manager",
        f"{RBAC}/clusterroles/kagenti-controller-manager",
        f"{RBAC}/clusterrolebindings/kagenti-controller-manager",
        f"{RBAC}/clusterroles/kagenti-metrics-reader",
    )
    found = [await api.request("GET", path) for path in paths]
    return [
        {"uid": it["metadata"]["uid"], **{k: it.get(k) for k in ("spec", "rules", "subjects")}}
        for it in found
    ]


@pytest.mark.usefixtures("others")
async def test_helm_refuses_a_second_release_of_the_same_names(helm: Helm) -> None:
    refused = helm("install", "traces", CHART, "--namespace", SYSTEM, *ENABLED)
    assert refused.returncode != 0
    assert "cannot be imported into the current release" in refused.stderr
    helm("uninstall", "traces", "--namespace", SYSTEM, "--ignore-not-found")


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("namespace", [SYSTEM, "default"])
async def test_both_releases_live_side_by_side_and_ours_goes_alone(
    helm: Helm, api: Platform, namespace: str
) -> None:
    before = await find_others(api)
    beside = ("--values", CHART / "values-beside.yaml", "--namespace", namespace)
    installed = helm("install", "traces", CHART, *beside, *ENABLED)
    assert installed.returncode == 0, installed.stderr
    deployment = await api.request("GET", workload_path(namespace, OURS))
    assert await api.get(f"{RBAC}/clusterroles/{OURS}") is not None
    assert await find_others(api) == before
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert f"--leader-election-id={OURS}" in container["args"]
    assert helm("uninstall", "traces", "--namespace", namespace).returncode == 0
    assert await api.get(workload_path(namespace, OURS)) is None
    assert await find_others(api) == before


@pytest.mark.usefixtures("others", "stand_ins")
async def test_ours_works_as_it_is_installed_and_steps_back_while_the_other_is_switched_on(
    helm: Helm, api: Platform, cluster: Cluster, namespace: str
) -> None:
    beside = ("--values", CHART / "values-beside.yaml", "--namespace", SYSTEM)
    assert helm("install", "traces", CHART, *beside, *ENABLED).returncode == 0
    deployment = await api.request("GET", workload_path(SYSTEM, OURS))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    # Off the cluster, under the account and with the arguments that the chart gives it.
    flags = [
        it
        for it in container["args"]
        if it.startswith(("--operator-name", "--leader-election-id", "--platform"))
    ]
    kubeconfig = await cluster.service_account_kubeconfig(SYSTEM, OURS)
    await api.cluster_role(INTEGRATION)
    await api.workload(namespace, "weather")
    with OperatorProcess(kubeconfig, "--leader-elect", *flags) as running:
        await running.expect_log("OTel collector bootstrap complete")
        lease = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
        assert (await api.request("GET", f"{lease}/{OURS}"))["spec"]["holderIdentity"]
        others = await api.request("GET", f"{lease}/b7c4ae34.kagenti.dev")
        assert others["spec"]["holderIdentity"] == "the-platforms-own"
        theirs = workload_path(SYSTEM, "kagenti-controller-manager")
        on = ["--leader-elect", "--enable-otel-bootstrap=true"]
        manager = {
            "name": "manager",
            "image": "ghcr.io/example/operator:1",
            "command": ["/manager"],
            "args": on,
        }
        await api.patch(theirs, {"spec": {"template": {"spec": {"containers": [manager]}}}})
        await expect_event(api, SYSTEM, OURS, "CollectorWrittenByPlatform", "--enable-otel-bootstrap")
        await api.delete(theirs)
        await expect_event(api, SYSTEM, OURS, "CollectorWrittenByPlatformResolved")

    async def owned_by_ours() -> None:
        config = await api.request("GET", f"/api/v1/namespaces/{SYSTEM}/configmaps/otel-collector-config")
        assert [owner["name"] for owner in config["metadata"]["ownerReferences"]] == [OURS]

    await eventually(owned_by_ours)
