"""How a container is, and what follows from that for its pod's status. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kagenti_devcluster.node.models import Container, Pod


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running, for a reason."""

    reason: str = "PodInitializing"
    message: str = ""

    def to_wire(self) -> dict[str, Any]:
        """As the API has it."""
        return {"waiting": _without_empty({"reason": self.reason, "message": self.message})}


@dataclass(frozen=True, slots=True)
class Running:
    """Running since."""

    started_at: datetime

    def to_wire(self) -> dict[str, Any]:
        """As the API has it."""
        return {"running": {"startedAt": to_time(self.started_at)}}


@dataclass(frozen=True, slots=True)
class Terminated:
    """Ended, with an exit code as shells count it."""

    exit_code: int
    started_at: datetime
    finished_at: datetime
    reason: str = ""
    message: str = ""

    def to_wire(self) -> dict[str, Any]:
        """As the API has it."""
        reason = self.reason or ("Completed" if self.exit_code == 0 else "Error")
        return {
            "terminated": _without_empty(
                {"reason": reason, "message": self.message, "signal": max(self.exit_code - 128, 0)}
            )
            | {
                "exitCode": self.exit_code,
                "startedAt": to_time(self.started_at),
                "finishedAt": to_time(self.finished_at),
            }
        }


type State = Waiting | Running | Terminated


@dataclass(slots=True, eq=False)
class ContainerRecord:
    """What is known of one container of a pod."""

    container: Container
    state: State = field(default_factory=Waiting)
    last: Terminated | None = None
    restarts: int = 0
    ready: bool = False
    # None without a startup probe until it runs.
    started: bool = False

    def to_wire(self) -> dict[str, Any]:
        """As the API has it."""
        return {
            "name": self.container.name,
            "image": self.container.image,
            "imageID": "",
            "state": self.state.to_wire(),
            "lastState": self.last.to_wire() if self.last else {},
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
        }

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return isinstance(self.state, Terminated) and self.state.exit_code == 0

    @property
    def is_sidecar(self) -> bool:
        """Whether it is an init container that stays."""
        return self.container.restart_policy == "Always"


def to_time(moment: datetime) -> str:
    """A time as the API has it, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def is_initialized(init: Iterable[ContainerRecord]) -> bool:
    """Whether the containers may start."""
    return all(r.started if r.is_sidecar else r.succeeded for r in init)


def _never_ran(record: ContainerRecord) -> bool:
    return isinstance(record.state, Waiting) and record.last is None


def decide_phase(policy: str, init: Sequence[ContainerRecord], containers: Sequence[ContainerRecord]) -> str:
    """A pod's phase by its containers, as the kubelet's getPhase decides."""
    if not is_initialized(init):
        failed = any(isinstance(r.state, Terminated) and r.state.exit_code for r in init)
        return "Failed" if failed and policy == "Never" else "Pending"
    if any(_never_ran(record) for record in containers):
        return "Pending"
    if policy == "Always" or not all(isinstance(r.state, Terminated) for r in containers):
        return "Running"
    if all(record.succeeded for record in containers):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _build_conditions(
    phase: str, init: Sequence[ContainerRecord], containers: Sequence[ContainerRecord]
) -> list[tuple[str, bool, str, str]]:
    unready = [r.container.name for r in containers if not r.ready]
    ended = phase in {"Succeeded", "Failed"}
    ready = not unready and not ended
    reason = message = ""
    if ended:
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
    elif unready:
        reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    pending = [r.container.name for r in init if not (r.started if r.is_sidecar else r.succeeded)]
    init_message = f"containers with incomplete status: [{' '.join(pending)}]" if pending else ""
    return [
        ("PodScheduled", True, "", ""),
        ("Initialized", not pending, "ContainersNotInitialized" if pending else "", init_message),
        ("ContainersReady", ready, reason, message),
        ("Ready", ready, reason, message),
    ]


def build_status(
    pod: Pod,
    *,
    address: str,
    node_address: str,
    init: Sequence[ContainerRecord],
    containers: Sequence[ContainerRecord],
    started_at: datetime,
    now: datetime,
    before: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The pod's whole status. `before` is the one reported last, for the times of unchanged conditions."""
    phase = decide_phase(pod.spec.restart_policy, init, containers)
    times = {c.type: (c.status, c.last_transition_time) for c in pod.status.conditions or ()}
    for condition in (before or {}).get("conditions", ()):
        times[condition["type"]] = (condition["status"], condition["lastTransitionTime"])
    conditions: list[dict[str, Any]] = []
    for kind, holds, reason, message in _build_conditions(phase, init, containers):
        status = "True" if holds else "False"
        known_status, known_time = times.get(kind, ("", None))
        since = known_time if known_status == status and known_time else to_time(now)
        condition = {"type": kind, "status": status, "lastTransitionTime": since}
        conditions.append(condition | _without_empty({"reason": reason, "message": message}))
    return {
        "phase": phase,
        "conditions": conditions,
        "hostIP": node_address,
        "hostIPs": [{"ip": node_address}],
        "startTime": to_time(started_at),
        "initContainerStatuses": [record.to_wire() for record in init],
        "containerStatuses": [record.to_wire() for record in containers],
    } | ({"podIP": address, "podIPs": [{"ip": address}]} if address else {})
