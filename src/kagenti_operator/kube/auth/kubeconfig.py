"""Kubeconfigs, read by lightkube; imported only where there is no ServiceAccount folder."""

import os
from pathlib import Path

import yaml
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError as LightkubeConfigError
from yarl import URL

from kagenti_operator.kube.auth.credentials import Connection
from kagenti_operator.kube.auth.exec_plugin import ExecToken
from kagenti_operator.kube.auth.rotation import FileToken, FixedToken, TlsFiles, TokenSource
from kagenti_operator.kube.errors import ConfigError


def load_kubeconfig(path: Path) -> Connection:
    """Return the connection of the file's current context. Raises ConfigError with what is wrong."""
    try:
        config = KubeConfig.from_file(path).get()
        # Without a default, `get` raises rather than returning None.
        assert config is not None
        return Connection(
            _server(config),
            token=_token_source(config, config.user or User()),
            tls=_tls_files(config, config.user or User()),
            namespace=config.namespace,
        )
    except (ConfigError, LightkubeConfigError, yaml.YAMLError, OSError, ValueError) as error:
        raise ConfigError(f"kubeconfig {path}: {error}") from error
    except (LookupError, TypeError, AttributeError) as error:
        # How lightkube meets an empty file, and a context that names what the file does not have.
        raise ConfigError(
            f"kubeconfig {path} is incomplete: {error!r}. See what it lacks with "
            f"`kubectl --kubeconfig {path} config view`"
        ) from error


def _server(config: SingleConfig) -> str:
    server = config.cluster.server
    if not server.startswith(("https://", "http://")):
        raise ConfigError(
            f"the server of context {config.context_name} is '{server}', which is no URL; it begins with https://"
        )
    try:
        host = URL(server).host
    except ValueError as error:
        raise ConfigError(f"the server of context {config.context_name} is '{server}': {error}") from error
    if not host:
        raise ConfigError(f"the server of context {config.context_name} is '{server}', which names no host")
    return server


def _is_https(config: SingleConfig) -> bool:
    # The other case is a `kubectl proxy`, which needs no credentials.
    return config.cluster.server.startswith("https:")


def _tls_files(config: SingleConfig, user: User) -> TlsFiles | None:
    if not _is_https(config):
        return None
    files = (config.cluster.certificate_auth, user.client_cert, user.client_key)
    return TlsFiles(
        lambda: verify_cluster(config.cluster, user, config.abs_file),
        [Path(config.abs_file(file)) for file in files if file],
    )


def _token_source(config: SingleConfig, user: User) -> TokenSource:
    if user.token_file:
        return FileToken(Path(config.abs_file(user.token_file)))
    if user.token:
        return FixedToken(user.token)
    if user.exec:
        command = user.exec.command
        return ExecToken(
            # A bare name is looked up on PATH, a path is relative to the kubeconfig.
            [str(config.abs_file(command)) if os.sep in command else command, *(user.exec.args or ())],
            {pair.name: pair.value for pair in user.exec.env or ()},
            api_version=user.exec.apiVersion,
            install_hint=user.exec.installHint or "",
        )
    if user.username:
        raise ConfigError("passwords went with Kubernetes 1.19; use a token, a certificate or an exec plugin")
    if _is_https(config) and not user.client_cert and not user.client_cert_data:
        raise ConfigError(
            f"context {config.context_name} has no usable credentials: no token, client certificate or "
            "exec plugin (auth-provider went with Kubernetes 1.26)"
        )
    return FixedToken(None)
