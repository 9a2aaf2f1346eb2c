"""Where a cluster keeps what: the state directory and everything in it."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


def default_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """`$KAGENTI_DEVCLUSTER_DIR`, else `kagenti-devcluster` in the user's directory for state."""
    if own := environ.get("KAGENTI_DEVCLUSTER_DIR"):
        return Path(own).expanduser().absolute()
    base = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return Path(base).absolute() / "kagenti-devcluster"


def directory_option(directory: Path, environ: Mapping[str, str] = os.environ) -> str:
    """What a command needs besides to be about this directory, for a shell; nothing for the default."""
    return "" if directory == default_directory(environ) else f" --directory {shlex.quote(str(directory))}"


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The layout of the state directory; readable by its owner only, because it holds credentials."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the running cluster, for as long as it lives."""
        return self.root / "lock"

    @property
    def pid(self) -> Path:
        """Which process holds the lock."""
        return self.root / "daemon.json"

    @property
    def status(self) -> Path:
        """What the cluster says of itself."""
        return self.root / "status.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, for the machine."""
        return self.root / "kubeconfig"

    @property
    def node_log(self) -> Path:
        """Log of the node and of the platform's stand-ins."""
        return self.root / "node.log"

    @property
    def control_plane(self) -> Path:
        """Data, keys and logs of the control plane."""
        return self.root / "control-plane"

    @property
    def signing_key(self) -> Path:
        """What the API server signs ServiceAccount tokens with."""
        return self.control_plane / "serviceaccount.key"

    @property
    def audit_log(self) -> Path:
        """Who asked the API server for what; kept until the next start."""
        return self.control_plane / "audit.log"

    @property
    def run(self) -> Path:
        """Sockets."""
        return self.root / "run"

    @property
    def pods(self) -> Path:
        """Volumes of pods, while they exist."""
        return self.root / "pods"

    @property
    def claims(self) -> Path:
        """Volumes that outlive pods."""
        return self.root / "claims"

    @property
    def logs(self) -> Path:
        """Logs of containers, by namespace and pod; kept until the next start."""
        return self.root / "logs"

    @property
    def helm(self) -> Path:
        """What the demo's helm remembers."""
        return self.root / "helm"

    def container_log(self, namespace: str, pod: str, container: str) -> Path:
        """Log of one container."""
        return self.logs / namespace / pod / f"{container}.log"

    @property
    def volatile(self) -> tuple[Path, ...]:
        """What a start begins without."""
        return (self.control_plane, self.run, self.pods, self.claims, self.kubeconfig)
