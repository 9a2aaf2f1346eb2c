"""Finding the API server and our credentials, in a pod and off the cluster."""

from pathlib import Path

import pytest
import yaml
from trustme import CA

from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.errors import ConfigError

AUTHORITY = CA()
IN_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def service_account(tmp_path: Path) -> Path:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("pod-token")
    (folder / "namespace").write_text("kagenti-system")
    AUTHORITY.cert_pem.write_to_path(folder / "ca.crt")
    return folder


def kubeconfig(path: Path, token: str) -> dict[str, str]:
    """Environment with a KUBECONFIG of somebody with that token."""
    config = {
        "current-context": "main",
        "clusters": [{"name": "here", "cluster": {"server": "https://api.example:6443"}}],
        "contexts": [{"name": "main", "context": {"cluster": "here", "user": "me"}}],
        "users": [{"name": "me", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(config))
    return {"KUBECONFIG": str(path)}


async def test_a_pod_uses_its_service_account(service_account: Path) -> None:
    connection = load_connection(IN_POD, service_account=service_account)
    assert connection.server == "https://10.96.0.1:443"
    assert connection.namespace == "kagenti-system"
    assert connection.token() == "pod-token"
    assert await connection.authorization() == "Bearer pod-token"
    context = connection.ssl_context()
    assert context is not None
    assert len(context.get_ca_certs()) == 1


def test_an_ipv6_address_is_bracketed(service_account: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert load_connection(environ, service_account=service_account).server == "https://[fd00::1]:6443"


def test_the_pods_identity_comes_before_a_kubeconfig(service_account: Path, tmp_path: Path) -> None:
    environ = {**IN_POD, **kubeconfig(tmp_path / "config", "mine")}
    assert load_connection(environ, service_account=service_account).token() == "pod-token"


def test_a_pod_without_a_token_uses_a_kubeconfig(tmp_path: Path) -> None:
    environ = {**IN_POD, **kubeconfig(tmp_path / "config", "mine")}
    assert load_connection(environ, service_account=tmp_path / "none").token() == "mine"


def test_a_service_account_folder_without_ca_is_reported(service_account: Path) -> None:
    (service_account / "ca.crt").unlink()
    with pytest.raises(ConfigError, match=r"ServiceAccount folder .* is unusable: .*No such file"):
        load_connection(IN_POD, service_account=service_account)


def test_home_is_where_a_kubeconfig_is_by_default(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube" / "config", "mine")
    assert load_connection({"HOME": str(tmp_path)}).token() == "mine"
    assert load_connection({"HOME": str(tmp_path), "KUBECONFIG": ""}).token() == "mine"


def test_of_several_kubeconfigs_those_are_read_that_exist(tmp_path: Path) -> None:
    kubeconfig(tmp_path / "first", "first")
    kubeconfig(tmp_path / "second", "second")
    environ = {"KUBECONFIG": f"{tmp_path}/none::{tmp_path}/second:{tmp_path}/first"}
    assert load_connection(environ).token() == "second"


def test_without_any_credentials_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no kubeconfig at {tmp_path}/.kube/config; set KUBECONFIG"):
        load_connection({"HOME": str(tmp_path)})
    with pytest.raises(ConfigError, match=f"no kubeconfig at {tmp_path}/a or {tmp_path}/b; set KUBECONFIG"):
        load_connection({"KUBECONFIG": f"{tmp_path}/a:{tmp_path}/b"})
