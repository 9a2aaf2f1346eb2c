"""Tells a task's own end from the end of something that it waited for.

A task that awaits a future which somebody else cancels gets the same CancelledError as one that is cancelled
itself, and a task group takes both for an end in order: what runs as long as the process would end silently.
"""

import asyncio


class StrayCancellation(Exception):
    """What a task waited for was cancelled, but not the task."""


def is_being_cancelled() -> bool:
    """Whether somebody cancels the running task, also by a timeout around what it does."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
