"""No webhook configuration stays behind: it would stop every agent's pod."""

import base64
from pathlib import Path

from trustme import CA

from kagenti_devcluster.testing.platform import SYSTEM, Platform
from tests.integration.platform.conftest import Helm
from tests.support.webhook_replicas import CONFIGURATION, SECRET, build_pod, containers_of

CHART = Path(__file__).parents[3] / "charts" / "kagenti-operator"
SERVICE = f"/api/v1/namespaces/{SYSTEM}/services/kagenti-controller-manager-webhook-service"
BUNDLE = base64.b64encode(CA().cert_pem.bytes()).decode()
ON = ("--set", "authbridge.enable=true")


async def what_is_left(api: Platform) -> list[str]:
    """Of what was switched on. No pod of the operator ever runs here, as there is no node."""
    paths = (
        CONFIGURATION,
        SECRET,
        SERVICE,
        f"/api/v1/namespaces/{SYSTEM}/configmaps/kagenti-feature-gates",
        f"/api/v1/namespaces/{SYSTEM}/configmaps/kagenti-platform-config",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/kagenti-controller-manager-authbridge",
    )
    return [path for path in paths if await api.get(path) is not None]


async def write_as_the_operator_does(api: Platform) -> None:
    """Fill in certificate and bundle as the operator does, under its own field manager."""
    params = {"fieldManager": "kagenti-operator", "force": "true"}
    metadata = {"name": SECRET.rpartition("/")[2]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"tls.crt": "Zm9v"}}
    hooks = [{"name": "inject.kagenti.io", "clientConfig": {"caBundle": BUNDLE}}]
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": CONFIGURATION.rpartition("/")[2]},
        "webhooks": hooks,
    }
    for path, body in ((SECRET, secret), (CONFIGURATION, configuration)):
        content_type = "application/apply-patch+yaml"
        await api.request("PATCH", path, body, content_type=content_type, params=params)


async def test_an_upgrade_keeps_what_the_operator_wrote_and_switching_off_leaves_nothing(
    helm: Helm, api: Platform, namespace: str
) -> None:
    helm("install", CHART, *ON)
    assert len(await what_is_left(api)) == 6
    await write_as_the_operator_does(api)
    helm("upgrade", CHART, *ON, "--set", "controllerManager.replicas=3")
    configuration = await api.request("GET", CONFIGURATION)
    assert configuration["webhooks"][0]["clientConfig"]["caBundle"] == BUNDLE
    assert (await api.request("GET", SECRET))["data"] == {"tls.crt": "Zm9v"}
    # With all of its replicas away.
    helm("upgrade", CHART, "--set", "authbridge.enable=false")
    assert await what_is_left(api) == []
    await api.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {"kagenti-enabled": "true"}}})
    pod = await api.request("POST", f"/api/v1/namespaces/{namespace}/pods", build_pod("agent"))
    assert containers_of(pod) == ["agent"]


async def test_an_uninstall_leaves_nothing(helm: Helm, api: Platform) -> None:
    helm("install", CHART, *ON)
    await write_as_the_operator_does(api)
    helm("uninstall")
    assert await what_is_left(api) == []
