"""Where the API server is and who we are there: a pod's ServiceAccount folder, else a kubeconfig."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from kagenti_operator.kube.auth.rotation import FileToken, FixedToken, TlsFiles, TokenSource
from kagenti_operator.kube.errors import ConfigError

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Connection:
    """The API server's address, how to verify it, and who we are there.

    `server` is a base URL without a trailing slash, `namespace` the one that the credentials name.
    """

    def __init__(
        self,
        server: str,
        *,
        token: TokenSource | None = None,
        tls: TlsFiles | None = None,
        namespace: str = "default",
    ) -> None:
        self.server = server.rstrip("/")
        self.namespace = namespace
        self._token = token or FixedToken(None)
        self._tls = tls

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the context for the next request; another object after a rotation. None for plain HTTP."""
        return self._tls.current() if self._tls else None

    async def authorization(self) -> str | None:
        """Return the Authorization header for the next request, None where TLS says who we are.

        Raises ConfigError for a token that no header can carry.
        """
        await self._token.prepare()
        token = self._token.current()
        return f"Bearer {self._checked(token)}" if token else None

    def reject_token(self) -> None:
        """The API server answered 401: the next request uses a token that is read anew."""
        self._token.reject()

    def token(self) -> str:
        """Return the bearer token, for other servers that trust the cluster's, such as MLflow.

        Raises ConfigError where the credentials have none.
        """
        token = self._token.current()
        if not token:
            raise ConfigError(
                f"the credentials for {self.server} have no bearer token, only a client certificate at most; "
                "use a kubeconfig with a token"
            )
        return self._checked(token)

    def _checked(self, token: str) -> str:
        # A header carries nothing else, and a line that was folded by mistake is easily overlooked.
        if not (token.isascii() and token.isprintable()):
            raise ConfigError(
                f"the bearer token for {self.server} holds line breaks, control characters or letters that "
                "no token has: write it anew, on one line"
            )
        return token


def load_connection(
    environ: Mapping[str, str], *, service_account: Path = SERVICE_ACCOUNT_FOLDER
) -> Connection:
    """Find the API server: as a pod, else by KUBECONFIG, else by ~/.kube/config.

    Raises ConfigError with what is missing.
    """
    host = environ.get("KUBERNETES_SERVICE_HOST")
    if host and (service_account / "token").exists():
        return _load_service_account(service_account, host, environ.get("KUBERNETES_SERVICE_PORT", "443"))
    named = environ.get("KUBECONFIG")
    path = Path(named) if named else Path(environ.get("HOME", "~"), ".kube", "config").expanduser()
    if not path.is_file():
        if named and os.pathsep in named:
            raise ConfigError(
                f"KUBECONFIG names several files ({named}); "
                "merge them: kubectl config view --flatten >merged.yaml"
            )
        raise ConfigError(
            f"no Kubernetes credentials: not in a pod with a ServiceAccount, and no kubeconfig at {path}; "
            "set KUBECONFIG"
        )
    # It imports lightkube, which a pod has no use for and should not spend memory on.
    from kagenti_operator.kube.auth.kubeconfig import load_kubeconfig

    return load_kubeconfig(path)


def _load_service_account(folder: Path, host: str, port: str) -> Connection:
    ca = folder / "ca.crt"
    address = f"[{host}]" if ":" in host else host
    token = FileToken(folder / "token")
    token.current()
    try:
        tls = TlsFiles(lambda: ssl.create_default_context(cafile=ca), [ca])
        namespace = (folder / "namespace").read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"the ServiceAccount folder {folder} is unusable: {error}") from error
    return Connection(f"https://{address}:{port}", token=token, tls=tls, namespace=namespace)
