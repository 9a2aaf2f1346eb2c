"""The cluster's brain: real etcd, kube-apiserver and kube-controller-manager as child processes.

The integration tests run it on plain loopback, the cluster inside its own network namespace. etcd listens on
Unix sockets in the directory, so nobody else on the machine can reach it; only the API server has a port.
"""

import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from trustme import CA

from kagenti_devcluster.cluster.child_process import ChildProcess
from kagenti_devcluster.cluster.kubeconfig import build_kubeconfig, certificate_user, write_kubeconfig
from kagenti_devcluster.cluster.pki import (
    generate_signing_key,
    issue_client,
    write_certificate,
    write_private,
)
from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.toolchain import binaries

_START_SECONDS = 120.0
_POLL_SECONDS = 0.1
_STOP_SECONDS = 10.0
# A host in a `unix` URL becomes a socket of that name in the working directory: no path length limit.
_ETCD_URL = "unix://etcd.sock:0"
_ETCD_PEER_URL = "unix://peer.sock:0"
ISSUER = "https://kubernetes.default.svc.cluster.local"

# What gives real rollouts, EndpointSlices, ServiceAccounts, garbage collection and aggregated ClusterRoles.
# No node lifecycle controller: the cluster's node lives exactly as long as the cluster.
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    # Without it a claim, once made, can never be deleted.
    "persistentvolumeclaim-protection-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
    "ttl-after-finished-controller",
)

