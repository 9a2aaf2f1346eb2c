"""Each setting of a kubeconfig is obeyed, or refused with a sentence."""

import base64
import json
import re
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from trustme import CA, LeafCert

from kagenti_devcluster.cluster.pki import issue_client, serving_context, write_certificate
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.errors import ConfigError

AUTHORITY = CA()


def kubeconfig(tmp_path: Path, user: dict[str, Any] | None, **cluster: Any) -> dict[str, str]:
    """Environment with KUBECONFIG. The cluster's fields have underscores for hyphens."""
    context: dict[str, Any] = {"cluster": "here", "namespace": "team1"}
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.crt")
    fields = {
        "server": "https://api.example:6443/",
        "certificate-authority": "ca.crt",
        **{name.replace("_", "-"): value for name, value in cluster.items()},
    }
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "here", "cluster": fields}],
        "contexts": [{"name": "main", "context": context}],
    }
    if user is not None:
        context["user"] = "me"
        config["users"] = [{"name": "me", "user": user}]
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    return {"KUBECONFIG": str(path)}


def inline(content: bytes) -> str:
    """As `...-data` fields hold it; in lines, as people fold it."""
    return base64.encodebytes(content).decode()


def trusted(connection: Connection) -> list[bytes]:
    """The authorities that the connection trusts, DER."""
    context = connection.ssl_context()
    assert context is not None
    return context.get_ca_certs(binary_form=True)


def der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def shown(connection: Connection) -> bytes | None:
    """The client certificate (DER) that a server sees; the handshake takes place in memory."""
    accepting = serving_context(AUTHORITY, "api.example")
    accepting.load_verify_locations(cadata=AUTHORITY.cert_pem.bytes().decode())
    accepting.verify_mode = ssl.CERT_OPTIONAL
    context = connection.ssl_context()
    assert context is not None
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="api.example")
    server = accepting.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return server.getpeercert(binary_form=True)


def certificate_of(pair: LeafCert) -> bytes:
    """The certificate itself, PEM."""
    return pair.cert_chain_pems[0].bytes()


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


V1 = "client.authentication.k8s.io/v1"


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (None, "no usable credentials"),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider went with Kubernetes 1.26"),
        ({"token": "t", "auth-provider": {"name": "gcp"}}, "auth-provider went with Kubernetes 1.26"),
        ({"username": "me", "password": "secret"}, "passwords went with Kubernetes 1.19"),
        ({"token": "t", "password": "secret"}, "passwords went with Kubernetes 1.19"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}}, "v1alpha1"),
        ({"exec": {"apiVersion": V1, "command": "x", "interactiveMode": "Always"}}, "plugin x wants to ask"),
        ({"exec": {"apiVersion": V1, "command": "x", "interactiveMode": "Sometimes"}}, "Invalid enum value"),
        ({"client-certificate": "none.crt", "client-key": "none.key"}, "No such file.*none.crt"),
        ({"client-certificate": "ca.crt"}, "a client certificate needs its key"),
        ({"token": "t", "client-key-data": "a2V5"}, "a key its certificate"),
        ({"client-certificate-data": "a2V5", "client-key-data": "%"}, "client-key-data is not base64"),
        (
            {"client-certificate-data": "a2V5", "client-key-data": "a2V5"},
            "certificate or its key cannot be used",
        ),
        ({"token": "t", "as-groups": ["admins"]}, "need `as`, the user to impersonate"),
        ({"token": "t", "as": "me", "as-groups": [""]}, "'' cannot be impersonated"),
        ({"token": "t", "as": "me\r\nX-Remote-User: root"}, "no HTTP header can carry it"),
        ({"token": "t", "as": " me"}, "no HTTP header can carry it"),
    ],
)
def test_credentials_that_cannot_be_used_are_reported_with_the_file(
    tmp_path: Path, user: dict[str, Any] | None, words: str
) -> None:
    environ = kubeconfig(tmp_path, user)
    with pytest.raises(ConfigError, match=words) as refusal:
        load_connection(environ)
    assert environ["KUBECONFIG"] in str(refusal.value)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("api.example.com:6443", "which is no URL"),
        ("https://api.example.com:99999", "Port out of range"),
        ("https://api.example.com:port", "port can't be converted"),
        ("https://[::1", "Invalid IPv6 URL"),
        ("https://", "which names no host"),
        ("", "which is no URL"),
    ],
)
def test_a_server_that_is_no_url_is_reported(tmp_path: Path, server: str, words: str) -> None:
    environ = kubeconfig(tmp_path, {"token": "t"}, server=server)
    with pytest.raises(ConfigError, match=f"'{re.escape(server)}'.*{words}"):
        load_connection(environ)


@pytest.mark.parametrize("token", ["two\nlines", "caf\u00e9"])
async def test_a_token_that_no_header_can_carry_is_reported_and_not_shown(tmp_path: Path, token: str) -> None:
    connection = load_connection(kubeconfig(tmp_path, {"token": token}))
    with pytest.raises(ConfigError, match="write it anew, on one line") as refusal:
        await connection.authorization()
    assert token not in str(refusal.value)


