"""Pure: whether an agent's environment has come from its pod template into its pods."""

from dataclasses import dataclass

from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.runtime.telemetry.reporter import Report

# Pods that take longer than this to become ready are reported.
SLOW_SECONDS = 120.0
_WAITS_FOR = {
    "paused": "The Deployment is paused: resume it",
    "OnDelete": "Its update strategy is OnDelete: delete its pods",
    "partition": "Its update strategy has a partition, below which pods keep theirs: lower it",
}


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An environment that was written and not announced: `since` by the loop's clock, at that generation."""

    injection: Injection
    generation: int
    since: float


def report_rollout(agent: Agent, seconds: float) -> Report | None:
    """Report a template that was accepted `seconds` ago and pods do not get; None where they may yet."""
    if agent.is_rolled_out:
        return None
    if held := agent.held_back:
        why = _WAITS_FOR[held]
    elif failure := agent.failure:
        why = f"New pods cannot be made: {failure}"
    elif seconds >= SLOW_SECONDS:
        why = f"New pods are not ready after {SLOW_SECONDS:.0f} s: see their state and log"
    else:
        return None
    return Report(
        reason="MLflowNotRolledOut",
        message="MLFLOW_* variables are in the pod template, but not in all pods: running ones go on "
        f"without. {why}.",
    )
