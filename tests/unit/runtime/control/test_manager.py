import asyncio
import random

import pytest
from structlog.testing import capture_logs

from kagenti_operator import clock
from kagenti_operator.runtime.cache.object_cache import Handler, ObjectCache
from kagenti_operator.runtime.control.controller import Controller, build_controller
from kagenti_operator.runtime.control.manager import DEFER_SECONDS, EndedUnexpectedly, Manager, Runnable
from kagenti_operator.runtime.election.leader import LeaderElector, Leadership, LeadershipLost, LeaseSettings
from kagenti_operator.runtime.election.lease import held_record
from kagenti_operator.runtime.telemetry.health import Health, judge
from kagenti_operator.runtime.telemetry.metrics import Metrics
from tests.support.election import Replica, SharedLease
from tests.support.virtual_time import advance, settle, skip
from tests.support.widget import ALL_WIDGETS, Widget, widget

pytestmark = pytest.mark.virtual_time


class ManualCache:
    """A cache that is complete when a test says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deferrable = False
        self.late = False
        self.silent_seconds: float | None = None
        self.running = False
        self.failure: Exception | None = None
        self._synced = asyncio.Event()
        self._broken = asyncio.Event()

    @property
    def synced(self) -> bool:
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def complete(self) -> None:
        self._synced.set()

    def fail(self, failure: Exception | None) -> None:
        self.failure = failure
        self._broken.set()

    async def run(self) -> None:
        self.running = True
        try:
            await self._broken.wait()
            if self.failure:
                raise self.failure
        finally:
            self.running = False


class Followed:
    """An informer whose objects are there, and which is complete when its cache is."""

    name = "widgets"

    def __init__(self, cache: ManualCache) -> None:
        self._complete = cache
        self.cache = ObjectCache(ALL_WIDGETS)

    @property
    def synced(self) -> bool:
        return self._complete.synced

    async def wait_synced(self) -> None:
        await self._complete.wait_synced()

    def subscribe(self, handler: Handler[Widget]) -> None:
        self.cache.subscribe(handler)


class Process:
    """What a replica's process consists of, small."""

    def __init__(self, *, caches: int = 1, elected: bool = False) -> None:
        self.stop = asyncio.Event()
        self.health = Health()
        self.caches = [ManualCache(f"cache {number}") for number in range(caches)]
        self.reconciled: list[str] = []
        self.block = asyncio.Event()
        self.block.set()
        self.controller = build_controller("test", self._reconcile, Metrics(), random.Random(1))
        self.others: list[Controller[str]] = []
        self.shared = SharedLease()
        self._replica = Replica("me", self.shared)
        self.line = self._replica.connection
        self.leadership = Leadership()
        self._elected = elected
        self.task: asyncio.Task[None] | None = None

    async def _reconcile(self, key: str) -> None:
        await self.block.wait()
        self.reconciled.append(key)

    def _elector(self) -> LeaderElector:
        return LeaderElector(
            self._replica.connection,
            LeaseSettings(name="operator", namespace="kagenti-system", identity="me"),
            self.leadership,
            recorder=self._replica.recorder,
            metrics=self._replica.metrics,
            rng=self._replica.rng,
        )

    async def start(
        self, always: dict[str, Runnable] | None = None, leading: dict[str, Runnable] | None = None
    ) -> None:
        manager = Manager(
            informers=self.caches,
            controllers=[self.controller, *self.others],
            elector=self._elector() if self._elected else None,
            leadership=self.leadership,
            health=self.health,
            always={"events": self._replica.recorder.run, **(always or {})},
            leading=leading,
        )
        self.task = asyncio.create_task(manager.run(self.stop))
        await settle()

    async def ended(self) -> None:
        assert self.task
        await settle()
        assert self.task.done()
        await self.task


async def test_controllers_start_when_every_cache_is_complete() -> None:
    process = Process(caches=2)
    process.controller.enqueue("a")
    await process.start()
    process.caches[0].complete()
    await settle()
    assert process.reconciled == []
    process.caches[1].complete()
    await settle()
    assert process.reconciled == ["a"]
    process.stop.set()
    await process.ended()


