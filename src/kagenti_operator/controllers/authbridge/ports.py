"""Which ports the agent, its sidecar and the forward proxy get: section 6.7."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from typing import Any

from kagenti_operator.contract import RESERVED_PORTS
from kagenti_operator.controllers.authbridge.inputs import Pod, Refusal
from kagenti_operator.controllers.authbridge.pod import all_containers, containers_of, list_at

DEFAULT_PORT = 8000
FIRST_FORWARD_PORT = 8081
_HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Ports:
    """`agent`: where callers reach the agent. `moved`: where it listens behind the sidecar.

    `forward`: the sidecar's forward proxy. `container`: the index of the container whose first port moves,
    None where no container has ports. `name`: of that port.
    """

    agent: int
    moved: int
    forward: int
    container: int | None
    name: str = ""


def ports_of(pod: Pod) -> set[int]:
    """The ports that containers say they listen on."""
    return {port["containerPort"] for it in all_containers(pod) for port in list_at(it, "ports")}


def plan_ports(pod: Pod, reserved: Collection[int] = RESERVED_PORTS) -> Ports:
    """Choose them. Raises Refusal where the agent's own port is one that the sidecar needs."""
    containers = containers_of(pod)
    index = next((i for i, container in enumerate(containers) if container.get("ports")), None)
    first = list_at(containers[index], "ports")[0] if index is not None else dict[str, Any]()
    agent: int = first.get("containerPort", DEFAULT_PORT)
    if agent in reserved:
        listed = ", ".join(map(str, sorted(reserved)))
        raise Refusal(
            f"container {containers[index or 0]['name']} has containerPort {agent}, which the sidecar needs "
            f"itself: choose another one than {listed}"
        )
    used = ports_of(pod) | set(reserved) | {agent}
    moved = _first_free(agent + 1, used)
    forward = _first_free(FIRST_FORWARD_PORT, used | {moved})
    return Ports(agent, moved, forward, index, first.get("name") or "")


def _first_free(start: int, used: Collection[int]) -> int:
    port = next(port for port in count(start) if port not in used)
    if port > _HIGHEST_PORT:
        raise Refusal(f"no port above {start - 1} is free for the sidecar: choose a lower containerPort")
    return port
