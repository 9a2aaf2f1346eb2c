"""A pod's status by how its containers are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kagenti_devcluster.node.state import (
    ContainerRecord,
    Running,
    Terminated,
    Waiting,
    build_status,
    decide_phase,
)
from tests.unit.devcluster.node.builders import build_container, build_pod

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OK = Terminated(0, NOW, NOW)
BAD = Terminated(3, NOW, NOW)


def record(state: Waiting | Running | Terminated, *, ready: bool = False, **fields: Any) -> ContainerRecord:
    return ContainerRecord(build_container(), state, ready=ready, **fields)


def crashing() -> ContainerRecord:
    return record(Waiting("CrashLoopBackOff"), last=BAD)


@pytest.mark.parametrize(
    ("policy", "containers", "phase"),
    [
        ("Always", [record(Waiting())], "Pending"),
        ("Always", [record(Running(NOW)), record(Waiting())], "Pending"),
        ("Always", [record(Running(NOW))], "Running"),
        ("Always", [crashing()], "Running"),
        ("Always", [record(OK)], "Running"),
        ("OnFailure", [record(OK), record(OK)], "Succeeded"),
        ("OnFailure", [record(OK), record(BAD)], "Running"),
        ("OnFailure", [record(OK), record(Running(NOW))], "Running"),
        ("Never", [record(OK), record(BAD)], "Failed"),
        ("Never", [record(OK)], "Succeeded"),
    ],
)
def test_the_phase_is_the_kubelets(policy: str, containers: list[ContainerRecord], phase: str) -> None:
    assert decide_phase(policy, [], containers) == phase


@pytest.mark.parametrize(
    ("policy", "init", "phase"),
    [
        ("Always", [record(OK), record(Running(NOW))], "Pending"),
        ("Never", [record(BAD)], "Failed"),
        ("OnFailure", [record(BAD)], "Pending"),
        ("Always", [record(OK)], "Running"),
    ],
)
def test_a_pod_is_pending_until_its_init_containers_are_done(
    policy: str, init: list[ContainerRecord], phase: str
) -> None:
    assert decide_phase(policy, init, [record(Running(NOW))]) == phase


def status(containers: list[ContainerRecord], **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"address": "10.77.0.9", "node_address": "10.77.0.1", "init": []}
    given |= {"started_at": NOW, "now": NOW, **fields}
    return build_status(build_pod(), containers=containers, **given)


def conditions(built: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c.get("reason", "")) for c in built["conditions"]}


def test_a_pod_is_ready_when_all_its_containers_are() -> None:
    built = status([record(Running(NOW), ready=True, started=True)])
    assert {kind: state for kind, (state, _) in conditions(built).items()} == {
        "PodScheduled": "True",
        "Initialized": "True",
        "ContainersReady": "True",
        "Ready": "True",
    }
    assert built["containerStatuses"][0]["state"] == {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    assert built["podIP"] == "10.77.0.9"


def test_a_pod_says_which_containers_are_not_ready() -> None:
    built = status([record(Running(NOW), ready=True), record(Running(NOW))])
    assert conditions(built)["Ready"] == ("False", "ContainersNotReady")
    assert "[main]" in built["conditions"][3]["message"]


def test_a_pod_that_has_completed_is_not_ready() -> None:
    built = build_status(
        build_pod(restartPolicy="Never"),
        containers=[record(OK)],
        init=[],
        address="",
        node_address="",
        started_at=NOW,
        now=NOW,
    )
    assert built["phase"] == "Succeeded"
    assert conditions(built)["Ready"] == ("False", "PodCompleted")
    assert "podIP" not in built
    assert built["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    later = NOW + timedelta(hours=1)
    before = status([record(Running(NOW))])
    same = status([record(Running(NOW))], before=before, now=later)
    assert same == before
    changed = status([record(Running(NOW), ready=True)], before=before, now=later)
    times = {c["type"]: c["lastTransitionTime"] for c in changed["conditions"]}
    assert times["Initialized"] == "2026-01-02T03:04:05Z"
    assert times["Ready"] == "2026-01-02T04:04:05Z"


def test_a_killed_container_shows_the_signal() -> None:
    killed = record(Waiting("CrashLoopBackOff"), last=Terminated(137, NOW, NOW), restarts=2)
    wire = killed.to_wire()
    assert wire["lastState"]["terminated"]["signal"] == 9
    assert wire["lastState"]["terminated"]["reason"] == "Error"
    assert wire["restartCount"] == 2
