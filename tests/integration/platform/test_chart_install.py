"""The chart on a real API server: variants are accepted, permissions enforced, nothing is left over."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_devcluster.cluster.kubectl import apply, read_manifests, run_kubectl
from kagenti_devcluster.testing.platform import RBAC, SYSTEM, Platform, build_crd
from kagenti_devcluster.toolchain import binaries
from kagenti_operator.contract import ROSSOCTL
from kagenti_operator.kube.errors import ApiError
from tests.support.cluster import Cluster

PROJECT = Path(__file__).parents[3]
CHART = PROJECT / "charts" / "kagenti-operator"
# What helm renders for each variant, as a unit test holds it to be: with the options of each, such as the
# APIs that the cluster serves.
RENDERED = sorted((PROJECT / "tests/unit/chart/cases").glob("*.golden.yaml"))
SERVICE_MONITOR_CRD = Path(__file__).with_name("service-monitor-crd.yaml")
CERT_MANAGER_CRDS = [
    build_crd("cert-manager.io", "v1", kind, f"{kind.lower()}s", scope="Namespaced")
    for kind in ("Certificate", "Issuer")
]
ENABLED = ("mlflow.enable=true", "mlflow.workspace=team1", "otelBootstrap.enable=true")
WHO = f"system:serviceaccount:{SYSTEM}:controller-manager"

type Helm = Callable[..., str]


@pytest.fixture(scope="module")
def helm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """`helm("install", "--set", ...)` of this chart; fails the test when helm does."""
    environment = {"HOME": str(tmp_path_factory.mktemp("helm")), "KUBECONFIG": str(cluster.admin_kubeconfig)}

    def run(command: str, *arguments: str | Path) -> str:
        chart = [] if command == "uninstall" else [CHART]
        call = [binaries.find("helm"), command, "kagenti-operator", *chart, "--namespace", SYSTEM, *arguments]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def installed(helm: Helm) -> Iterator[str]:
    """The chart with everything enabled; what helm said."""
    yield helm("install", *(argument for value in ENABLED for argument in ("--set", value)))
    helm("uninstall", "--ignore-not-found")


@pytest.mark.parametrize("rendered", RENDERED, ids=lambda path: path.name.removesuffix(".golden.yaml"))
async def test_every_variant_is_accepted(rendered: Path, cluster: Cluster) -> None:
    await apply(cluster.admin_kubeconfig, [*read_manifests(SERVICE_MONITOR_CRD), *CERT_MANAGER_CRDS])
    manifests = read_manifests(rendered)
    # Nor has a dry run made the namespaces of the platform and of Keycloak, where these are not there.
    for name in {m["metadata"].get("namespace", "") for m in manifests} & {ROSSOCTL.namespace, "identity"}:
        await apply(
            cluster.admin_kubeconfig, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}]
        )
    for pod in (manifest for manifest in manifests if manifest["kind"] == "Pod"):
        # A dry run has not made its own, without which a pod is refused.
        pod["spec"]["serviceAccountName"] = "default"
    create = ("create", "--dry-run=server", "--filename=-")
    await run_kubectl(cluster.admin_kubeconfig, *create, manifests=manifests)


async def test_openshift_is_found_by_itself(helm: Helm) -> None:
    said = helm("install", "--dry-run=server", "--set", "otelBootstrap.enable=true,mlflow.enable=true")
    assert "namespace: openshift-config-managed" in said
    assert "mlflow.workspace is empty" in said


async def test_the_pod_is_admitted_where_the_restricted_standard_is_enforced(
    helm: Helm, api: Platform, namespace: str
) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})
    (deployment,) = [m for m in yaml.safe_load_all(helm("template")) if m["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    metadata = {"name": "operator", "namespace": namespace, "labels": template["metadata"]["labels"]}
    spec: dict[str, Any] = {**template["spec"], "serviceAccountName": "default"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await api.request("POST", pods, pod, params={"dryRun": "All"})
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(ApiError, match="violates PodSecurity"):
        await api.request("POST", pods, pod, params={"dryRun": "All"})


async def may(api: Platform, namespace: str, verb: str, resource: str, name: str = "") -> bool:
    """What the authorizer says of the operator's ServiceAccount; `resource` is `group/plural`."""
    group, _, plural = resource.rpartition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": WHO, "groups": ["system:serviceaccounts"], "resourceAttributes": attributes},
    }
    answer = await api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return answer["status"]["allowed"]


BINDINGS = "rbac.authorization.k8s.io/rolebindings"
CLUSTER_ROLES = "rbac.authorization.k8s.io/clusterroles"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "allowed",
    [
        ("team7", "create", BINDINGS),
        ("", "bind", CLUSTER_ROLES, "mlflow-operator-mlflow-integration"),
        ("", "watch", CLUSTER_ROLES, "mlflow-operator-mlflow-edit"),
        (SYSTEM, "patch", "configmaps", "otel-collector-config"),
        (SYSTEM, "create", "configmaps", "otel-ingress-ca"),
        (SYSTEM, "patch", "configmaps", "kagenti-ui-config"),
        (SYSTEM, "list", "configmaps", "openshift-service-ca.crt"),
        ("openshift-config-managed", "list", "configmaps", "default-ingress-cert"),
        ("openshift-config", "watch", "configmaps", "kube-root-ca.crt"),
        (SYSTEM, "patch", "apps/deployments", "otel-collector"),
        (SYSTEM, "update", "coordination.k8s.io/leases", "b7c4ae34.kagenti.dev"),
        ("", "create", "mlflow.opendatahub.io/mlflows"),
        ("redhat-ods-applications", "watch", "discovery.k8s.io/endpointslices"),
        ("team7", "patch", "apps/statefulsets", "an-agent"),
        ("team7", "patch", "events.k8s.io/events", "an-event"),
    ],
    ids=" ".join,
)
async def test_is_allowed(allowed: tuple[str, ...], api: Platform) -> None:
    assert await may(api, *allowed)


async def leftovers(api: Platform) -> set[str]:
    found: set[str] = set()
    for collection in (
        f"/api/v1/namespaces/{SYSTEM}/services",
        f"/api/v1/namespaces/{SYSTEM}/serviceaccounts",
        f"/apis/apps/v1/namespaces/{SYSTEM}/deployments",
        f"{RBAC}/clusterroles",
        f"{RBAC}/clusterrolebindings",
        f"{RBAC}/rolebindings",
        f"{RBAC}/roles",
    ):
        answer = await api.request(
            "GET", collection, params={"labelSelector": "app.kubernetes.io/name=kagenti-operator"}
        )
        found |= {f"{collection} {item['metadata']['name']}" for item in answer["items"]}
    return found


# The last test of this file: it takes the chart away.
async def test_upgrade_takes_away_what_is_switched_off_and_uninstall_the_rest(
    installed: str, helm: Helm, api: Platform
) -> None:
    assert "rollout status deployment/kagenti-controller-manager" in installed
    assert await may(api, "team7", "create", BINDINGS)
    helm("upgrade", "--set", "controllerManager.replicas=2")
    assert not await may(api, "team7", "create", BINDINGS)
    assert await leftovers(api)
    helm("uninstall")
    assert await leftovers(api) == set()