# Of each of the two parts of the audit log.
_AUDIT_MEGABYTES = 200
# Who asked for what, once per request: enough to count requests in a test.
_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
"""


class ControlPlane:
    """etcd, kube-apiserver and kube-controller-manager on one address.

    Synchronous: `start` returns when the API server is ready. Everything dies with this process.
    """

    def __init__(
        self,
        directory: Path,
        *,
        bind_address: str = "127.0.0.1",
        advertise_address: str | None = None,
        controller_manager: bool = True,
        service_cidr: str = "10.96.0.0/16",
        audit: bool = False,
    ):
        self._directory = directory
        self._bind_address = bind_address
        self._advertise_address = advertise_address
        self._with_controller_manager = controller_manager
        self._service_cidr = service_cidr
        self._audit = audit
        self._etcd: ChildProcess | None = None
        self._apiserver: ChildProcess | None = None
        self._controller_manager: ChildProcess | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.admin_kubeconfig = directory / "admin.kubeconfig"
        self.audit_log = directory / "audit.log"
        # Held for our whole life (bound, never listening), so that the port is still ours when the API server
        # starts again; the API server shares it through SO_REUSEPORT.
        self._reservation = socket.socket()
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reservation.bind((bind_address, 0))
        self.port: int = self._reservation.getsockname()[1]
        self.authority = CA()
        self._write_credentials()

    @property
    def address(self) -> str:
        """The address at which clients find the API server."""
        return self._advertise_address or self._bind_address

    @property
    def server_url(self) -> str:
        """Base URL of the API server."""
        return f"https://{self.address}:{self.port}"

    def _write_credentials(self) -> None:
        authority = self.authority
        authority.cert_pem.write_to_path(self._directory / "ca.crt")
        service_ip = self._service_cidr.split("/")[0].rsplit(".", 1)[0] + ".1"
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1"]
        names += ["kubernetes.default.svc.cluster.local", service_ip]
        if self.address not in names:
            names.append(self.address)
        write_certificate(self._directory / "apiserver.pem", authority.issue_cert(*names))
        kubelet_client = issue_client(authority, "kube-apiserver-kubelet-client")
        write_certificate(self._directory / "kubelet-client.pem", kubelet_client)
        write_private(self._directory / "serviceaccount.key", generate_signing_key())
        (self._directory / "audit-policy.yaml").write_text(_AUDIT_POLICY)
        self._write_kubeconfig_for_user(self.admin_kubeconfig, "kubernetes-admin", "system:masters")
        self._write_kubeconfig_for_user(
            self._directory / "controller-manager.kubeconfig", "system:kube-controller-manager"
        )

    def _write_kubeconfig_for_user(self, path: Path, user: str, group: str | None = None) -> None:
        credential = certificate_user(issue_client(self.authority, user, group))
        kubeconfig = build_kubeconfig(self.server_url, self.authority.cert_pem.bytes(), credential)
        write_kubeconfig(path, kubeconfig)

    def kubeconfig_for_token(self, token: str, path: Path, namespace: str = "default") -> Path:
        """Write a kubeconfig that authenticates with a bearer token."""
        kubeconfig = build_kubeconfig(
            self.server_url, self.authority.cert_pem.bytes(), {"token": token}, namespace
        )
        write_kubeconfig(path, kubeconfig)
        return path

    def start(self) -> None:
        """Start everything; returns when the API server is ready and the controllers run.

        Raises DevClusterError with the end of the log when a component exits or is not ready in time.
        """
        self.start_etcd()
        self.start_apiserver()
        if self._with_controller_manager:
            self.start_controller_manager()

    def stop(self) -> None:
        """Stop everything, clients first. Safe to call at any time, more than once."""
        for process in (self._controller_manager, self._apiserver, self._etcd):
            if process is not None:
                process.terminate(_STOP_SECONDS)
        self._controller_manager = self._apiserver = self._etcd = None

    def close(self) -> None:
        """Stop everything and give the port back."""
        self.stop()
        self._reservation.close()

    @property
    def components(self) -> list[ChildProcess]:
        """What was started and not stopped, in the order of starting."""
        return [d for d in (self._etcd, self._apiserver, self._controller_manager) if d is not None]

    def revive(self, name: str) -> None:
        """Start a component again that has exited; does not wait for it."""
        match name:
            case "etcd":
                self.start_etcd()
            case "kube-apiserver":
                self.start_apiserver(wait=False)
            case "kube-controller-manager":
                self.start_controller_manager()
            case _:
                raise DevClusterError(f"the control plane has no component {name}")

    def start_etcd(self) -> None:
        """Start etcd on its Unix socket."""
        command: list[str | Path] = [
            binaries.find("etcd"),
            "--name=devcluster",
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={_ETCD_URL}",
            f"--advertise-client-urls={_ETCD_URL}",
            f"--listen-peer-urls={_ETCD_PEER_URL}",
            f"--initial-advertise-peer-urls={_ETCD_PEER_URL}",
            f"--initial-cluster=devcluster={_ETCD_PEER_URL}",
            # The data does not outlive a crash of the machine, and need not.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]
        self._etcd = self._spawn("etcd", command)

    def start_apiserver(self, *, wait: bool = True) -> None:
        """Start kube-apiserver and wait until it is ready; after `kill_apiserver` on the same port again."""
        directory = self._directory
        command: list[str | Path] = [
            binaries.find("kube-apiserver"),
            f"--etcd-servers={_ETCD_URL}",
            f"--bind-address={self._bind_address}",
            f"--secure-port={self.port}",
            "--permit-port-sharing=true",
            f"--tls-cert-file={directory / 'apiserver.pem'}",
            f"--tls-private-key-file={directory / 'apiserver.pem'}",
            f"--client-ca-file={directory / 'ca.crt'}",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={directory / 'serviceaccount.key'}",
            f"--service-account-signing-key-file={directory / 'serviceaccount.key'}",
            f"--service-cluster-ip-range={self._service_cidr}",
            f"--kubelet-certificate-authority={directory / 'ca.crt'}",
            f"--kubelet-client-certificate={directory / 'kubelet-client.pem'}",
            f"--kubelet-client-key={directory / 'kubelet-client.pem'}",
            "--authorization-mode=RBAC",
            # As on OpenShift: who changes an object's owner must be allowed to delete it.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
            "--allow-privileged=true",
            "--profiling=false",
        ]
        if self._advertise_address is None:
            # EndpointSlices refuse loopback addresses.
            command.append("--endpoint-reconciler-type=none")
        else:
            command.append(f"--advertise-address={self._advertise_address}")
        if self._audit:
            command.append(f"--audit-policy-file={directory / 'audit-policy.yaml'}")
            command.append(f"--audit-log-path={self.audit_log}")
            command.append("--audit-log-mode=blocking")
            command.append(f"--audit-log-maxsize={_AUDIT_MEGABYTES}")
            command.append("--audit-log-maxbackup=1")
        self._apiserver = self._spawn("kube-apiserver", command)
        if wait:
            self._wait(self._apiserver, self._apiserver_is_ready)

    def kill_apiserver(self) -> None:
        """SIGKILL the API server, as a crash would."""
        if self._apiserver is not None:
            self._apiserver.kill()
            self._apiserver = None

    def start_controller_manager(self) -> None:
        """Start kube-controller-manager."""
        kubeconfig = self._directory / "controller-manager.kubeconfig"
        command: list[str | Path] = [
            binaries.find("kube-controller-manager"),
            f"--kubeconfig={kubeconfig}",
            f"--controllers={','.join(CONTROLLERS)}",
            "--use-service-account-credentials=true",
            f"--root-ca-file={self._directory / 'ca.crt'}",
            f"--service-account-private-key-file={self._directory / 'serviceaccount.key'}",
            # One of its kind: no election, and nobody asks it for its health.
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=100",
            "--kube-api-burst=200",
            "--profiling=false",
        ]
        self._controller_manager = self._spawn("kube-controller-manager", command)

    def _spawn(self, name: str, command: list[str | Path]) -> ChildProcess:
        return ChildProcess(name, command, directory=self._directory, log=self._directory / f"{name}.log")

    def _wait(self, process: ChildProcess, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            for component in self.components:
                component.check()
            if time.monotonic() > deadline:
                raise DevClusterError(
                    f"{process.name} was not ready within {_START_SECONDS:.0f} s; {process.tail()}"
                )
            time.sleep(_POLL_SECONDS)

    def _apiserver_is_ready(self) -> bool:
        context = ssl.create_default_context(cadata=self.authority.cert_pem.bytes().decode())
        try:
            with urllib.request.urlopen(f"{self.server_url}/readyz", timeout=5, context=context):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def erase(self) -> None:
        """Remove the directory with all data, keys and logs; only after `close`."""
        shutil.rmtree(self._directory)
