import msgspec
import pytest

from kagenti_operator.controllers.agents.keys import AgentKey, namespace_of
from kagenti_operator.controllers.agents.rollout_slots import PATIENCE_SECONDS, RolloutSlots
from kagenti_operator.kube.objects.agents import AgentWorkload
from tests.support.virtual_time import advance, skip

pytestmark = pytest.mark.virtual_time


def workload(
    *, generation: int, observed: int, updated: int, available: int, replicas: int = 1
) -> AgentWorkload:
    status = {
        "observedGeneration": observed,
        "replicas": replicas,
        "updatedReplicas": updated,
        "availableReplicas": available,
    }
    metadata = {"name": "a", "namespace": "n", "generation": generation}
    return msgspec.convert({"metadata": metadata, "spec": {"replicas": 1}, "status": status}, AgentWorkload)


def build(limit: int, woken: list[AgentKey] | None = None) -> RolloutSlots:
    on_free = (woken if woken is not None else []).append
    return RolloutSlots(limit, on_free, bucket=namespace_of)


def key(name: str, namespace: str = "n") -> AgentKey:
    return AgentKey("Deployment", namespace, name)


def begin(slots: RolloutSlots, taken: AgentKey) -> None:
    assert slots.take(taken)
    slots.began(taken, workload(generation=2, observed=1, updated=1, available=1))


async def test_no_more_workloads_roll_than_there_are_places() -> None:
    woken: list[AgentKey] = []
    slots = build(2, woken)
    begin(slots, key("a"))
    begin(slots, key("b"))
    assert not slots.take(key("c"))
    assert not slots.take(key("d"))
    slots.follow(key("a"), workload(generation=2, observed=2, updated=1, available=0))
    assert woken == []
    slots.follow(key("a"), workload(generation=2, observed=2, updated=1, available=1))
    assert woken == [key("c")]
    assert slots.take(key("c"))
    assert not slots.take(key("d"))


async def test_a_new_pod_that_crashes_beside_an_old_one_that_runs_keeps_the_place() -> None:
    slots = build(1)
    begin(slots, key("a"))
    slots.follow(key("a"), workload(generation=2, observed=2, replicas=2, updated=1, available=1))
    assert not slots.take(key("b"))
    slots.follow(key("a"), workload(generation=2, observed=2, replicas=1, updated=1, available=1))
    assert slots.take(key("b"))


async def test_an_event_of_the_former_rollout_does_not_free_the_slot() -> None:
    slots = build(1)
    before = workload(generation=1, observed=1, updated=1, available=1)
    assert slots.take(key("a"))
    slots.follow(key("a"), before)
    slots.began(key("a"), workload(generation=2, observed=1, updated=1, available=1))
    slots.follow(key("a"), before)
    assert slots.rolling == 1


async def test_a_change_that_rolls_nothing_gives_its_place_back_at_once() -> None:
    slots = build(1)
    assert slots.take(key("a"))
    slots.began(key("a"), workload(generation=1, observed=1, updated=1, available=1))
    assert slots.rolling == 0


async def test_a_change_that_is_refused_gives_its_place_back() -> None:
    woken: list[AgentKey] = []
    slots = build(1, woken)
    assert slots.take(key("a"))
    assert not slots.take(key("b"))
    slots.refused(key("a"), workload(generation=1, observed=1, updated=1, available=1))
    assert woken == [key("b")]


async def test_a_rollout_keeps_its_place_when_a_second_change_comes_too_late() -> None:
    """A reconcile that does not see the first change yet meets a conflict."""
    slots = build(1)
    begin(slots, key("a"))
    assert slots.take(key("a"))
    slots.refused(key("a"), workload(generation=1, observed=1, updated=1, available=1))
    assert slots.rolling == 1
    slots.follow(key("a"), workload(generation=2, observed=2, updated=1, available=1))
    assert slots.rolling == 0


async def test_places_go_to_namespaces_in_turn() -> None:
    woken: list[AgentKey] = []
    slots = build(1, woken)
    begin(slots, key("first", "large"))
    for waiting in (key("a", "large"), key("b", "large"), key("c", "large"), key("alone", "small")):
        assert not slots.take(waiting)
    rolling = key("first", "large")
    for _ in range(4):
        slots.release(rolling)
        rolling = woken[-1]
        begin(slots, rolling)
    assert woken == [key("a", "large"), key("alone", "small"), key("b", "large"), key("c", "large")]


