"""Tasks that nobody waits for: their failures are logged, never lost."""

import asyncio

import structlog

log = structlog.get_logger(__name__)


def log_failure(task: asyncio.Task[None]) -> None:
    """To be called when a task is done: log its exception, which is a bug of the cluster."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("A part of the node broke", task=task.get_name(), exc_info=error)
