"""Bounds how many workloads the operator rolls at once, so that labelling a fleet does not restart it all."""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from kagenti_operator import clock
from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.kube.objects.agents import Agent
from kagenti_operator.runtime.control.turns import Turns

# A rollout that does not end (no capacity, a broken image) gives its place back after this time;
PATIENCE_SECONDS = 300.0
# but after this one where its namespace has more than its share, and another waits.
SHARE_SECONDS = 8.0


@dataclass
class _Rollout:
    deadline: float
    # Of the workload that rolls; None until the API server took a change.
    generation: int | None = None
    # While a change is on its way, the status is that of an earlier rollout.
    changing: bool = True

    @property
    def began(self) -> float:
        return self.deadline - PATIENCE_SECONDS

    def is_over(self, agent: Agent) -> bool:
        if self.changing or self.generation is None or agent.metadata.generation < self.generation:
            return False
        return not agent.is_rolling


class RolloutSlots:
    """Places for rollouts in progress, keyed as the work queue is, and given to its buckets in turn."""

    def __init__(
        self,
        limit: int,
        on_free: Callable[[AgentKey], None],
        *,
        bucket: Callable[[AgentKey], Hashable],
    ) -> None:
        self._limit = limit
        self._on_free = on_free
        self._rolling: dict[AgentKey, _Rollout] = {}
        self._bucket = bucket
        self._waiting = Turns[AgentKey](bucket)
        # Woken because a place is free, and not seen since: so many places are spoken for.
        self._offered: set[AgentKey] = set()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def rolling(self) -> int:
        """How many rollouts are in progress."""
        return len(self._rolling)

    def take(self, key: AgentKey) -> bool:
        """Take a place for `key`, which is about to change; False: it will be woken when one is free."""
        self._expire()
        self._offered.discard(key)
        taken = key in self._rolling or self._free > 0
        if taken:
            self._waiting.discard(key)
            self._rolling.setdefault(key, _Rollout(clock.monotonic() + PATIENCE_SECONDS)).changing = True
        else:
            self._waiting.add(key)
            self._look_again()
        # Several places may have expired at once.
        self._wake()
        return taken

    def pass_on(self, key: AgentKey) -> None:
        """`key` was looked at: if it was woken for a place and did not take it, another may have it."""
        if key in self._offered:
            self._offered.remove(key)
            self._wake()

    def began(self, key: AgentKey, agent: Agent) -> None:
        """The API server took the change; `agent` is its answer."""
        deadline = clock.monotonic() + PATIENCE_SECONDS
        self._rolling[key] = _Rollout(deadline, agent.metadata.generation, changing=False)
        self.follow(key, agent)

    def refused(self, key: AgentKey, agent: Agent | None) -> None:
        """The API server did not take the change: an earlier one may roll on; `agent` as it is known."""
        roll = self._rolling.get(key)
        if roll is None:
            return
        roll.changing = False
        if roll.generation is None:
            self.release(key)
        else:
            self.follow(key, agent)

    def follow(self, key: AgentKey, agent: Agent | None) -> None:
        """Give the place back when the workload is gone or its rollout is through."""
        roll = self._rolling.get(key)
        if roll and (agent is None or roll.is_over(agent)):
            self.release(key)

    def holds(self, key: AgentKey) -> bool:
        """Whether that one has a place and has not had it for too long."""
        self._expire()
        self._wake()
        return key in self._rolling

    def release(self, key: AgentKey) -> None:
        """Give a place back, whether or not it was taken, and wake the next that waits."""
        self._waiting.discard(key)
        self._offered.discard(key)
        self._rolling.pop(key, None)
        self._wake()

    @property
    def _free(self) -> int:
        return self._limit - len(self._rolling) - len(self._offered)

    def _expire(self) -> None:
        now = clock.monotonic()
        for key in [key for key, roll in self._rolling.items() if roll.deadline <= now]:
            del self._rolling[key]
        if self._waiting and self._free <= 0:
            self._take_back(now)

    def _take_back(self, now: float) -> None:
        """Free a place for each bucket that waits and has less than its share, as far as others have more."""
        held = Counter(map(self._bucket, self._rolling))
        share = max(self._limit // len(held.keys() | self._waiting.buckets), 1)
        poor = {bucket for bucket in self._waiting.buckets if held[bucket] < share}
        for bucket in self._waiting.buckets - poor:
            self._waiting.postpone(bucket)
        for key, roll in tuple(self._rolling.items()):
            bucket = self._bucket(key)
            if self._free < len(poor) and held[bucket] > share and roll.began + SHARE_SECONDS <= now:
                del self._rolling[key]
                held[bucket] -= 1

    def _look_again(self) -> None:
        """Come back as long as somebody waits: a rollout that does not end causes no event."""
        if self._alarm is None and self._waiting:
            self._alarm = asyncio.get_running_loop().call_later(SHARE_SECONDS / 4, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        self._expire()
        self._wake()
        self._look_again()

    def _wake(self) -> None:
        while self._waiting and self._free > 0:
            key = self._waiting.pop()
            self._offered.add(key)
            self._on_free(key)
