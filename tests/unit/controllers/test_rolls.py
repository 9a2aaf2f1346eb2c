from datetime import UTC, datetime

import msgspec

from kagenti_operator.controllers.rolls import PATIENCE_SECONDS, RollSlots
from kagenti_operator.kube.models import AgentWorkload


class ManualClock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


def workload(*, generation: int, observed: int, updated: int, available: int) -> AgentWorkload:
    status = {"observedGeneration": observed, "updatedReplicas": updated, "availableReplicas": available}
    metadata = {"name": "a", "namespace": "n", "generation": generation}
    return msgspec.convert({"metadata": metadata, "spec": {"replicas": 1}, "status": status}, AgentWorkload)


def test_no_more_workloads_roll_than_there_are_places() -> None:
    woken: list[str] = []
    slots = RollSlots(2, ManualClock(), woken.append)
    assert [slots.take(key) for key in "abcd"] == [True, True, False, False]
    slots.follow("a", workload(generation=2, observed=1, updated=1, available=1))
    assert woken == []
    slots.follow("a", workload(generation=2, observed=2, updated=1, available=1))
    assert woken == ["c"]
    assert slots.take("c")
    assert not slots.take("d")


def test_a_place_may_be_taken_again_by_who_has_it() -> None:
    slots = RollSlots(1, ManualClock(), lambda _: None)
    assert slots.take("a")
    assert slots.take("a")
    assert slots.rolling == 1


def test_a_deleted_workload_gives_its_place_back() -> None:
    woken: list[str] = []
    slots = RollSlots(1, ManualClock(), woken.append)
    slots.take("a")
    slots.take("b")
    slots.follow("a", None)
    assert woken == ["b"]


def test_a_rollout_that_never_ends_does_not_hold_its_place_for_ever() -> None:
    clock = ManualClock()
    slots = RollSlots(1, clock, lambda _: None)
    slots.take("a")
    assert not slots.take("b")
    clock.time = PATIENCE_SECONDS + 1
    assert slots.take("b")
