import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from kagenti_operator import clock
from kagenti_operator.kube.errors import ApiError, KubeError, Unreachable
from kagenti_operator.runtime.election.leader import LeadershipLost
from kagenti_operator.runtime.election.lease import held_record, micro_time, released_record
from tests.support.election import Replica, SharedLease
from tests.support.virtual_time import advance, set_wall, settle, skip

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def shared() -> SharedLease:
    return SharedLease()


@pytest.fixture
def first(shared: SharedLease) -> Replica:
    return Replica("first", shared)


@pytest.fixture
def second(shared: SharedLease) -> Replica:
    return Replica("second", shared)


async def lead(replica: Replica) -> None:
    replica.start()
    await settle()
    assert replica.leadership.held()


async def test_a_single_replica_leads_at_once_and_goes_on(first: Replica, shared: SharedLease) -> None:
    assert first.status == 0
    await lead(first)
    assert first.status == 1
    for _ in range(100):
        await advance(3)
        assert first.leadership.held()
    assert first.led == 1
    assert shared.lease
    assert shared.lease.record["leaseTransitions"] == 0
    assert shared.lease.record["acquireTime"] == "2026-01-01T00:00:00.000000Z"
    assert shared.lease.record["renewTime"] > "2026-01-01T00:04:55"
    await first.end()


async def test_the_lease_is_renewed_every_retry_period(first: Replica, shared: SharedLease) -> None:
    await lead(first)
    await advance(60)
    assert len(shared.writes) == 31
    await first.end()


async def test_the_second_waits_while_the_first_renews(first: Replica, second: Replica) -> None:
    await lead(first)
    second.start()
    await advance(120)
    assert second.led == 0
    assert not second.leadership.held()
    await first.end()
    await second.end()


async def test_a_leader_that_dies_is_followed_when_its_lease_has_run_out(
    first: Replica, second: Replica, shared: SharedLease
) -> None:
    await lead(first)
    second.start()
    await advance(5)
    first.connection.hangs = True
    # From the last renewal, which the second may have seen up to three seconds late.
    await advance(12)
    assert second.led == 0
    await advance(8)
    assert second.led == 1
    assert shared.holder == "second"
    assert shared.lease
    assert shared.lease.record["leaseTransitions"] == 1
    await first.end()
    await second.end()


async def test_the_times_of_the_record_and_the_wall_clock_mean_nothing(
    first: Replica, second: Replica
) -> None:
    await lead(first)
    set_wall(datetime(2031, 1, 1, tzinfo=UTC))
    second.start()
    await advance(1)
    set_wall(datetime(2020, 1, 1, tzinfo=UTC))
    await advance(60)
    assert second.led == 0
    assert first.leadership.held()
    await first.end()
    await second.end()


async def test_a_replica_that_starts_beside_a_stale_record_waits_its_whole_duration(
    second: Replica, shared: SharedLease
) -> None:
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    shared.put(held_record({}, "dead", 15, long_ago))
    second.start()
    await advance(14.9)
    assert second.led == 0
    await advance(3.1)
    assert second.led == 1
    await second.end()


async def test_an_orderly_end_releases_the_lease_only_after_the_work_has_ended(
    first: Replica, second: Replica, shared: SharedLease
) -> None:
    workers_gone = asyncio.Event()

    async def work() -> None:
        await first.finish.wait()
        await workers_gone.wait()

    first.start(work)
    second.start()
    await settle()
    first.finish.set()
    await advance(6)
    assert shared.holder == "first"
    workers_gone.set()
    await settle()
    assert shared.lease
    assert shared.lease.record["holderIdentity"] == ""
    assert shared.lease.record["leaseDurationSeconds"] == 1
    assert not first.leadership.held()
    assert first.status == 0
    await advance(3)
    assert second.led == 1
    assert first.task
    await first.task
    await first.end()
    await second.end()


async def test_a_leader_that_cannot_renew_ends_before_its_lease_runs_out(first: Replica) -> None:
    await lead(first)
    await advance(1)
    first.connection.failure = Unreachable("the API server cannot be reached")
    await advance(8.9)
    assert first.leadership.held()
    await advance(0.2)
    assert not first.leadership.held()
    await advance(2)
    assert first.task
    with pytest.raises(LeadershipLost, match=r"kagenti-system/operator .* 10 s: the API server cannot be"):
        await first.task
    assert first.status == 0
    await first.end()


