"""The simulation's event loop: virtual time, no sockets, and processes that can be stopped and go on."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Protocol

from tests.support.virtual_time import VirtualTimeLoop


class Process(Protocol):
    """Whoever a task belongs to."""

    on_signal: Callable[[], object] | None
    frozen: "deque[asyncio.Handle] | None"
    dead: bool


# Inherited by every task and timer that a process starts; what belongs to nobody is the world around.
PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
WORLD = Context()


class _Ready(deque[asyncio.Handle]):
    """What can run now; what belongs to a process that is stopped waits until that goes on."""

    def append(self, handle: asyncio.Handle, /) -> None:
        process: Process | None = handle._context.get(PROCESS)  # type: ignore[attr-defined]
        if process is not None and process.frozen is not None:
            process.frozen.append(handle)
        else:
            super().append(handle)


class SimulationLoop(VirtualTimeLoop):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = _Ready()

    def call_at[*Ts](
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        # Nobody counts timers here, and there are many.
        return asyncio.SelectorEventLoop.call_at(self, when, callback, *args, context=context)

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:  # noqa: ARG002
        process = PROCESS.get()
        if process is not None:
            process.on_signal = lambda: callback(*args)

    async def create_connection(self, *_: Any, **__: Any) -> Any:
        """Nobody listens: what is not aiohttp's, such as the look at a gateway's certificate, is refused."""
        raise ConnectionRefusedError(111, "Connection refused")

    def go_on(self, process: Process) -> None:
        """Let a process that was stopped go on: what came meanwhile comes now."""
        waiting, process.frozen = process.frozen, None
        self._ready.extend(waiting or ())
