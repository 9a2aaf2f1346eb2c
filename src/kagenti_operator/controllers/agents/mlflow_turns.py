"""How long a workspace of MLflow that does not answer may keep the agents of other namespaces waiting."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from kagenti_operator import clock
from kagenti_operator.controllers.agents.keys import AgentKey, namespace_of
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.runtime.control.turns import Turns

# Who takes longer is slow, and gives way where another namespace waits for a worker.
PATIENCE_SECONDS = 2.0
_LOOK_SECONDS = 0.5
# Of slow namespaces so many agents are asked for at a time, all together: the other workers are the others'.
MOST_SLOW = 6
# Who has not been asked for so long may be quick by now.
SLOW_AGAIN_SECONDS = 600.0


class Postponed(MLflowError):
    """The agent is woken when it is its turn: its workspace is slow, and others wait or are asked already."""

    def __init__(self) -> None:
        super().__init__(None, "POSTPONED", "MLflow is slow for this workspace, which waits for its turn")

    @property
    def retryable(self) -> bool:
        """What is known goes on to hold."""
        return True


class MLflowTurns:
    """Lets each agent ask MLflow at once, but those of slow namespaces a few at a time, which take turns."""

    def __init__(self, wake: Callable[[AgentKey], None], others_wait: Callable[[str], bool]) -> None:
        """`others_wait`: whether an agent of another namespace waits for a worker."""
        self._wake = wake
        self._others_wait = others_wait
        # Until when a namespace counts as slow.
        self._slow: dict[str, float] = {}
        self._asking: set[AgentKey] = set()
        self._waiting = Turns[AgentKey](namespace_of)
        # Woken because it is its turn, and not seen since.
        self._offered: set[AgentKey] = set()

    @asynccontextmanager
    async def turn(self, key: AgentKey) -> AsyncGenerator[None]:
        """Ask MLflow in the block. Raises Postponed before it, or out of it."""
        slow = self._is_slow(key.namespace)
        if slow and key not in self._offered and not self._has_room:
            self._waiting.add(key)
            raise Postponed
        self._offered.discard(key)
        self._waiting.discard(key)
        if slow:
            self._asking.add(key)
        began = clock.monotonic()
        try:
            async with self._patience(key.namespace, limited=not slow):
                yield
        except Postponed:
            self._waiting.add(key)
            raise
        finally:
            self._note(key.namespace, clock.monotonic() - began)
            self._asking.discard(key)
            self._wake_next()

    def pass_on(self, key: AgentKey) -> None:
        """`key` was looked at: if it was woken for its turn and did not need it, another has it."""
        if key in self._offered:
            self._offered.remove(key)
            self._wake_next()

    def forget(self, key: AgentKey) -> None:
        """It is no agent any more."""
        self._waiting.discard(key)
        self.pass_on(key)

    @property
    def _has_room(self) -> bool:
        return len(self._asking) + len(self._offered) < MOST_SLOW

    def _is_slow(self, namespace: str) -> bool:
        return self._slow.get(namespace, 0.0) > clock.monotonic()

    def _note(self, namespace: str, seconds: float) -> None:
        self._slow.pop(namespace, None)
        if seconds >= PATIENCE_SECONDS:
            now = clock.monotonic()
            self._slow = {it: until for it, until in self._slow.items() if until > now}
            self._slow[namespace] = now + SLOW_AGAIN_SECONDS

    def _wake_next(self) -> None:
        while self._waiting and self._has_room:
            key = self._waiting.pop()
            self._offered.add(key)
            self._wake(key)

    @asynccontextmanager
    async def _patience(self, namespace: str, *, limited: bool) -> AsyncGenerator[None]:
        """End the block once it has taken too long and others wait; raises Postponed then."""
        loop, limit = asyncio.get_running_loop(), asyncio.timeout(None)
        try:
            async with limit:

                def look() -> None:
                    nonlocal alarm
                    if self._others_wait(namespace):
                        limit.reschedule(loop.time())
                    else:
                        alarm = loop.call_later(_LOOK_SECONDS, look)

                alarm = loop.call_later(PATIENCE_SECONDS, look) if limited else None
                try:
                    yield
                finally:
                    if alarm:
                        alarm.cancel()
        except TimeoutError:
            if limit.expired():
                raise Postponed from None
            raise