async def test_a_request_that_hangs_leaves_time_for_another(first: Replica, shared: SharedLease) -> None:
    await lead(first)
    first.connection.hangs = True
    await advance(3)
    first.connection.hangs = False
    await advance(6)
    assert first.leadership.held()
    assert len(shared.writes) >= 2
    await first.end()


async def test_losing_the_lease_ends_the_work_at_once(first: Replica, shared: SharedLease) -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    first.start(work)
    await settle()
    shared.put(held_record({}, "usurper", 15, clock.now()))
    await advance(2)
    assert ended.is_set()
    assert first.task
    with pytest.raises(LeadershipLost, match="held by usurper now"):
        await first.task
    assert shared.holder == "usurper"
    await first.end()


async def test_work_that_does_not_end_when_cancelled_does_not_keep_the_process(
    first: Replica, shared: SharedLease
) -> None:
    release = asyncio.Event()

    async def work() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    first.start(work)
    await settle()
    shared.put(held_record({}, "usurper", 15, clock.now()))
    await advance(6)
    assert first.task
    with pytest.raises(LeadershipLost):
        await first.task
    release.set()
    await first.end()


async def test_a_leader_that_was_stopped_may_not_write_before_it_has_looked(
    first: Replica, shared: SharedLease
) -> None:
    await lead(first)
    skip(20)
    # Nothing has run since: neither a renewal nor a cancellation.
    assert not first.leadership.held()
    shared.put(held_record({}, "second", 15, clock.now()))
    await advance(2)
    assert not first.leadership.held()
    assert first.task
    with pytest.raises(LeadershipLost, match="held by second"):
        await first.task
    assert shared.writes == ["first"]
    await first.end()


async def test_a_leader_that_was_stopped_while_nobody_else_came_leads_on(first: Replica) -> None:
    await lead(first)
    skip(300)
    assert not first.leadership.held()
    await advance(1)
    assert first.leadership.held()
    assert first.led == 1
    await first.end()


async def test_labels_that_somebody_puts_on_the_lease_do_not_cost_the_leadership(
    first: Replica, shared: SharedLease
) -> None:
    await lead(first)
    assert shared.lease
    shared.put({**shared.lease.record, "strategy": "OldestEmulationVersion"})
    await advance(10)
    assert first.leadership.held()
    assert shared.lease.record["strategy"] == "OldestEmulationVersion"
    await first.end()


async def test_a_lease_that_somebody_deletes_is_made_again(first: Replica, shared: SharedLease) -> None:
    await lead(first)
    shared.lease = None
    await advance(4)
    assert shared.holder == "first"
    assert first.leadership.held()
    await first.end()


async def test_of_several_that_find_it_free_one_leads(shared: SharedLease) -> None:
    replicas = [Replica(str(number), shared) for number in range(5)]
    for replica in replicas:
        replica.start()
    await advance(60)
    assert [replica.leadership.held() for replica in replicas].count(True) == 1
    assert sum(replica.led for replica in replicas) == 1
    for replica in replicas:
        await replica.end()


async def test_never_two_hold_it_whatever_breaks(shared: SharedLease) -> None:
    rng = random.Random(7)
    replicas = [Replica(str(number), shared) for number in range(3)]

    violations: list[str] = []

    def check(holder: str) -> None:
        violations.extend(r.name for r in replicas if r.leadership.held() and r.name != holder)

    shared.on_write = check
    for replica in replicas:
        replica.start()
    leaders: set[str] = set()
    for step in range(400):
        for number, replica in enumerate(replicas):
            if replica.task and replica.task.done():
                await replica.end()
                replicas[number] = Replica(f"{number}.{step}", shared)
                replicas[number].start()
            broken = rng.random() < 0.3
            replica.connection.failure = Unreachable("cut off") if broken else None
            replica.connection.hangs = rng.random() < 0.2
        if rng.random() < 0.1:
            skip(rng.choice([3.0, 16.0]))
        await advance(rng.choice([0.5, 2.0, 7.0, 20.0]))
        leaders.add(shared.holder)
    assert len(leaders) > 3
    assert not violations
    for replica in replicas:
        await replica.end()


