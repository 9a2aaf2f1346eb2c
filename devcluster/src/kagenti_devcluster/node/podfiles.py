"""The files of a pod in its containers' /etc."""

from collections.abc import Iterable
from pathlib import Path

from kagenti_devcluster.node.hosts import Entry, render_hosts
from kagenti_devcluster.node.models import Pod
from kagenti_devcluster.node.network import NODE_ADDRESS
from kagenti_devcluster.node.rootfs import Mount

# Nobody answers there, at once: a name that is not in the hosts file is not waited for.
_RESOLV_CONF = f"nameserver {NODE_ADDRESS}\noptions attempts:1 timeout:1\n"


class PodFiles:
    """The files that every container of a pod sees in /etc."""

    def __init__(self, directory: Path, pod: Pod) -> None:
        self.directory = directory
        self._pod = pod
        self._hosts = ""

    def write(self) -> None:
        """Make the files whose content stays."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.resolv_conf.write_text(_RESOLV_CONF)
        self.hostname.write_text(f"{self._pod.spec.hostname or self._pod.metadata.name}\n")

    def write_hosts(self, address: str, entries: Iterable[Entry]) -> None:
        """Replace the content in one write, and not the file: containers see this very file."""
        content = render_hosts(address, self._names(), entries)
        if content == self._hosts:
            return
        self._hosts = content
        encoded = content.encode()
        with self.hosts.open("r+b" if self.hosts.exists() else "w+b", buffering=0) as file:
            file.write(encoded)
            file.truncate(len(encoded))

    def _names(self) -> list[str]:
        metadata, spec = self._pod.metadata, self._pod.spec
        hostname = spec.hostname or metadata.name
        if not spec.subdomain:
            return [hostname]
        return [f"{hostname}.{spec.subdomain}.{metadata.namespace}.svc.cluster.local", hostname]

    @property
    def hosts(self) -> Path:
        """Names and addresses."""
        return self.directory / "hosts"

    @property
    def resolv_conf(self) -> Path:
        """Where names are asked for."""
        return self.directory / "resolv.conf"

    @property
    def hostname(self) -> Path:
        """The pod's name."""
        return self.directory / "hostname"

    @property
    def mounts(self) -> list[Mount]:
        """Where containers see them."""
        return [
            Mount("/etc/hosts", str(self.hosts), "file"),
            Mount("/etc/resolv.conf", str(self.resolv_conf), "file"),
            Mount("/etc/hostname", str(self.hostname), "file"),
        ]