@pytest.mark.parametrize(
    "rest", ["https://me:secret@api.example", "https://api.example/?a=b", "https://api.example/#here"]
)
def test_a_server_with_more_than_host_port_and_path_is_refused(tmp_path: Path, rest: str) -> None:
    environ = kubeconfig(tmp_path, {"token": "t"}, server=rest)
    with pytest.raises(ConfigError, match=r"api\.example, is a URL with more than host") as refusal:
        load_connection(environ)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("name", [".example", "a" * 64 + ".example"])
def test_a_name_that_no_certificate_has_is_refused(tmp_path: Path, name: str) -> None:
    environ = kubeconfig(tmp_path, {"token": "t"}, tls_server_name=name)
    with pytest.raises(ConfigError, match=f"'{re.escape(name)}' can be no host's name in a certificate"):
        load_connection(environ)


def test_the_name_for_tls_and_the_proxy_are_what_the_file_says(tmp_path: Path) -> None:
    proxy = "http://me:secret@proxy.example:3128"
    environ = kubeconfig(tmp_path, {"token": "t"}, tls_server_name="api.internal", proxy_url=proxy)
    connection = load_connection(environ)
    assert connection.server_hostname == "api.internal"
    assert str(connection.proxy) == proxy
    plain = load_connection(
        kubeconfig(tmp_path, {"token": "t"}, disable_compression=True, tls_server_name="")
    )
    assert (plain.server_hostname, plain.proxy) == (None, None)


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5://me:secret@proxy.example",
        "proxy.example:3128",
        "http://",
        "http://me:secret@[",
        "http://x:secret",
    ],
)
def test_another_proxy_than_for_http_is_refused_without_its_password(tmp_path: Path, proxy: str) -> None:
    with pytest.raises(ConfigError, match="is not that of an HTTP proxy") as refusal:
        load_connection(kubeconfig(tmp_path, {"token": "t"}, proxy_url=proxy))
    assert "secret" not in str(refusal.value)


def test_somebody_else_is_named_in_headers(tmp_path: Path) -> None:
    user = {
        "token": "t",
        "as": "jane",
        "as-uid": "u-1",
        "as-groups": ["developers", "admins"],
        "as-user-extra": {"example.com/Project%": ["one", "two"], "scopes": ["view"]},
    }
    assert load_connection(kubeconfig(tmp_path, user)).impersonation == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "u-1"),
        ("Impersonate-Group", "developers"),
        ("Impersonate-Group", "admins"),
        ("Impersonate-Extra-example.com%2FProject%25", "one"),
        ("Impersonate-Extra-example.com%2FProject%25", "two"),
        ("Impersonate-Extra-scopes", "view"),
    )


def test_the_token_of_who_impersonates_goes_to_no_other_server(tmp_path: Path) -> None:
    connection = load_connection(kubeconfig(tmp_path, {"token": "t", "as": "jane"}))
    with pytest.raises(ConfigError, match=r"impersonate jane.*use a kubeconfig with a token of jane"):
        connection.token()


def test_an_authority_is_trusted_from_a_file_or_inline(tmp_path: Path) -> None:
    user = {"token": "t"}
    assert trusted(load_connection(kubeconfig(tmp_path, user))) == [der(AUTHORITY.cert_pem.bytes())]
    other = CA().cert_pem.bytes()
    commented = b"# caf\xc3\xa9\n" + other
    connection = load_connection(kubeconfig(tmp_path, user, certificate_authority_data=inline(commented)))
    assert trusted(connection) == [der(other)]


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"certificate_authority": "none.crt"}, "No such file.*none.crt"),
        ({"certificate_authority": "empty"}, "holds no PEM certificates"),
        ({"certificate_authority_data": "%"}, "certificate-authority-data is not base64"),
        ({"certificate_authority_data": "\n"}, "certificate-authority-data is empty"),
        ({"certificate_authority_data": "a2V5"}, "holds no PEM certificates"),
        ({"insecure_skip_tls_verify": True}, "contradicts the certificate authority"),
    ],
)
def test_an_authority_that_cannot_be_used_is_reported(
    tmp_path: Path, cluster: dict[str, Any], words: str
) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError, match=words):
        load_connection(kubeconfig(tmp_path, {"token": "t"}, **cluster))


def test_who_asks_for_it_verifies_nothing(tmp_path: Path) -> None:
    environ = kubeconfig(tmp_path, {"token": "t"}, certificate_authority=None, insecure_skip_tls_verify=True)
    context = load_connection(environ).ssl_context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize("certificate_inline", [True, False])
