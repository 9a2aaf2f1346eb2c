"""Pod networks: a bridge for the node, and for each pod a network namespace with one address on it.

The Service range is local to the node as a whole, so that a Service's address needs no set-up: whoever
listens on it is found by every pod.
"""

import asyncio
import ipaddress
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

BRIDGE = "devcluster0"
NODE_ADDRESS = "10.77.0.1"
POD_CIDR = ipaddress.IPv4Network("10.77.0.0/16")
SERVICE_CIDR = "10.96.0.0/16"

# Left to itself a bridge takes the lowest address of its ports: a new pod may change it, and then those that
# remember the old one cannot reach the node for half a minute. By its first byte this is local and unicast.
_BRIDGE_MAC = "02:00:0a:4d:00:01"
_LOOPBACK_INDEX = 1
_LOCAL_TABLE = 255


class _Netlink(Protocol):
    """The part of pyroute2 that is used; it comes without types."""

    def link(self, command: str, **attributes: object) -> object: ...
    def link_lookup(self, **attributes: object) -> list[int]: ...
    def addr(self, command: str, **attributes: object) -> object: ...
    def route(self, command: str, **attributes: object) -> object: ...


def _open_netlink() -> AbstractContextManager[_Netlink]:
    """A netlink socket of the network namespace that this thread is in."""
    factory = cast("Callable[[], AbstractContextManager[_Netlink]]", import_module("pyroute2").IPRoute)
    return factory()


def set_up_node() -> None:
    """Make the bridge, the node's address on it and the Service range; once, in the node's namespace."""
    with _open_netlink() as netlink:
        netlink.link("set", index=_LOOPBACK_INDEX, state="up")
        netlink.link("add", ifname=BRIDGE, kind="bridge", address=_BRIDGE_MAC)
        bridge = netlink.link_lookup(ifname=BRIDGE)[0]
        netlink.addr("add", index=bridge, address=NODE_ADDRESS, prefixlen=POD_CIDR.prefixlen)
        netlink.link("set", index=bridge, state="up")
        netlink.route(
            "add", dst=SERVICE_CIDR, oif=_LOOPBACK_INDEX, type="local", scope="host", table=_LOCAL_TABLE
        )


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """A pod's address, and the open file that keeps its network namespace alive."""

    address: str
    namespace: int


def _connect(address: str, interface: str) -> int:
    """Make a network namespace with `address`; returns its open file. Leaves the thread where it was."""
    node = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.unshare(os.CLONE_NEWNET)
        try:
            pod = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            inside = _open_netlink()
        finally:
            os.setns(node, os.CLONE_NEWNET)
    finally:
        os.close(node)
    with inside as netlink, _open_netlink() as outside:
        outside.link("add", ifname=interface, kind="veth", peer={"ifname": "eth0", "net_ns_fd": pod})
        bridge = outside.link_lookup(ifname=BRIDGE)[0]
        outside.link("set", index=outside.link_lookup(ifname=interface)[0], master=bridge, state="up")
        netlink.link("set", index=_LOOPBACK_INDEX, state="up")
        inner = netlink.link_lookup(ifname="eth0")[0]
        netlink.addr("add", index=inner, address=address, prefixlen=POD_CIDR.prefixlen)
        netlink.link("set", index=inner, state="up")
        netlink.route("add", dst="default", gateway=NODE_ADDRESS)
    return pod


class PodNetworks:
    """Hands out networks; an address comes back into use as late as possible."""

    def __init__(self) -> None:
        self._addresses = self._cycle()
        self._taken: set[str] = set()
        self._made = 0

    def _cycle(self) -> Iterator[str]:
        while True:
            for address in POD_CIDR.hosts():
                # Addresses that end in .0 or .255 are valid here, and yet some software refuses them.
                if str(address) != NODE_ADDRESS and address.packed[3] not in (0, 255):
                    yield str(address)

    async def connect(self) -> PodNetwork:
        """A new network, reachable from the node and from all pods."""
        address = next(a for a in self._addresses if a not in self._taken)
        self._taken.add(address)
        self._made += 1
        namespace = await asyncio.to_thread(_connect, address, f"pod{self._made}")
        return PodNetwork(address, namespace)

    def disconnect(self, network: PodNetwork) -> None:
        """Give a network back; nothing may run in it any more, so the kernel removes it."""
        os.close(network.namespace)
        self._taken.discard(network.address)
