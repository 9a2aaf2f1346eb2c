"""Where the API server is and who we are there: a pod's ServiceAccount folder, else a kubeconfig."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from kagenti_operator import contract
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.auth.kubeconfig import load_kubeconfig
from kagenti_operator.kube.auth.rotation import FileToken, TlsFiles
from kagenti_operator.kube.errors import ConfigError

SERVICE_ACCOUNT_FOLDER = Path(contract.SERVICE_ACCOUNT_FOLDER)


def load_connection(
    environ: Mapping[str, str], *, service_account: Path = SERVICE_ACCOUNT_FOLDER
) -> Connection:
    """Find the API server: as a pod, else by KUBECONFIG, else by ~/.kube/config.

    KUBECONFIG may name several files, which are merged as kubectl does. Raises ConfigError with what is
    missing.
    """
    host = environ.get("KUBERNETES_SERVICE_HOST")
    if host and (service_account / "token").exists():
        return _load_service_account(service_account, host, environ.get("KUBERNETES_SERVICE_PORT", "443"))
    named = [Path(name) for name in environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    paths = named or [Path(environ.get("HOME", "~"), ".kube", "config").expanduser()]
    # Like kubectl: of several files, some may be missing.
    found = [path for path in paths if path.is_file()]
    if not found:
        raise ConfigError(
            "no Kubernetes credentials: not in a pod with a ServiceAccount, and no kubeconfig at "
            f"{' or '.join(map(str, paths))}; set KUBECONFIG"
        )
    return load_kubeconfig(found)


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
    return Connection(f"https://{address}:{port}", token=token, tls=tls, namespace=namespace, in_pod=True)
