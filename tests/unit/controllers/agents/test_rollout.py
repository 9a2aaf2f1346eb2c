"""Whether an agent's environment has come from its pod template into its pods."""

from typing import Any

import msgspec
import pytest

from kagenti_operator.controllers.agents.rollout import SLOW_SECONDS, report_rollout
from kagenti_operator.kube.objects.agents import AgentSandbox, AgentWorkload

OLD_PODS = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 0, "availableReplicas": 3}
ROLLED_OUT = {**OLD_PODS, "updatedReplicas": 3}
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
QUOTA = {"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: exceeded quota"}
PROGRESSING = {"type": "Progressing", "status": "True", "message": "well"}


def partition(pods: int) -> dict[str, Any]:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": pods}}}


def workload(status: dict[str, Any], **spec: Any) -> AgentWorkload:
    metadata = {"name": "ledger", "namespace": "team1", "generation": 2}
    raw = {"metadata": metadata, "spec": {"replicas": 3, **spec}, "status": status}
    return msgspec.convert(raw, AgentWorkload)


def said(agent: AgentWorkload | AgentSandbox, seconds: float = 0.0) -> str:
    report = report_rollout(agent, seconds)
    return report.message if report else ""


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (workload(OLD_PODS, paused=True), "is paused: resume it"),
        (workload(OLD_PODS, **ON_DELETE), "OnDelete: delete its pods"),
        (workload(OLD_PODS, **partition(3)), "has a partition"),
        (workload({**OLD_PODS, "updatedReplicas": 1}, **partition(2)), "has a partition"),
        (workload({**OLD_PODS, "conditions": [PROGRESSING, QUOTA]}), "exceeded quota"),
    ],
)
def test_a_template_that_reaches_no_pod_is_reported_at_once(agent: AgentWorkload, words: str) -> None:
    message = said(agent)
    assert "running ones go on without" in message
    assert words in message


def test_pods_that_do_not_become_ready_are_reported_after_some_time() -> None:
    crashing = workload({**OLD_PODS, "conditions": [PROGRESSING]})
    assert said(crashing, SLOW_SECONDS - 1) == ""
    assert "New pods are not ready after 120 s" in said(crashing, SLOW_SECONDS)


@pytest.mark.parametrize("spec", [{}, {"paused": True}, ON_DELETE, partition(2)])
def test_what_is_rolled_out_is_not_reported(spec: dict[str, Any]) -> None:
    assert said(workload(ROLLED_OUT, **spec), 1000) == ""


def test_of_a_sandboxs_pod_nothing_is_known() -> None:
    sandbox = msgspec.convert({"metadata": {"name": "s", "namespace": "team1"}}, AgentSandbox)
    assert said(sandbox, 1000) == ""


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (workload(OLD_PODS), True),
        (workload(ROLLED_OUT), False),
        (workload(OLD_PODS, replicas=0), False),
        (workload(OLD_PODS, paused=True), False),
        (workload(OLD_PODS, **ON_DELETE), False),
        (workload(OLD_PODS, **partition(3)), False),
        (workload(OLD_PODS, **partition(2)), True),
        (workload({**OLD_PODS, "updatedReplicas": 1}, **partition(2)), False),
        (workload({**OLD_PODS, "updatedReplicas": 1, "observedGeneration": 1}, **partition(2)), True),
    ],
)
def test_only_what_rolls_by_itself_keeps_a_place(agent: AgentWorkload, expected: bool) -> None:
    assert agent.is_rolling is expected
