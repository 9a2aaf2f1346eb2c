"""Runs steps in order, and reports each one's outcome and how long it took."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from kagenti_devcluster.demo.failures import Hop, StepFailed
from kagenti_devcluster.demo.report import Console, Outcome
from kagenti_devcluster.errors import DevClusterError
from kagenti_operator.kube.errors import KubeError


@dataclass(frozen=True, kw_only=True)
class Step[S]:
    """One step of a plan on a stage `S`; `run` raises StepFailed when a check does not hold."""

    title: str
    checks: str
    run: Callable[[S], Awaitable[Outcome]]


async def run_steps[S](
    steps: Sequence[Step[S]], stage: S, console: Console, *, keep_going: bool = False
) -> bool:
    """Run the steps and return whether all checks hold.

    After a failure the rest is skipped, unless `keep_going`.
    """
    failed = False
    for number, step in enumerate(steps, 1):
        if failed and not keep_going:
            console.skipped(number, len(steps), step.title)
            continue
        console.begin(number, len(steps), step.title, step.checks)
        begun = time.monotonic()
        try:
            outcome = await _run(step, stage)
        except StepFailed as failure:
            failed = True
            console.failed(failure, time.monotonic() - begun)
        else:
            console.passed(outcome, time.monotonic() - begun)
    return not failed


async def _run[S](step: Step[S], stage: S) -> Outcome:
    try:
        return await step.run(stage)
    except KubeError as error:
        raise StepFailed("the demo → API server", str(error), advice="kagenti-devcluster logs") from error
    except DevClusterError as error:
        first, *rest = str(error).splitlines()
        raise StepFailed(Hop.CLUSTER, first, excerpt=rest, advice="kagenti-devcluster logs") from error
