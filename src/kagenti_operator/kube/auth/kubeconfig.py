"""A kubeconfig becomes a connection: each of its settings is obeyed, or refused with a sentence."""

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yarl import URL

from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.auth.exec_plugin import ExecPlugin
from kagenti_operator.kube.auth.kubeconfig_file import Cluster, CurrentContext, Exec, Kubeconfig, User
from kagenti_operator.kube.auth.kubeconfig_tls import build_tls_context, load_key_pair, read_authorities
from kagenti_operator.kube.auth.rotation import FileToken, FixedToken, TlsFiles, TokenSource
from kagenti_operator.kube.errors import ConfigError

_PLUGIN_EXTENSION = "client.authentication.k8s.io/exec"
# What may stand in the name of an HTTP header, without % (RFC 9110, 5.6.2).
_HEADER_NAME = "!#$&'*+-.^_`|~"


def load_kubeconfig(paths: Sequence[Path]) -> Connection:
    """Return the connection of the files' current context. Raises ConfigError with what is wrong."""
    kubeconfig = Kubeconfig(paths)
    try:
        return _connect(kubeconfig.current_context())
    except (ConfigError, OSError, ValueError) as error:
        raise ConfigError(f"kubeconfig {os.pathsep.join(map(str, paths))}: {error}") from error


def _connect(context: CurrentContext) -> Connection:
    cluster, user = context.cluster, context.user
    _refuse_unsupported(cluster, user)
    server = _check_server(context)
    plugin = (
        _build_plugin(cluster, user.exec) if user.exec and not user.token and not user.token_file else None
    )
    # The other case is a `kubectl proxy`, which needs no credentials.
    is_https = server.scheme == "https"
    if is_https and not (user.token or user.token_file or plugin or _has_certificate(user)):
        raise ConfigError(
            f"context {context.name} has no usable credentials: no token, client certificate or exec plugin"
        )
    return Connection(
        cluster.server or "",
        token=plugin or _token_source(user),
        tls=_build_tls(cluster, user, plugin) if is_https else None,
        server_hostname=cluster.tls_server_name or None,
        proxy=_check_proxy(context),
        impersonation=tuple(_impersonation(user)),
        namespace=context.namespace,
    )


def _has_certificate(user: User) -> bool:
    return bool(user.client_certificate or user.client_certificate_data)


def _refuse_unsupported(cluster: Cluster, user: User) -> None:
    if user.username or user.password:
        raise ConfigError("passwords went with Kubernetes 1.19; use a token, a certificate or an exec plugin")
    if user.auth_provider:
        raise ConfigError("auth-provider went with Kubernetes 1.26; use an exec plugin")
    if _has_certificate(user) != bool(user.client_key or user.client_key_data):
        raise ConfigError("a client certificate needs its key, and a key its certificate; one is missing")
    if cluster.insecure_skip_tls_verify and (
        cluster.certificate_authority or cluster.certificate_authority_data
    ):
        raise ConfigError("insecure-skip-tls-verify contradicts the certificate authority; remove one")


def _check_server(context: CurrentContext) -> URL:
    server = context.cluster.server or ""
    if not server.startswith(("https://", "http://")):
        raise ConfigError(
            f"the server of context {context.name} is '{server}', which is no URL; it begins with https://"
        )
    try:
        url = URL(server)
        host = url.host
    except ValueError as error:
        raise ConfigError(f"the server of context {context.name} is '{server}': {error}") from error
    if not host:
        raise ConfigError(f"the server of context {context.name} is '{server}', which names no host")
    if url.user is not None or url.password is not None or url.query_string or url.fragment:
        raise ConfigError(
            f"the server of context {context.name}, at {host}, is a URL with more than host, port and path; "
            "remove the rest"
        )
    _check_hostname(context.cluster.tls_server_name or host)
    return url


def _check_hostname(name: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"'{name}' can be no host's name in a certificate: {error}") from error


def _check_proxy(context: CurrentContext) -> URL | None:
    if not context.cluster.proxy_url:
        return None
    with suppress(ValueError):
        url = URL(context.cluster.proxy_url)
        if url.scheme in {"http", "https"} and url.host:
            return url
    # Not shown, because it may hold a password.
    raise ConfigError(
        f"the proxy-url of context {context.name} is not that of an HTTP proxy (http://HOST:PORT or "
        "https://HOST:PORT); SOCKS proxies are not supported"
    )


def _impersonation(user: User) -> Iterator[tuple[str, str]]:
    if not user.impersonate:
        if user.as_uid or user.as_groups or user.as_user_extra:
            raise ConfigError("as-uid, as-groups and as-user-extra need `as`, the user to impersonate")
        return
    yield _impersonation_header("User", user.impersonate)
    if user.as_uid:
        yield _impersonation_header("Uid", user.as_uid)
    for group in user.as_groups or ():
        yield _impersonation_header("Group", group)
    for key, values in (user.as_user_extra or {}).items():
        for value in values:
            yield _impersonation_header(f"Extra-{quote(key, safe=_HEADER_NAME)}", value)


def _impersonation_header(name: str, value: str) -> tuple[str, str]:
    # Whatever an HTTP header would cut off or change makes another user of it.
    if not value or not value.isprintable() or value != value.strip():
        raise ConfigError(f"{value!r} cannot be impersonated: it is empty, or no HTTP header can carry it")
    return f"Impersonate-{name}", value


def _token_source(user: User) -> TokenSource:
    return FileToken(Path(user.token_file)) if user.token_file else FixedToken(user.token)


def _build_plugin(cluster: Cluster, settings: Exec) -> ExecPlugin:
    if settings.interactive_mode == "Always":
        raise ConfigError(
            f"credential plugin {settings.command} wants to ask at a terminal (interactiveMode: Always), and "
            "there may be nobody; use a token, a certificate or another plugin"
        )
    return ExecPlugin(
        [settings.command, *(settings.args or ())],
        {variable.name: variable.value for variable in settings.env or ()},
        api_version=settings.api_version,
        install_hint=settings.install_hint or "",
        cluster=_describe(cluster) if settings.provide_cluster_info else None,
    )


def _describe(cluster: Cluster) -> dict[str, Any]:
    """The cluster as ExecCredential's `spec.cluster` has it."""
    config = (item.extension for item in cluster.extensions or () if item.name == _PLUGIN_EXTENSION)
    given = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
        "certificate-authority-data": read_authorities(cluster),
        "proxy-url": cluster.proxy_url,
        "disable-compression": cluster.disable_compression,
        "config": next(config, None),
    }
    return {field: value for field, value in given.items() if value}


def _build_tls(cluster: Cluster, user: User, plugin: ExecPlugin | None) -> TlsFiles:
    def build() -> ssl.SSLContext:
        context = build_tls_context(cluster, user)
        pair = plugin.key_pair() if plugin else None
        if pair is not None:
            _load_plugins(context, *pair)
        return context

    # A file beside inline data is not read.
    files = (
        None if cluster.certificate_authority_data else cluster.certificate_authority,
        None if user.client_certificate_data else user.client_certificate,
        None if user.client_key_data else user.client_key,
    )
    return TlsFiles(
        build, [Path(file) for file in files if file], key_pair=plugin.key_pair if plugin else None
    )


def _load_plugins(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    try:
        load_key_pair(context, certificate, key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"what the credential plugin gave is unusable: {error}") from error