async def test_people_hear_which_cache_is_being_waited_for() -> None:
    process = Process(caches=2)
    with capture_logs() as logs:
        await process.start()
        process.caches[0].complete()
        await advance(9)
        assert not logs
        await advance(12)
    assert [(line["informers"], line["seconds"]) for line in logs] == [(["cache 1"], 10), (["cache 1"], 20)]
    process.stop.set()
    await process.ended()


async def test_a_replica_that_waits_for_the_lease_has_caches_but_no_controllers() -> None:
    process = Process(elected=True)
    process.shared.put(held_record({}, "other", 15, clock.now()))
    process.controller.enqueue("a")
    await process.start()
    process.caches[0].complete()
    await advance(10)
    assert process.caches[0].running
    assert process.reconciled == []
    await advance(10)
    assert process.reconciled == ["a"]
    process.stop.set()
    await process.ended()
    assert process.shared.holder == ""


async def test_a_replica_that_waits_for_the_lease_ends_at_once_and_leaves_it_alone() -> None:
    process = Process(elected=True)
    process.shared.put(held_record({}, "other", 15, clock.now()))
    await process.start()
    process.stop.set()
    await process.ended()
    assert process.shared.holder == "other"
    assert not process.caches[0].running


async def test_the_stop_lets_work_finish_before_it_gives_the_lease_back() -> None:
    process = Process(elected=True)
    process.block.clear()
    process.controller.enqueue("in work")
    process.controller.enqueue("waiting")
    process.caches[0].complete()
    await process.start()
    process.stop.set()
    await settle()
    assert process.shared.holder == "me"
    process.block.set()
    await process.ended()
    assert process.reconciled == ["in work"]
    assert process.shared.holder == ""


async def test_work_that_does_not_finish_is_cut_off_within_a_second() -> None:
    process = Process(elected=True)
    process.block.clear()
    process.controller.enqueue("stuck")
    process.caches[0].complete()
    await process.start()
    process.stop.set()
    await advance(0.9)
    await process.ended()
    assert process.shared.holder == ""
    assert process.reconciled == []


@pytest.mark.parametrize("after", [10.0 + step / 10 for step in range(25)])
async def test_the_lease_is_given_back_within_two_seconds_also_over_a_slow_line(after: float) -> None:
    process = Process(elected=True)
    process.line.seconds = 0.5
    process.block.clear()
    process.controller.enqueue("stuck")
    process.caches[0].complete()
    await process.start()
    await advance(after)
    assert process.shared.holder == "me"
    process.stop.set()
    await advance(1.99)
    await process.ended()
    assert process.shared.holder == ""


async def test_a_replica_whose_caches_are_not_complete_leaves_the_lease_to_others() -> None:
    process = Process(elected=True)
    await process.start()
    await advance(10 * DEFER_SECONDS)
    assert process.shared.holder == ""
    process.caches[0].complete()
    await settle()
    assert process.shared.holder == "me"
    process.stop.set()
    await process.ended()


async def test_a_kind_that_may_be_missing_holds_up_only_who_needs_it() -> None:
    process = Process(caches=2, elected=True)
    missing, listed = process.caches
    missing.deferrable = True
    listed.complete()
    waits = process.controller
    waits.watches(Followed(missing), lambda _: ())
    waits.enqueue("waits")
    goes_on: list[str] = []

    async def reconcile(key: str) -> None:
        goes_on.append(key)

    other = build_controller("other", reconcile, Metrics(), random.Random(1))
    followed = Followed(missing)
    followed.cache.put(("team1", "w"), widget("w", 1))
    other.watches(followed, lambda event: (event.object.metadata.name,), needed=False)
    process.others = [other]
    with capture_logs() as logs:
        await process.start()
        await advance(DEFER_SECONDS - 1)
        assert (process.shared.holder, goes_on) == ("", [])
        assert judge("readyz", process.health.ready)[0] is False
        await advance(2)
    assert (process.shared.holder, goes_on, process.reconciled) == ("me", ["w"], [])
    assert judge("readyz", process.health.ready)[0] is True
    note = process.health.notes["late-informers"]
    assert note() == "cannot be listed, and what needs them waits (the log says why): cache 0"
    assert "of what they may hold nothing is revoked" in logs[2]["event"]
    assert missing.late
    # Now it is known what is not there, and everything is looked at again.
    missing.complete()
    await settle()
    assert (goes_on, process.reconciled, missing.late, note()) == (["w", "w"], ["waits"], False, None)
    process.stop.set()
    await process.ended()
    assert process.shared.holder == ""


