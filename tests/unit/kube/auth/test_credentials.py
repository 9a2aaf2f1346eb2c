"""Finding the API server and our credentials, in a pod and off the cluster."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from trustme import CA

from kagenti_devcluster.cluster.pki import issue_client, write_certificate
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


def kubeconfig(tmp_path: Path, user: dict[str, Any] | None, **cluster: Any) -> dict[str, str]:
    """Environment with KUBECONFIG."""
    context: dict[str, Any] = {"cluster": "here", "namespace": "team1"}
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.crt")
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [
            {
                "name": "here",
                "cluster": {
                    "server": "https://api.example:6443/",
                    "certificate-authority": "ca.crt",
                    **cluster,
                },
            }
        ],
        "contexts": [{"name": "main", "context": context}],
    }
    if user is not None:
        context["user"] = "me"
        config["users"] = [{"name": "me", "user": user}]
    path = tmp_path / "config"
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
    environ = {**IN_POD, **kubeconfig(tmp_path, {"token": "mine"})}
    assert load_connection(environ, service_account=service_account).token() == "pod-token"


def test_a_pod_without_a_token_uses_a_kubeconfig(tmp_path: Path) -> None:
    environ = {**IN_POD, **kubeconfig(tmp_path, {"token": "mine"})}
    assert load_connection(environ, service_account=tmp_path / "none").token() == "mine"


def test_a_pod_needs_neither_lightkube_nor_its_memory(service_account: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from kagenti_operator.kube.client import KubeClient\n"
        "from kagenti_operator.kube.auth.credentials import load_connection\n"
        f"KubeClient(load_connection({IN_POD!r}, service_account=Path({str(service_account)!r})))\n"
        "assert not [name for name in sys.modules if name.startswith(('lightkube', 'httpx'))]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_service_account_folder_without_ca_is_told(service_account: Path) -> None:
    (service_account / "ca.crt").unlink()
    with pytest.raises(ConfigError, match=r"ServiceAccount folder .* is unusable: .*No such file"):
        load_connection(IN_POD, service_account=service_account)


async def test_a_kubeconfig_gives_server_namespace_and_token(tmp_path: Path) -> None:
    connection = load_connection(kubeconfig(tmp_path, {"token": "mine"}))
    assert connection.server == "https://api.example:6443"
    assert connection.namespace == "team1"
    assert await connection.authorization() == "Bearer mine"


def test_a_kubeconfigs_token_file_is_relative_to_it_and_followed(tmp_path: Path) -> None:
    (tmp_path / "tok").write_text("one")
    connection = load_connection(kubeconfig(tmp_path, {"tokenFile": "tok"}))
    assert connection.token() == "one"
    (tmp_path / "tok").write_text("another")
    assert connection.token() == "another"


def test_home_is_where_a_kubeconfig_is_by_default(tmp_path: Path) -> None:
    kubeconfig(tmp_path, {"token": "mine"})
    (tmp_path / ".kube").mkdir()
    for name in ("config", "ca.crt"):
        (tmp_path / name).rename(tmp_path / ".kube" / name)
    assert load_connection({"HOME": str(tmp_path)}).token() == "mine"


async def test_a_client_certificate_is_no_bearer_token(tmp_path: Path) -> None:
    write_certificate(tmp_path / "client.pem", issue_client(AUTHORITY, "admin"))
    user = {"client-certificate": "client.pem", "client-key": "client.pem"}
    connection = load_connection(kubeconfig(tmp_path, user))
    assert await connection.authorization() is None
    with pytest.raises(ConfigError, match="no bearer token"):
        connection.token()


async def test_a_proxy_on_plain_http_needs_no_credentials(tmp_path: Path) -> None:
    connection = load_connection(kubeconfig(tmp_path, None, server="http://127.0.0.1:8001"))
    assert await connection.authorization() is None
    assert connection.ssl_context() is None


def test_without_any_credentials_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no kubeconfig at {tmp_path}/.kube/config; set KUBECONFIG"):
        load_connection({"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (None, "no usable credentials"),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider went with Kubernetes 1.26"),
        ({"username": "me", "password": "secret"}, "passwords went with Kubernetes 1.19"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}}, "v1alpha1"),
        ({"client-certificate": "none.crt", "client-key": "none.key"}, "No such file"),
    ],
)
def test_credentials_that_cannot_be_used_are_told_with_the_file(
    tmp_path: Path, user: dict[str, Any] | None, words: str
) -> None:
    environ = kubeconfig(tmp_path, user)
    with pytest.raises(ConfigError, match=words) as refusal:
        load_connection(environ)
    assert environ["KUBECONFIG"] in str(refusal.value)


@pytest.mark.parametrize("text", ["", "]", "[]", "clusters: 3", json.dumps({"clusters": [], "contexts": []})])
def test_a_file_that_is_no_kubeconfig_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(ConfigError, match=r"kubeconfig .*config"):
        load_connection({"KUBECONFIG": str(tmp_path / "config")})


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("api.example.com:6443", "which is no URL"),
        ("https://api.example.com:99999", "Port out of range"),
        ("https://api.example.com:port", "port can't be converted"),
        ("https://[::1", "Invalid IPv6 URL"),
        ("https://", "which names no host"),
    ],
)
def test_a_server_that_is_no_url_is_told(tmp_path: Path, server: str, words: str) -> None:
    environ = kubeconfig(tmp_path, {"token": "t"}, server=server)
    with pytest.raises(ConfigError, match=f"'{re.escape(server)}'.*{words}"):
        load_connection(environ)


@pytest.mark.parametrize("token", ["two\nlines", "caf\u00e9"])
async def test_a_token_that_no_header_can_carry_is_told_and_not_shown(tmp_path: Path, token: str) -> None:
    connection = load_connection(kubeconfig(tmp_path, {"token": token}))
    with pytest.raises(ConfigError, match="write it anew, on one line") as refusal:
        await connection.authorization()
    assert token not in str(refusal.value)


def test_several_kubeconfigs_are_refused_with_the_cure(tmp_path: Path) -> None:
    several = f"{tmp_path}/a:{tmp_path}/b"
    with pytest.raises(ConfigError, match="kubectl config view --flatten"):
        load_connection({"KUBECONFIG": several})
