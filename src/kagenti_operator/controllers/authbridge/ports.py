"""Which ports the agent, its sidecar and the forward proxy get: section 6.7."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from kagenti_operator.contract import (
    HEALTH_PORT,
    RESERVED_PORTS,
    SESSION_PORT,
    STATS_PORT,
)
from kagenti_operator.controllers.authbridge.base import Base
from kagenti_operator.controllers.authbridge.inputs import Pod, Refusal
from kagenti_operator.controllers.authbridge.platform_config import PlatformConfig
from kagenti_operator.controllers.authbridge.pod import Container, all_containers, containers_of, list_at

DEFAULT_PORT = 8000
FIRST_FORWARD_PORT = 8081
HIGHEST_PORT = 65535
_PORT = re.compile(r":([0-9]{1,5})$")
# Where a base may have moved them, and where they are otherwise.
_OWN_PORTS = {
    ("listener", "health_addr"): HEALTH_PORT,
    ("stats", "address"): STATS_PORT,
    ("listener", "session_api_addr"): SESSION_PORT,
}


@dataclass(frozen=True)
class Ports:
    """`agent`: where callers reach the agent. `moved`: where it listens behind the sidecar, the same where
    nothing moves. `forward`: the sidecar's forward proxy. `container`: the index of the container whose port
    moves, None where none does. `declared`: that port as the pod has it.
    """

    agent: int
    moved: int
    forward: int
    container: int | None
    declared: Mapping[str, Any]


@dataclass(frozen=True)
class Taken:
    """Ports that the sidecar has for itself. `reserved`: no agent is moved there, or may be reached there.
    `bound`: those of them that it listens on whatever it is for.
    """

    reserved: frozenset[int]
    bound: frozenset[int]


def tcp_ports(container: Container) -> list[Mapping[str, Any]]:
    """The ports of a container that can be proxied."""
    return [port for port in list_at(container, "ports") if port.get("protocol", "TCP") == "TCP"]


def taken_ports(base: Base, platform: PlatformConfig) -> Taken:
    """The sidecar's own ports. Raises Refusal where a base gives two of them the same one."""
    bound: dict[int, str] = {platform.proxy.transparent_port: "its transparent proxy"}
    for path, default in _OWN_PORTS.items():
        found = _PORT.search(base.text(*path))
        port, name = int(found[1]) if found else default, ".".join(path)
        if port in bound:
            raise Refusal(
                f"{name} of {base.where} is port {port}, where the sidecar has {bound[port]} already"
            )
        bound[port] = name
    reserved = {*RESERVED_PORTS, platform.proxy.transparent_inbound_port, *bound}
    return Taken(frozenset(reserved), frozenset(bound))


def blocked_port(pod: Pod, taken: Taken) -> str:
    """The container and port of an agent that is in the sidecar's way, in words; empty where none is."""
    for container in all_containers(pod):
        for port in tcp_ports(container):
            if port["containerPort"] in taken.reserved:
                return f"container {container['name']} has containerPort {port['containerPort']}"
    return ""


def plan_ports(pod: Pod, taken: Taken) -> Ports:
    """Choose them. Raises Refusal where a port of the pod is one that the sidecar needs."""
    containers = containers_of(pod)
    index = next((i for i, container in enumerate(containers) if tcp_ports(container)), None)
    declared = tcp_ports(containers[index])[0] if index is not None else dict[str, Any]()
    agent: int = declared.get("containerPort", DEFAULT_PORT)
    _refuse_taken(pod, agent, taken)
    used = {*_used(pod), *taken.reserved, agent}
    moved = _first_free(agent + 1, used)
    forward = _first_free(FIRST_FORWARD_PORT, used | {moved})
    return Ports(agent, moved, forward, index, declared)


def plan_transparent(pod: Pod, taken: Taken) -> Ports:
    """The same where nothing is moved, because iptables lead calls in to the sidecar."""
    used = {*_used(pod), *taken.reserved}
    forward = _first_free(FIRST_FORWARD_PORT, used)
    return Ports(DEFAULT_PORT, DEFAULT_PORT, forward, None, {})


def _used(pod: Pod) -> set[int]:
    return {
        port["containerPort"] for container in all_containers(pod) for port in list_at(container, "ports")
    }


def _refuse_taken(pod: Pod, agent: int, taken: Taken) -> None:
    for container in all_containers(pod):
        for port in tcp_ports(container):
            number: int = port["containerPort"]
            if number in taken.bound or (number == agent and number in taken.reserved):
                listed = ", ".join(map(str, sorted(taken.reserved)))
                raise Refusal(
                    f"container {container['name']} has containerPort {number}, which the sidecar needs "
                    f"itself: choose another one than {listed}"
                )


def _first_free(start: int, used: Collection[int]) -> int:
    port = next(port for port in count(start) if port not in used)
    if port > HIGHEST_PORT:
        raise Refusal(f"no port above {start - 1} is free for the sidecar: choose a lower containerPort")
    return port