async def test_taking_the_lease_and_ending_before_the_answer_gives_it_back(
    first: Replica, shared: SharedLease
) -> None:
    first.connection.loses_answers = True
    first.start()
    await settle()
    assert shared.holder == "first"
    first.connection.loses_answers = False
    await first.end()
    assert shared.holder == ""
    assert first.led == 0


async def test_a_lease_that_cannot_be_given_back_does_not_hold_up_the_end(first: Replica) -> None:
    await lead(first)
    first.connection.hangs = True
    first.finish.set()
    with capture_logs() as logs:
        await advance(1.7)
    assert first.task
    assert first.task.done()
    assert first.task.exception() is None
    assert logs[-1]["event"].startswith("Lease perhaps not released")
    await first.end()


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (None, "Released the leader lease"),
        (
            ApiError("update Lease", status=403, reason="Forbidden"),
            "Lease not released: another replica has to wait until it has run out",
        ),
        (
            ApiError("update Lease", status=504, reason="Timeout"),
            "Lease perhaps not released: if so, another replica waits until it has run out",
        ),
        (
            Unreachable("broke the connection off"),
            "Lease perhaps not released: if so, another replica waits until it has run out",
        ),
    ],
    ids=str,
)
async def test_whether_the_lease_was_released_is_said_as_far_as_it_is_known(
    first: Replica, failure: KubeError | None, said: str
) -> None:
    await lead(first)
    first.connection.failure = failure
    first.finish.set()
    with capture_logs() as logs:
        await advance(1.7)
    assert logs[-1]["event"] == said
    await first.end()


async def test_a_release_whose_answer_is_lost_is_not_called_a_failure(
    first: Replica, shared: SharedLease
) -> None:
    await lead(first)
    first.connection.loses_answers = True
    first.finish.set()
    with capture_logs() as logs:
        await advance(1.7)
    assert shared.holder == ""
    assert logs[-1]["event"].startswith("Lease perhaps not released")
    await first.end()


async def test_a_lease_that_is_anothers_by_now_is_left_to_it(first: Replica, shared: SharedLease) -> None:
    await lead(first)
    shared.put(held_record({}, "usurper", 15, clock.now()))
    first.finish.set()
    with capture_logs() as logs:
        await settle()
    assert (logs[-1]["event"], logs[-1]["holder"]) == ("The leader lease is not ours any more", "usurper")
    assert shared.holder == "usurper"
    await first.end()


async def test_labels_put_on_the_lease_do_not_keep_it_from_being_released(
    first: Replica, shared: SharedLease
) -> None:
    await lead(first)
    assert shared.lease
    shared.put({**shared.lease.record, "strategy": "OldestEmulationVersion"})
    first.finish.set()
    await settle()
    assert shared.holder == ""
    await first.end()


async def test_work_that_fails_gives_the_lease_back(first: Replica, shared: SharedLease) -> None:
    async def work() -> None:
        raise ValueError("a bug")

    first.start(work)
    await settle()
    assert first.task
    with pytest.raises(ValueError, match="a bug"):
        await first.task
    assert shared.holder == ""
    await first.end()


async def test_events_say_who_leads(first: Replica) -> None:
    await lead(first)
    first.finish.set()
    await settle()
    assert first.sink.notes == [
        "LeaderElection: first became leader",
        "LeaderElection: first stopped leading",
    ]
    await first.end()


def test_a_record_is_written_as_other_components_write_it() -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    assert micro_time(moment) == "2026-03-04T05:06:07.000089Z"
    first = held_record({}, "a", 15, moment)
    assert first == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-03-04T05:06:07.000089Z",
        "renewTime": "2026-03-04T05:06:07.000089Z",
        "leaseTransitions": 0,
    }
    later = moment + timedelta(seconds=2)
    assert held_record(first, "a", 15, later) == {**first, "renewTime": micro_time(later)}
    assert released_record(first, later)["holderIdentity"] == ""
    taken = held_record(released_record(first, later), "b", 15, later)
    assert (taken["holderIdentity"], taken["leaseTransitions"]) == ("b", 1)
