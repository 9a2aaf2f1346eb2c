"""One run of the demo, from its first line to what it leaves behind."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

from kagenti_devcluster.demo.next_steps import describe_next_steps
from kagenti_devcluster.demo.plan import AUTHBRIDGE, PLAN
from kagenti_devcluster.demo.report import Console
from kagenti_devcluster.demo.runner import run_steps
from kagenti_devcluster.demo.stage import Stage
from kagenti_devcluster.host import launcher
from kagenti_devcluster.host.options import ClusterOptions


async def run_demo(
    options: ClusterOptions,
    console: Console,
    environ: Mapping[str, str],
    *,
    once: bool = False,
    keep_going: bool = False,
) -> bool:
    """Run the plan and return whether all checks hold.

    The cluster stays up, with `once` it is taken down, unless it is somebody else's on which nothing ran.
    If this is cancelled or breaks, a cluster that it started is taken down; and so it is, by the watchdog,
    if the process is killed.
    """
    async with AsyncExitStack() as exits:
        stage = Stage(options, console, exits, environ)
        console.headline(
            f"kagenti-operator on a cluster of real binaries that looks like {stage.profile.title}"
        )
        begun = time.monotonic()
        try:
            plan = (*PLAN, *AUTHBRIDGE) if options.keycloak else PLAN
            passed = await run_steps(plan, stage, console, keep_going=keep_going)
        except BaseException:
            if stage.watchdog:
                console.say(["taking the cluster down"])
                await _stop(stage)
            raise
    console.say(
        [f"{'All checks hold' if passed else 'NOT ALL CHECKS HOLD'}, in {time.monotonic() - begun:.0f} s."]
    )
    if once and (stage.watchdog or stage.is_connected):
        await _stop(stage)
        console.say(["The cluster is down; nothing runs any more."])
    else:
        if stage.watchdog:
            stage.watchdog.release()
        if stage.is_connected:
            console.say(describe_next_steps(stage))
    return passed


async def _stop(stage: Stage) -> None:
    await asyncio.to_thread(launcher.stop, stage.paths.root)
    if stage.watchdog:
        stage.watchdog.release()
