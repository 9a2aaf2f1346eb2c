"""The cluster at a glance: its phase, components, addresses and pods."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.status import Status
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeStruct


class Waiting(KubeStruct, frozen=True):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""


class Terminated(KubeStruct, frozen=True):
    """How a container ended."""

    reason: str = ""
    exit_code: int = 0


class State(KubeStruct, frozen=True):
    """How a container is."""

    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(KubeStruct, frozen=True):
    """What is shown of a container."""

    ready: bool = False
    restart_count: int = 0
    state: State = State()


class PodStatus(KubeStruct, frozen=True):
    """What is shown of a pod."""

    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    start_time: str = ""


class Meta(KubeStruct, frozen=True):
    """Who a pod is."""

    name: str
    namespace: str
    deletion_timestamp: str | None = None
    creation_timestamp: str = ""


class Pod(KubeStruct, frozen=True):
    """A pod, as far as it is shown."""

    metadata: Meta
    status: PodStatus = PodStatus()


class Pods(KubeStruct, frozen=True):
    """A list of pods."""

    items: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class PodLine:
    """One pod as people see it."""

    namespace: str
    name: str
    ready: str
    state: str
    restarts: int
    age_seconds: int
    address: str
    message: str


def describe_pod(pod: Pod, now: datetime) -> PodLine:
    """Sum a pod up. Pure."""
    containers = pod.status.container_statuses
    state, message = pod.status.phase, ""
    for container in (*pod.status.init_container_statuses, *containers):
        if container.state.waiting and container.state.waiting.reason:
            state, message = container.state.waiting.reason, container.state.waiting.message
            break
        if container.state.terminated and container.state.terminated.exit_code:
            state = container.state.terminated.reason
    if pod.metadata.deletion_timestamp:
        state = "Terminating"
    age = now - datetime.fromisoformat(pod.metadata.creation_timestamp)
    return PodLine(
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        ready=f"{sum(c.ready for c in containers)}/{len(containers)}",
        state=state,
        restarts=sum(c.restart_count for c in containers),
        age_seconds=int(age.total_seconds()),
        address=pod.status.pod_ip,
        message=message,
    )


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that `kagenti-devcluster status` shows."""

    phase: str
    message: str
    platform: str
    kubeconfig: str
    addresses: dict[str, str]
    components: dict[str, str]
    pods: Sequence[PodLine]

    @classmethod
    async def take(cls, paths: StatePaths, status: Status | None, *, running: bool) -> "Overview":
        """Look at a cluster. Raises KubeError when it runs and its API server does not answer."""
        if status is None or not running:
            # What is in the file is of a cluster that was; one that was killed could not say so.
            ended = status is not None and status.phase in {"failed", "stopped"}
            message = status.message if status and ended else ""
            return cls("down", message, "", "", {}, {}, ())
        pods: Sequence[PodLine] = ()
        if status.phase == "ready":
            pods = await _read_pods(paths)
        return cls(
            phase=status.phase,
            message=status.message,
            platform=status.platform,
            kubeconfig=str(paths.kubeconfig),
            addresses=status.addresses,
            components=status.components,
            pods=pods,
        )

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        return asdict(self)


async def _read_pods(paths: StatePaths) -> list[PodLine]:
    async with KubeClient(load_connection({"KUBECONFIG": str(paths.kubeconfig)})) as client:
        pods = msgspec.json.decode(await client.raw("GET", "/api/v1/pods"), type=Pods)
    now = datetime.now(UTC)
    return [describe_pod(pod, now) for pod in pods.items]


def render_age(seconds: int) -> str:
    """An age in the one unit that tells most."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _render_table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def render_overview(overview: Overview) -> str:
    """For people."""
    facts = {"cluster": overview.phase + (f" ({overview.platform})" if overview.platform else "")}
    facts |= overview.components
    if overview.kubeconfig:
        facts["KUBECONFIG"] = overview.kubeconfig
    facts |= overview.addresses
    lines = _render_table(list(facts.items()))
    if overview.message:
        lines.append(overview.message)
    if overview.pods:
        header = ["NAMESPACE", "POD", "READY", "STATE", "RESTARTS", "AGE", "ADDRESS"]
        rows = [
            [p.namespace, p.name, p.ready, p.state, str(p.restarts), render_age(p.age_seconds), p.address]
            for p in overview.pods
        ]
        lines += ["", *_render_table([header, *rows])]
        # Why something does not run is what people came for.
        lines += [f"{p.namespace}/{p.name}: {p.message}" for p in overview.pods if p.message]
    return "\n".join(lines)