async def test_a_controller_that_still_waits_does_not_hold_up_the_end() -> None:
    process = Process(elected=True)
    process.caches[0].deferrable = True
    process.controller.watches(Followed(process.caches[0]), lambda _: ())
    await process.start()
    await advance(DEFER_SECONDS + 1)
    assert process.shared.holder == "me"
    process.stop.set()
    await process.ended()
    assert process.shared.holder == ""


async def test_the_stop_is_heeded_while_caches_are_not_complete() -> None:
    process = Process(elected=True)
    await process.start()
    process.stop.set()
    await process.ended()
    assert process.shared.holder == ""


async def test_losing_the_lease_ends_the_process() -> None:
    process = Process(elected=True)
    process.caches[0].complete()
    await process.start()
    process.shared.put(held_record({}, "usurper", 15, clock.now()))
    await advance(3)
    with pytest.raises(LeadershipLost, match="usurper"):
        await process.ended()
    assert process.shared.holder == "usurper"


async def test_a_cache_that_breaks_ends_the_process_and_gives_the_lease_back() -> None:
    process = Process(elected=True)
    process.caches[0].complete()
    await process.start()
    process.caches[0].fail(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await process.ended()
    assert process.shared.holder == ""


async def test_a_task_that_ends_although_it_never_should_ends_the_process() -> None:
    process = Process()
    await process.start()
    process.caches[0].fail(None)
    with pytest.raises(EndedUnexpectedly, match="informer cache 0 has ended"):
        await process.ended()


async def test_a_task_whose_request_somebody_else_cancels_does_not_end_silently() -> None:
    shared: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        await shared

    process = Process()
    await process.start(always={"server": run})
    shared.cancel()
    with pytest.raises(EndedUnexpectedly, match="server has ended"):
        await process.ended()


async def test_further_runnables_run_on_every_replica_or_beside_the_controllers() -> None:
    running: set[str] = set()

    def runnable(name: str) -> Runnable:
        async def run() -> None:
            running.add(name)
            try:
                await asyncio.Event().wait()
            finally:
                running.discard(name)

        return run

    process = Process(elected=True)
    process.shared.put(held_record({}, "other", 15, clock.now()))
    process.caches[0].complete()
    await process.start(always={"server": runnable("server")}, leading={"poller": runnable("poller")})
    assert running == {"server"}
    await advance(20)
    assert running == {"server", "poller"}
    process.stop.set()
    await process.ended()
    assert running == set()


async def test_it_is_ready_when_its_caches_are_complete_also_without_the_lease() -> None:
    process = Process(elected=True)
    process.shared.put(held_record({}, "other", 15, clock.now()))
    await process.start()
    assert judge("readyz", process.health.ready)[0] is False
    assert "not listed yet: cache 0" in judge("readyz", process.health.ready)[1]
    process.caches[0].complete()
    assert judge("readyz", process.health.ready)[0] is True
    assert judge("healthz", process.health.alive)[0] is True
    process.stop.set()
    await process.ended()


async def test_a_leader_whose_renewal_hangs_is_not_alive() -> None:
    process = Process()
    process.caches[0].complete()
    await process.start()
    process.leadership.hold_until(clock.monotonic() + 10)
    skip(29)
    assert judge("healthz", process.health.alive)[0] is True
    skip(2)
    passed, lines = judge("healthz", process.health.alive)
    assert not passed
    assert "[-]leader-election failed: the lease is overdue for 21 s\n" in lines
    process.leadership.end()
    process.stop.set()
    await process.ended()
