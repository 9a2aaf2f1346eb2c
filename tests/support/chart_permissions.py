"""What the chart grants the operator, rendered by helm and taken apart into single permissions."""

import subprocess
import tempfile
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from kagenti_devcluster.testing.platform import INTEGRATION, RBAC, Platform, eventually
from kagenti_devcluster.toolchain import binaries
from tests.support.recorded_requests import Request

CHART = Path(__file__).parents[2] / "charts" / "kagenti-operator"
NAMESPACE = "kagenti-system"
ACCOUNT = "controller-manager"
# The name that the chart gives all its roles and bindings, or begins theirs with.
ROLE = "kagenti-controller-manager"
POLICY = "ValidatingAdmissionPolicy"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

type Manifest = dict[str, Any]


def render_permissions(
    *, account: str = ACCOUNT, platform: str = "openshift", more: Sequence[str] = ()
) -> list[Manifest]:
    """The ServiceAccount and all that it is granted with every feature on, and with `more` values.

    Another account gets roles and bindings of its own, named after it.
    """
    features = ("mlflow.enable", "otelBootstrap.enable", "openshiftConsole.link")
    values = (f"platform.kind={platform}", f"controllerManager.serviceAccountName={account}", *more)
    sets = [f"--set={value}" for value in (*(f"{feature}=true" for feature in features), *values)]
    call = [binaries.find("helm"), "template", "x", CHART, "--namespace", NAMESPACE, *sets]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(call, env={"HOME": home}, capture_output=True, text=True, check=True)
    manifests = [m for m in yaml.safe_load_all(done.stdout) if _is_granted_to_operator(m)]
    return manifests if account == ACCOUNT else [_rename(manifest, account) for manifest in manifests]


def _is_granted_to_operator(manifest: Manifest) -> bool:
    if "helm.sh/hook" in manifest["metadata"].get("annotations", {}):
        # `helm test` has an account of its own.
        return False
    named = manifest["metadata"]["name"].startswith(ROLE)
    bounds = "Role" in manifest["kind"] or manifest["kind"].startswith(POLICY)
    return (bounds and named) or manifest["kind"] == "ServiceAccount"


def _rename(manifest: Manifest, account: str) -> Manifest:
    """The manifest with names of its own; what its rules name stays."""

    def renamed(named: Mapping[str, Any]) -> dict[str, Any]:
        return {**named, "name": named["name"].replace(ROLE, account)}

    changed = {key: renamed(manifest[key]) for key in ("metadata", "roleRef") if key in manifest}
    if "policyName" in manifest.get("spec", {}):
        changed["spec"] = {**manifest["spec"], "policyName": changed["metadata"]["name"]}
    return manifest | changed


def object_path(manifest: Manifest) -> str:
    """Where the API server has it."""
    kind, metadata = manifest["kind"], manifest["metadata"]
    base = "/api/v1" if kind == "ServiceAccount" else ADMISSION if kind.startswith(POLICY) else RBAC
    within = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    plural = "validatingadmissionpolicies" if kind == POLICY else f"{kind.lower()}s"
    return f"{base}{within}/{plural}/{metadata['name']}"


def bind_off_cluster(manifests: Sequence[Manifest], account: str = ACCOUNT) -> list[Manifest]:
    """With MLflow's role also for an operator outside of the cluster, which shows MLflow its own token."""
    subject = {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
    return [
        {**manifest, "subjects": [*manifest["subjects"], subject]}
        if manifest["kind"] == "ClusterRoleBinding" and manifest["roleRef"]["name"] == INTEGRATION
        else manifest
        for manifest in manifests
    ]


async def grant(platform: Platform, manifests: Sequence[Manifest], account: str = ACCOUNT) -> None:
    """Apply what the chart grants, and return once the authorizer knows it."""
    for manifest in bind_off_cluster(manifests, account):
        await platform.put(object_path(manifest), manifest)
    lease = {"group": "coordination.k8s.io", "resource": "leases", "namespace": NAMESPACE, "verb": "create"}
    events = {"group": "events.k8s.io", "resource": "events", "verb": "create"}

    async def known() -> None:
        for attributes in (lease, events):
            user = f"system:serviceaccount:{NAMESPACE}:{account}"
            review = {"spec": {"user": user, "resourceAttributes": attributes}}
            answer = await platform.request("POST", _ACCESS_REVIEWS, review)
            assert answer["status"]["allowed"]

    await eventually(known)


@asynccontextmanager
async def granted_account(
    platform: Platform, account: str, *, openshift: bool, more: Sequence[str] = ()
) -> AsyncGenerator[list[Manifest]]:
    """An account of its own with all that the chart grants on such a platform; it is gone afterwards."""
    kind = "openshift" if openshift else "kubernetes"
    manifests = render_permissions(account=account, platform=kind, more=more)
    await grant(platform, manifests, account)
    yield manifests
    for manifest in manifests:
        await platform.delete(object_path(manifest))


class Permission(msgspec.Struct, frozen=True, order=True):
    """One verb on one resource. Empty: `namespace` means all of them, `name` any object."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        return str(Request(self.verb, self.group, self.resource, self.namespace, self.name))

    def allows(self, request: Request) -> bool:
        """Whether this alone allows the request, as RBAC judges it."""
        return (
            (self.verb, self.group, self.resource) == (request.verb, request.group, request.resource)
            and self.namespace in ("", request.namespace)
            and self.name in ("", request.name)
        )


def collect_permissions(manifests: Sequence[Manifest], account: str = ACCOUNT) -> list[Permission]:
    """Every single permission that the roles among the manifests grant to a ServiceAccount."""
    roles = {(m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"]): m for m in manifests}
    found: set[Permission] = set()
    for binding in manifests:
        if not any(subject["name"] == account for subject in binding.get("subjects", ())):
            continue
        namespace = binding["metadata"].get("namespace", "")
        reference = binding["roleRef"]
        where = namespace if reference["kind"] == "Role" else ""
        # A role that somebody else brings is not for us to judge.
        role = roles.get((reference["kind"], where, reference["name"]), {"rules": []})
        found.update(p for rule in role["rules"] for p in _take_apart(rule, namespace))
    return sorted(found)


def _take_apart(rule: Mapping[str, list[str]], namespace: str) -> Iterable[Permission]:
    return (
        Permission(verb, group, resource, namespace, name)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    )
