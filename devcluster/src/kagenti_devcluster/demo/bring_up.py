"""Starts the demo's cluster so that nothing of it is left if the demo is interrupted or killed."""

import asyncio

from kagenti_devcluster.demo.parent_death import Watchdog
from kagenti_devcluster.demo.stage import Stage
from kagenti_devcluster.host import launcher
from kagenti_devcluster.host.status import Status

_AGAIN_SECONDS = 0.2


async def bring_up(stage: Stage) -> Status:
    """Start a cluster under a watchdog. Raises DevClusterError; cancelled, it leaves nothing."""
    stage.watchdog = watchdog = Watchdog(stage.paths.root)
    starting = asyncio.create_task(
        asyncio.to_thread(launcher.start, stage.options, say=stage.console.note), name="start"
    )
    try:
        return await asyncio.shield(starting)
    except launcher.AlreadyRunning:
        # Somebody else was faster, and the cluster is theirs.
        stage.watchdog = None
        watchdog.release()
        raise
    except asyncio.CancelledError:
        # The thread cannot be interrupted, but it ends when the cluster does.
        while not starting.done():
            await asyncio.to_thread(launcher.stop, stage.paths.root)
            await asyncio.wait({starting}, timeout=_AGAIN_SECONDS)
        # That it did not start is what was wanted.
        starting.exception()
        raise
