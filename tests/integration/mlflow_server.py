"""A real MLflow server with workspaces and Kubernetes authorization, on loopback, with TLS."""

import os
import signal
import socket
import ssl
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kagenti_operator.sandbox import environments
from kagenti_operator.sandbox.daemon import Daemon
from kagenti_operator.sandbox.pki import CertificateAuthority

from .conftest import Cluster

# Measured on two cores that others use too: 15 to 60 s.
_START_SECONDS = 240.0
# Answers of the API server are remembered for so long (300 s by default); tests grant what was refused.
REMEMBERED_SECONDS = 1.0


class MLflowServer:
    """One running server. `url` has no path, whatever static prefix the server was given."""

    def __init__(self, directory: Path, port: int, daemon: Daemon) -> None:
        self.ca_file = directory / "ca.crt"
        self.url = f"https://127.0.0.1:{port}"
        self._daemon = daemon

    def wait_until_healthy(self, path: str) -> None:
        context = ssl.create_default_context(cafile=self.ca_file)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self._daemon.check()
            try:
                with urllib.request.urlopen(f"{self.url}{path}", timeout=5, context=context):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"MLflow is not healthy after {_START_SECONDS:g} s: {self._daemon.tail()}")


@contextmanager
def running_mlflow(
    cluster: Cluster, directory: Path, *, options: Sequence[str] = (), health: str = "/health"
) -> Generator[MLflowServer]:
    """Start MLflow on that cluster; its data, certificate and log lie in the directory."""
    authority = CertificateAuthority("service-ca")
    (directory / "ca.crt").write_bytes(authority.certificate)
    certificate, key = directory / "tls.crt", directory / "tls.key"
    authority.issue_server("mlflow", ["127.0.0.1"]).write(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port: int = reserved.getsockname()[1]
    command: list[str | Path] = [
        "env",
        *(f"{name}={value}" for name, value in _environment(cluster).items()),
        *(environments.find("mlflow"), "-m", "mlflow", "server"),
        *("--host=127.0.0.1", f"--port={port}", "--workers=1"),
        *(f"--backend-store-uri=sqlite:///{directory}/mlflow.db", "--serve-artifacts"),
        f"--artifacts-destination=file://{directory}/artifacts",
        *("--enable-workspaces", "--workspace-store-uri=kubernetes://", "--app-name=kubernetes-auth"),
        f"--uvicorn-opts=--ssl-keyfile={key} --ssl-certfile={certificate}",
        *options,
    ]
    daemon = Daemon("mlflow", command, directory=directory, log=directory / "mlflow.log")
    try:
        server = MLflowServer(directory, port, daemon)
        server.wait_until_healthy(health)
        yield server
    finally:
        _stop(daemon)


def _environment(cluster: Cluster) -> Mapping[str, str]:
    return {
        "KUBECONFIG": str(cluster.admin_kubeconfig),
        "MLFLOW_K8S_AUTH_CACHE_TTL_SECONDS": f"{REMEMBERED_SECONDS:g}",
        # Seven processes of 230 MiB each that nothing here uses.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
    }


def _stop(daemon: Daemon) -> None:
    # Killed outright, `mlflow server` would leave its server process behind, which is in the same group.
    with suppress(ProcessLookupError):
        os.killpg(daemon.pid, signal.SIGTERM)
    daemon.terminate(10)
