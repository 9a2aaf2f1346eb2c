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
from typing import Protocol

from trustme import CA

from kagenti_devcluster.cluster.child_process import ChildProcess
from kagenti_devcluster.cluster.pki import write_certificate
from kagenti_devcluster.testing.group_end import GroupEnd
from kagenti_devcluster.testing.ports import free_port
from kagenti_devcluster.toolchain import environments

# Measured on two cores that others use too: 15 to 60 s.
_START_SECONDS = 240.0
_STOP_SECONDS = 30.0
# Answers of the API server are remembered for so long (300 s by default); tests grant what was refused.
REMEMBERED_SECONDS = 1.0


class Kubernetes(Protocol):
    """The cluster whose namespaces are workspaces, and which MLflow asks who may do what."""

    @property
    def admin_kubeconfig(self) -> Path: ...


class MLflowServer:
    """One server. `url` has no path, whatever static prefix the server was given."""

    def __init__(
        self, cluster: Kubernetes, directory: Path, options: Sequence[str], health: str, environment: str
    ) -> None:
        authority = CA()
        self.ca_file = directory / "ca.crt"
        authority.cert_pem.write_to_path(self.ca_file)
        certificate = directory / "tls.pem"
        write_certificate(certificate, authority.issue_cert("127.0.0.1"))
        self._port = free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self._directory = directory
        self._health = health
        self._command: list[str | Path] = [
            "env",
            *(f"{name}={value}" for name, value in _environment(cluster).items()),
            *(environments.find(environment), "-m", "mlflow", "server"),
            *("--host=127.0.0.1", f"--port={self._port}", "--workers=1"),
            *(f"--backend-store-uri=sqlite:///{self._database}", "--serve-artifacts"),
            f"--artifacts-destination=file://{directory}/artifacts",
            *("--enable-workspaces", "--workspace-store-uri=kubernetes://", "--app-name=kubernetes-auth"),
            f"--uvicorn-opts=--ssl-keyfile={certificate} --ssl-certfile={certificate}",
            *options,
        ]
        self._daemon = self._launch()
        self._group_end = GroupEnd(self._daemon.pid)

    @property
    def _database(self) -> Path:
        return self._directory / "mlflow.db"

    def _launch(self) -> ChildProcess:
        return ChildProcess(
            "mlflow", self._command, directory=self._directory, log=self._directory / "mlflow.log"
        )

    def wait_until_healthy(self) -> None:
        context = ssl.create_default_context(cafile=self.ca_file)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self._daemon.check()
            try:
                with urllib.request.urlopen(f"{self.url}{self._health}", timeout=5, context=context):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"MLflow is not healthy after {_START_SECONDS:g} s: {self._daemon.tail()}")

    def start_again(self) -> None:
        """Under the same address, after `stop`."""
        self._daemon = self._launch()
        self._group_end = GroupEnd(self._daemon.pid)
        self.wait_until_healthy()

    def stop(self) -> None:
        # Killed outright, `mlflow server` would leave its server process behind, which is in the same group.
        with suppress(ProcessLookupError):
            os.killpg(self._daemon.pid, signal.SIGTERM)
        self._daemon.terminate(10)
        # The server process goes after the one that started it, and would answer in the next one's place.
        deadline = time.monotonic() + _STOP_SECONDS
        while self._is_listening():
            if time.monotonic() > deadline:
                raise TimeoutError(f"MLflow still listens after {_STOP_SECONDS:g} s: {self._daemon.tail()}")
            time.sleep(0.1)
        self._group_end.release()

    def _is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def lose_data(self) -> None:
        """As when its volume is gone: the next start begins with an empty database."""
        self._database.unlink()


@contextmanager
def running_mlflow(
    cluster: Kubernetes,
    directory: Path,
    *,
    options: Sequence[str] = (),
    health: str = "/health",
    environment: str = environments.DEFAULT_MLFLOW,
) -> Generator[MLflowServer]:
    """Start an environment's MLflow on that cluster; its data, certificate and log lie in the directory."""
    server = MLflowServer(cluster, directory, options, health, environment)
    try:
        server.wait_until_healthy()
        yield server
    finally:
        server.stop()


def _environment(cluster: Kubernetes) -> Mapping[str, str]:
    return {
        "KUBECONFIG": str(cluster.admin_kubeconfig),
        "MLFLOW_K8S_AUTH_CACHE_TTL_SECONDS": f"{REMEMBERED_SECONDS:g}",
        # Seven processes of 230 MiB each that nothing here uses.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
    }