@pytest.mark.parametrize("key_inline", [True, False])
def test_a_client_certificate_is_shown_from_files_or_inline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, certificate_inline: bool, key_inline: bool
) -> None:
    pair = issue_client(AUTHORITY, "admin")
    (tmp_path / "client.crt").write_bytes(certificate_of(pair))
    pair.private_key_pem.write_to_path(tmp_path / "client.key")
    user = {
        **({"client-certificate-data": inline(certificate_of(pair))} if certificate_inline else {}),
        **({"client-key-data": inline(pair.private_key_pem.bytes())} if key_inline else {}),
        "client-certificate": "client.crt",
        "client-key": "client.key",
    }
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    connection = load_connection(kubeconfig(tmp_path, user))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert shown(connection) == der(certificate_of(pair))


def test_a_client_certificate_in_files_is_followed(tmp_path: Path) -> None:
    write_certificate(tmp_path / "client.pem", issue_client(AUTHORITY, "admin"))
    user = {"client-certificate": "client.pem", "client-key": "client.pem"}
    connection = load_connection(kubeconfig(tmp_path, user))
    renewed = issue_client(AUTHORITY, "admin")
    write_certificate(tmp_path / "client.pem", renewed)
    assert shown(connection) == der(certificate_of(renewed))


def test_an_encrypted_key_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    pair = issue_client(AUTHORITY, "admin")
    key = serialization.load_pem_private_key(pair.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    user = {"client-certificate-data": inline(certificate_of(pair)), "client-key-data": inline(encrypted)}
    with pytest.raises(ConfigError, match="the client key is encrypted"):
        load_connection(kubeconfig(tmp_path, user))


def plugin(tmp_path: Path, credential: dict[str, str], **settings: Any) -> dict[str, Any]:
    """A user whose plugin, a script beside the kubeconfig, gives that credential."""
    (tmp_path / "credential").write_text(json.dumps({"status": credential}))
    script = tmp_path / "login"
    script.write_text(f'#!/bin/sh\ncd {tmp_path}\necho "$KUBERNETES_EXEC_INFO" >asked\nexec cat credential\n')
    script.chmod(0o700)
    return {"exec": {"apiVersion": V1, "command": "./login", "interactiveMode": "IfAvailable", **settings}}


async def test_a_plugin_beside_the_file_gives_the_token(tmp_path: Path) -> None:
    user = plugin(tmp_path, {"token": "mine"}, args=None, env=[{"name": "REGION", "value": "eu"}])
    connection = load_connection(kubeconfig(tmp_path, user))
    assert await connection.authorization() == "Bearer mine"
    assert json.loads((tmp_path / "asked").read_text())["spec"] == {"interactive": False}


async def test_a_fixed_token_comes_before_a_plugin(tmp_path: Path) -> None:
    connection = load_connection(
        kubeconfig(tmp_path, {**plugin(tmp_path, {"token": "no"}), "token": "fixed"})
    )
    assert await connection.authorization() == "Bearer fixed"
    assert not (tmp_path / "asked").exists()


async def test_a_plugin_that_wants_to_know_the_cluster_learns_of_it(tmp_path: Path) -> None:
    connection = load_connection(
        kubeconfig(
            tmp_path,
            plugin(tmp_path, {"token": "mine"}, provideClusterInfo=True),
            tls_server_name="api.internal",
            proxy_url="http://proxy.example:3128",
            extensions=[
                {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "here"}},
                {"name": "other", "extension": "theirs"},
            ],
        )
    )
    await connection.authorization()
    assert json.loads((tmp_path / "asked").read_text())["spec"] == {
        "interactive": False,
        "cluster": {
            "server": "https://api.example:6443/",
            "tls-server-name": "api.internal",
            "proxy-url": "http://proxy.example:3128",
            "certificate-authority-data": base64.b64encode(AUTHORITY.cert_pem.bytes()).decode(),
            "config": {"audience": "here"},
        },
    }


def credential_of(pair: LeafCert) -> dict[str, str]:
    """What a plugin gives to who shows a client certificate."""
    return {
        "clientCertificateData": certificate_of(pair).decode(),
        "clientKeyData": pair.private_key_pem.bytes().decode(),
    }


async def test_a_plugins_certificate_is_shown_and_followed(tmp_path: Path) -> None:
    first, second = issue_client(AUTHORITY, "first"), issue_client(AUTHORITY, "second")
    connection = load_connection(kubeconfig(tmp_path, plugin(tmp_path, credential_of(first))))
    assert await connection.authorization() is None
    context = connection.ssl_context()
    assert connection.ssl_context() is context
    assert shown(connection) == der(certificate_of(first))
    (tmp_path / "credential").write_text(json.dumps({"status": credential_of(second)}))
    connection.reject_token()
    await connection.authorization()
    assert connection.ssl_context() is not context
    assert shown(connection) == der(certificate_of(second))


async def test_a_plugins_certificate_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    credential = {"clientCertificateData": "nonsense", "clientKeyData": "nonsense"}
    connection = load_connection(kubeconfig(tmp_path, plugin(tmp_path, credential)))
    await connection.authorization()
    with pytest.raises(
        ConfigError, match="what the credential plugin gave is unusable: the client certificate"
    ):
        connection.ssl_context()
