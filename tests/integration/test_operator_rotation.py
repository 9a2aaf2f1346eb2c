"""The operator's own token and the API server's CA are replaced, and the old ones refused, while it runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from trustme import CA

from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_devcluster.cluster.kubeconfig import build_kubeconfig, certificate_user, write_kubeconfig
from kagenti_devcluster.cluster.pki import issue_client, write_certificate
from kagenti_devcluster.node.atomicdir import write_files
from kagenti_devcluster.node.projection import File
from kagenti_devcluster.testing.platform import SYSTEM, Platform, config_map_path, eventually
from kagenti_devcluster.testing.service_account import make_admin
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from tests.support.operator_process import OperatorProcess

ACCOUNT = "controller-manager"
CONFIG = config_map_path(SYSTEM, "otel-collector-config")


@pytest.fixture
def control_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """Of its own: its certificate changes."""
    made = ControlPlane(tmp_path / "control-plane", controller_manager=False)
    try:
        made.start()
        yield made
    finally:
        made.close()


def credentials(control_plane: ControlPlane, folder: Path) -> Path:
    """A kubeconfig that names the files of a ServiceAccount folder."""
    path = folder.with_name("operator.kubeconfig")
    kubeconfig = build_kubeconfig(control_plane.server_url, b"", {"tokenFile": str(folder / "token")}, SYSTEM)
    files = {"server": control_plane.server_url, "certificate-authority": str(folder / "ca.crt")}
    kubeconfig["clusters"][0]["cluster"] = files
    path.write_text(yaml.safe_dump(kubeconfig))
    return path


def as_admin(control_plane: ControlPlane, path: Path, *trusted: CA) -> KubeClient:
    """The administrator, by a certificate of the first CA, which clients' certificates go on to be of."""
    user = certificate_user(issue_client(trusted[0], "kubernetes-admin", "system:masters"))
    bundle = b"".join(authority.cert_pem.bytes() for authority in trusted)
    write_kubeconfig(path, build_kubeconfig(control_plane.server_url, bundle, user))
    return KubeClient(load_connection({"KUBECONFIG": str(path)}))


async def bound_token(api: Platform, secret: str) -> str:
    """A token that is good for as long as a Secret exists."""
    path = f"/api/v1/namespaces/{SYSTEM}/secrets/{secret}"
    made = await api.put(path, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}})
    bound = {"apiVersion": "v1", "kind": "Secret", "name": secret, "uid": made["metadata"]["uid"]}
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600, "boundObjectRef": bound},
    }
    account = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{ACCOUNT}/token"
    return json.loads(await api.admin.raw("POST", account, body=json.dumps(body).encode()))["status"]["token"]


async def install(api: Platform) -> None:
    await api.namespace(SYSTEM)
    await make_admin(api, SYSTEM, ACCOUNT)


async def test_the_operator_works_on_with_a_new_token_and_a_new_ca(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    folder = tmp_path / "serviceaccount"
    old, new = control_plane.authority, CA()
    admin = as_admin(control_plane, tmp_path / "admin", old, new)
    api = Platform(admin)

    def mount(token: str, *authorities: CA) -> None:
        bundle = b"".join(authority.cert_pem.bytes() for authority in authorities)
        write_files(folder, {"token": File(token.encode()), "ca.crt": File(bundle)})

    async def configured() -> None:
        assert await api.get(CONFIG) is not None

    try:
        await install(api)
        mount(await bound_token(api, "first"), old)
        features = ("--enable-otel-bootstrap",)
        with OperatorProcess(credentials(control_plane, folder), features=features) as operator:
            await eventually(configured)

            second = await bound_token(api, "second")
            mount(second, old, new)
            await api.delete(f"/api/v1/namespaces/{SYSTEM}/secrets/first")
            serve_certificate_of(new, control_plane, tmp_path / "control-plane")
            mount(second, new)

            await api.delete(CONFIG)
            await eventually(configured, seconds=120)
            assert operator.process.poll() is None
    finally:
        await admin.close()


def serve_certificate_of(authority: CA, control_plane: ControlPlane, folder: Path) -> None:
    """Have the API server started anew with a certificate of another CA."""
    write_certificate(folder / "apiserver.pem", authority.issue_cert("localhost", "127.0.0.1"))
    control_plane.kill_apiserver()
    control_plane.authority = authority
    control_plane.start_apiserver()