async def test_a_place_may_be_taken_again_by_who_has_it() -> None:
    slots = build(1)
    assert slots.take(key("a"))
    assert slots.take(key("a"))
    assert slots.rolling == 1


async def test_a_deleted_workload_gives_its_place_back() -> None:
    woken: list[AgentKey] = []
    slots = build(1, woken)
    slots.take(key("a"))
    slots.take(key("b"))
    slots.follow(key("a"), None)
    assert woken == [key("b")]


async def test_who_waits_no_longer_is_not_woken() -> None:
    woken: list[AgentKey] = []
    slots = build(1, woken)
    slots.take(key("a"))
    slots.take(key("b"))
    slots.release(key("b"))
    slots.release(key("a"))
    assert woken == []


async def test_a_rollout_that_never_ends_does_not_hold_its_place_for_ever() -> None:
    slots = build(1)
    slots.take(key("a"))
    assert not slots.take(key("b"))
    skip(PATIENCE_SECONDS + 1)
    assert slots.take(key("b"))


async def test_an_offer_that_is_not_needed_is_passed_on() -> None:
    woken: list[AgentKey] = []
    slots = build(1, woken)
    begin(slots, key("a"))
    for waiting in (key("b"), key("c")):
        assert not slots.take(waiting)
    slots.release(key("a"))
    assert woken == [key("b")]
    slots.pass_on(key("unconcerned"))
    assert woken == [key("b")]
    slots.pass_on(key("b"))
    assert woken == [key("b"), key("c")]
    assert slots.take(key("c"))
    slots.pass_on(key("c"))
    assert slots.rolling == 1


async def test_a_place_is_kept_for_who_was_woken() -> None:
    woken: list[AgentKey] = []
    slots = build(1, woken)
    begin(slots, key("a"))
    assert not slots.take(key("b"))
    slots.release(key("a"))
    assert not slots.take(key("late"))
    assert slots.take(key("b"))
    slots.release(key("b"))
    assert woken == [key("b"), key("late")]


async def test_who_goes_after_it_was_woken_leaves_its_place_to_the_next() -> None:
    woken: list[AgentKey] = []
    slots = build(1, woken)
    begin(slots, key("a"))
    for waiting in (key("b"), key("c")):
        assert not slots.take(waiting)
    slots.release(key("a"))
    slots.release(key("b"))
    assert woken == [key("b"), key("c")]


async def test_when_several_rollouts_take_too_long_all_their_places_are_given_to_others() -> None:
    woken: list[AgentKey] = []
    slots = build(3, woken)
    for rolling in "abc":
        slots.take(key(rolling))
    for waiting in "defg":
        assert not slots.take(key(waiting))
    skip(PATIENCE_SECONDS + 1)
    assert slots.take(key("d"))
    assert woken == [key("e"), key("f")]


async def test_a_place_that_is_held_for_too_long_is_held_no_more() -> None:
    woken: list[AgentKey] = []
    slots = build(1, woken)
    begin(slots, key("a"))
    assert not slots.take(key("b"))
    assert slots.holds(key("a"))
    skip(PATIENCE_SECONDS + 1)
    assert not slots.holds(key("a"))
    assert woken == [key("b")]


async def test_crashing_agents_of_one_namespace_hold_up_another_for_seconds() -> None:
    woken: list[AgentKey] = []
    slots = build(4, woken)
    for name in "abcd":
        begin(slots, key(name, "crashing"))
    assert not slots.take(key("e", "crashing"))
    assert not slots.take(key("x", "well"))
    await advance(10)
    # One place for whoever has none; the others stay until their patience ends.
    assert woken == [key("x", "well")]
    assert slots.take(key("x", "well"))
    await advance(100)
    assert woken == [key("x", "well")]
    assert slots.rolling == 4


async def test_a_namespace_keeps_its_share_however_many_others_wait() -> None:
    woken: list[AgentKey] = []
    slots = build(4, woken)
    for name in "abcd":
        begin(slots, key(name, "crashing"))
    for number in range(20):
        assert not slots.take(key("x", f"team{number}"))
    await advance(10)
    assert len(woken) == 3
    for offered in woken[:]:
        assert slots.take(offered)
    await advance(100)
    assert len(woken) == 3


async def test_alone_a_namespace_keeps_all_places() -> None:
    woken: list[AgentKey] = []
    slots = build(2, woken)
    for name in "ab":
        begin(slots, key(name))
    assert not slots.take(key("c"))
    await advance(PATIENCE_SECONDS - 10)
    assert woken == []
    await advance(20)
    assert woken == [key("c")]
