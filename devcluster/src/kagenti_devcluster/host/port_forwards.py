"""Port forwards into the cluster, and its egress: sockets of the host daemon's, served from the inside."""

import socket
from collections.abc import Callable

import msgspec

from kagenti_devcluster.cluster.proxy import (
    Dial,
    End,
    Opened,
    Proxy,
    listen,
    open_directory,
    open_tcp,
    open_unix,
)
from kagenti_devcluster.host.egress import PORT as EGRESS_PORT
from kagenti_devcluster.host.egress import SOCKET as EGRESS_SOCKET
from kagenti_devcluster.host.options import ClusterOptions, Published
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.node.network import NODE_ADDRESS, POD_CIDR, SERVICE_CIDR
from kagenti_devcluster.node.node import Node

API_SERVER = "kubernetes"


class Inheritance(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon hands over: options, and by name the listening sockets and their ports."""

    options: str
    listeners: dict[str, int]
    ports: dict[str, int]


class _PortForward:
    """Connects the machine to a Service, as soon as there is one."""

    def __init__(self, node: Node, published: Published):
        self._node = node
        self._published = published

    async def dial(self, factory: Callable[[], End]) -> Opened:
        """Connect to the Service. Raises OSError."""
        published = self._published
        address = self._node.service_address(published.namespace, published.service)
        if address is None:
            raise ConnectionRefusedError(f"there is no Service {published.namespace}/{published.service}")
        return await open_tcp(factory, address, published.port)


async def start_port_forwards(
    inheritance: Inheritance, options: ClusterOptions, paths: StatePaths, api_port: int, node: Node
) -> None:
    """Forward ports to the API server and to published Services, and pods' egress to the daemon's proxy."""

    async def admit(name: str, dial: Dial) -> None:
        listener = socket.socket(fileno=inheritance.listeners[name])
        listener.setblocking(False)
        await Proxy(name, listener, dial).start()

    await admit(API_SERVER, lambda factory: open_tcp(factory, NODE_ADDRESS, api_port))
    for published in options.published:
        await admit(published.name, _PortForward(node, published).dial)
    run = open_directory(paths.run)
    egress = Proxy(
        "egress",
        listen(NODE_ADDRESS, EGRESS_PORT),
        lambda factory: open_unix(factory, run, EGRESS_SOCKET),
    )
    await egress.start()


def direct_hosts() -> list[str]:
    """Where pods go without the proxy: to each other, to Services, to themselves."""
    return ["localhost", "127.0.0.1", str(POD_CIDR), SERVICE_CIDR, ".svc", ".cluster.local"]
