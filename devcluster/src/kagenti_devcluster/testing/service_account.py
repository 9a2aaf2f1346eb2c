"""ServiceAccounts that may do everything, and what a pod finds of its own."""

from pathlib import Path

from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_devcluster.testing.platform import RBAC, Platform

_DAY_SECONDS = 24 * 3600


async def make_admin(platform: Platform, namespace: str, name: str) -> str:
    """Make a ServiceAccount that is bound to `cluster-admin`; returns the path of the ClusterRoleBinding."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    await platform.put(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}", account)
    path = f"{RBAC}/clusterrolebindings/{namespace}-{name}"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{namespace}-{name}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    await platform.put(path, binding)
    return path


async def request_token(platform: Platform, namespace: str, name: str) -> str:
    """A token of that ServiceAccount that lives for a day."""
    wanted = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": _DAY_SECONDS},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    return (await platform.request("POST", path, wanted))["status"]["token"]


async def write_folder(
    platform: Platform, control_plane: ControlPlane, folder: Path, namespace: str, name: str
) -> None:
    """Make the folder that a pod of that ServiceAccount finds: token, CA and namespace."""
    folder.mkdir()
    (folder / "token").write_text(await request_token(platform, namespace, name))
    control_plane.authority.cert_pem.write_to_path(folder / "ca.crt")
    (folder / "namespace").write_text(namespace)
