import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from kagenti_operator.kube.errors import ApiError, Unreachable
from kagenti_operator.runtime.cache.object_cache import (
    Added,
    Event,
    Handler,
    ObjectCache,
    Removed,
    Updated,
    key_of,
)
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.control.write_backoff import WritesReverted
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.metrics import Metrics
from tests.support.chance import Chance
from tests.support.virtual_time import advance, settle
from tests.support.widget import ALL_WIDGETS, Widget, widget

pytestmark = pytest.mark.virtual_time


class FlowError(Exception):
    """A failure that the controllers of a test expect."""


class Followed:
    """An informer whose cache a test fills."""

    name = "widgets"

    def __init__(self) -> None:
        self.cache = ObjectCache(ALL_WIDGETS)

    @property
    def synced(self) -> bool:
        return self.cache.synced.is_set()

    async def wait_synced(self) -> None:
        await self.cache.synced.wait()

    def subscribe(self, handler: Handler[Widget]) -> None:
        self.cache.subscribe(handler)

    def put(self, name: str, size: int = 0) -> None:
        obj = widget(name, 1, size)
        self.cache.put(key_of(obj), obj)

    def remove(self, name: str) -> None:
        self.cache.remove(("team1", name), "1")


def describe(event: Event[Widget]) -> tuple[str, ...]:
    """A key that says what the event was."""
    match event:
        case Added(obj):
            return (f"{obj.metadata.name} added",)
        case Updated(old, obj):
            return (f"{obj.metadata.name} updated {old.size} to {obj.size}",)
        case Removed(obj):
            return (f"{obj.metadata.name} removed",)


class Bench:
    """A controller whose reconciliations a test decides."""

    def __init__(self, *, workers: int = 1) -> None:
        self.metrics = Metrics()
        self.seen: list[str] = []
        self.answer: Callable[[str], Awaitable[float | None]] = self._nothing
        self.controller = build_controller(
            "bench", self._reconcile, self.metrics, Chance(), workers=workers, expected=(FlowError,)
        )

    async def _nothing(self, _: str) -> None:
        return None

    async def _reconcile(self, key: str) -> float | None:
        self.seen.append(key)
        return await self.answer(key)

    def fail_with(self, *errors: Exception | None) -> None:
        """Raise these, one each time, and the last one for ever; None succeeds."""
        left = list(errors)

        async def answer(_: str) -> None:
            error = left.pop(0) if len(left) > 1 else left[0]
            if error:
                raise error

        self.answer = answer

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"controller": "bench", **labels}) or 0.0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        run = asyncio.create_task(self.controller.run())
        await settle()
        try:
            yield
        finally:
            self.controller.stop()
            await settle()
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_what_is_enqueued_is_reconciled(bench: Bench) -> None:
    bench.controller.enqueue("early")
    async with bench.running():
        bench.controller.enqueue("late")
        await settle()
    assert bench.seen == ["early", "late"]
    assert bench.sample("controller_runtime_reconcile_total", result="success") == 2


async def test_it_comes_again_when_the_reconciliation_says_so(bench: Bench) -> None:
    async def answer(_: str) -> float:
        return 60

    bench.answer = answer
    async with bench.running():
        bench.controller.enqueue("a")
        await advance(59)
        assert len(bench.seen) == 1
        await advance(2)
        assert len(bench.seen) == 2
    assert bench.sample("controller_runtime_reconcile_total", result="requeue_after") == 2


async def test_no_more_than_its_workers_reconcile_at_once() -> None:
    bench = Bench(workers=3)
    proceed = asyncio.Event()

    async def answer(_: str) -> None:
        await proceed.wait()

    bench.answer = answer
    async with bench.running():
        for key in "abcdef":
            bench.controller.enqueue(key)
        await settle()
        assert bench.seen == ["a", "b", "c"]
        assert bench.sample("controller_runtime_active_workers") == 3
        assert bench.sample("controller_runtime_max_concurrent_reconciles") == 3
        proceed.set()
        await settle()
        assert bench.seen == list("abcdef")
    assert bench.sample("controller_runtime_active_workers") == 0


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("list agents: the API server cannot be reached"),
        ApiError("apply RoleBinding team1/x", status=500, message="etcd is full"),
        FlowError("MLflow is starting"),
    ],
)
async def test_an_expected_failure_is_one_line_that_says_what_where_and_when_again(
    bench: Bench, error: Exception
) -> None:
    bench.fail_with(error, None)
    with capture_logs() as logs:
        async with bench.running():
            bench.controller.enqueue("team1")
            await advance(1)
    assert len(bench.seen) == 2
    assert logs[0] == {
        "event": "Reconciling failed, retrying",
        "log_level": "warning",
        "controller": "bench",
        "key": "team1",
        "error": str(error),
        "failures": 1,
        "retryIn": "0.005s",
    }
    assert bench.sample("controller_runtime_reconcile_total", result="error") == 1
    assert bench.sample("controller_runtime_reconcile_errors_total") == 1
    assert bench.sample("controller_runtime_reconcile_panics_total") == 0


async def test_a_bug_is_logged_with_its_traceback_and_stops_nobody(bench: Bench) -> None:
    async def answer(key: str) -> None:
        if key == "poisoned":
            raise KeyError("spec")

    bench.answer = answer
    with capture_logs() as logs:
        async with bench.running():
            bench.controller.enqueue("poisoned")
            bench.controller.enqueue("sound")
            await settle()
    assert bench.seen[:2] == ["poisoned", "sound"]
    (logged,) = [line for line in logs if line["log_level"] == "error"]
    assert logged["event"] == "Reconciling failed, which is a bug of the operator"
    assert isinstance(logged["exc_info"], KeyError)
    assert logged["key"] == "poisoned"
    assert bench.sample("controller_runtime_reconcile_panics_total") >= 1


async def test_a_server_that_says_when_to_come_again_is_obeyed(bench: Bench) -> None:
    bench.fail_with(ApiError("apply", status=429, message="busy", retry_after=30.0), None)
    async with bench.running():
        bench.controller.enqueue("a")
        await advance(29)
        assert len(bench.seen) == 1
        await advance(2)
        assert len(bench.seen) == 2


async def test_the_last_reconciliation_says_when_to_come_again(bench: Bench) -> None:
    answers = [60.0, None, 300.0, 600.0]

    async def answer(_: str) -> float | None:
        return answers.pop(0)

    bench.answer = answer
    async with bench.running():
        for _ in range(2):
            bench.controller.enqueue("a")
            await settle()
        await advance(3600)
        assert len(bench.seen) == 2
        for _ in range(2):
            bench.controller.enqueue("a")
            await settle()
        await advance(599)
        assert len(bench.seen) == 4


def warnings(logs: list[EventDict]) -> list[EventDict]:
    return [line for line in logs if line["log_level"] == "warning"]


async def test_the_same_failure_over_and_over_does_not_flood_the_log(bench: Bench) -> None:
    bench.fail_with(Unreachable("cannot be reached"))
    with capture_logs() as logs:
        async with bench.running():
            bench.controller.enqueue("a")
            await advance(4 * 3600)
    assert len(bench.seen) > 200
    assert 5 < len(warnings(logs)) < 35
    assert warnings(logs)[-1]["failures"] > 200


async def test_another_failure_is_logged_at_once(bench: Bench) -> None:
    bench.fail_with(Unreachable("cannot be reached"), FlowError("no workspace"))
    with capture_logs() as logs:
        async with bench.running():
            bench.controller.enqueue("a")
            await advance(0.1)
    assert [line["error"] for line in warnings(logs)] == ["cannot be reached", "no workspace"]


async def test_recovery_is_logged(bench: Bench) -> None:
    bench.fail_with(FlowError("x"), FlowError("x"), None)
    with capture_logs() as logs:
        async with bench.running():
            bench.controller.enqueue("a")
            await advance(1)
    assert logs[-1]["event"] == "Reconciled after failing"
    assert logs[-1]["failures"] == 2


async def test_success_starts_the_backoff_anew(bench: Bench) -> None:
    bench.fail_with(FlowError("x"), FlowError("x"), None, FlowError("x"))
    with capture_logs() as logs:
        async with bench.running():
            bench.controller.enqueue("a")
            await advance(1)
            bench.controller.enqueue("a")
            await settle()
    assert warnings(logs)[-1]["retryIn"] == "0.005s"


async def test_reconciliations_that_send_no_request_let_others_run(bench: Bench) -> None:
    for number in range(200):
        bench.controller.enqueue(str(number))
    run = asyncio.create_task(bench.controller.run())
    for _ in range(50):
        await asyncio.sleep(0)
    assert 0 < len(bench.seen) < 200
    await settle()
    assert len(bench.seen) == 200
    bench.controller.stop()
    await run


async def test_events_count_only_while_it_runs_and_what_exists_when_it_starts_was_added(bench: Bench) -> None:
    followed = Followed()
    bench.controller.watches(followed, describe)
    followed.put("came and went")
    followed.remove("came and went")
    followed.put("is there")
    async with bench.running():
        assert bench.seen == ["is there added"]
        followed.put("new")
        followed.put("new", 5)
        followed.remove("is there")
        await settle()
        assert bench.seen[1:] == ["new added", "new updated 0 to 5", "is there removed"]
    followed.put("too late")
    await settle()
    assert len(bench.seen) == 4


async def test_an_event_may_concern_several_keys_or_none(bench: Bench) -> None:
    followed = Followed()
    bench.controller.watches(followed, lambda event: "ab" if isinstance(event, Added) else ())
    async with bench.running():
        followed.put("x")
        followed.remove("x")
        await settle()
    assert bench.seen == ["a", "b"]


async def test_an_object_that_a_mapper_chokes_on_does_not_cost_the_others(bench: Bench) -> None:
    followed = Followed()

    def keys(event: Event[Widget]) -> tuple[str, ...]:
        name = event.object.metadata.name
        if name.startswith("odd"):
            raise ValueError(name)
        return (name,)

    bench.controller.watches(followed, keys)
    for name in ("first", "odd", "last"):
        followed.put(name)
    with capture_logs() as logs:
        async with bench.running():
            followed.put("odd as well")
            followed.put("later")
            await settle()
    assert bench.seen == ["first", "last", "later"]
    assert [line["event"] for line in logs] == ["An event handler failed"] * 2


async def test_a_value_that_it_follows_brings_keys_back_when_it_changes(bench: Bench) -> None:
    value = Observable("one")
    bench.controller.follows(value, lambda: (f"{value.value} of a", f"{value.value} of b"))
    async with bench.running():
        assert bench.seen == []
        value.set("one")
        await settle()
        assert bench.seen == []
        value.set("two")
        await settle()
        assert bench.seen == ["two of a", "two of b"]


async def test_a_value_that_changes_before_the_controller_runs_is_not_missed(bench: Bench) -> None:
    value = Observable(0)
    bench.controller.follows(value, lambda: ("a",))
    value.set(1)
    async with bench.running():
        assert bench.seen == ["a"]


async def test_keys_may_be_of_any_type_and_are_logged_as_text(bench: Bench) -> None:
    async def reconcile(_: tuple[str, int]) -> None:
        raise FlowError

    controller = build_controller("pairs", reconcile, bench.metrics, Chance(), expected=(FlowError,))
    controller.enqueue(("a", 1))
    with capture_logs() as logs:
        run = asyncio.create_task(controller.run())
        await settle()
        controller.stop()
        await run
    assert (logs[0]["key"], logs[0]["error"]) == ("('a', 1)", "FlowError")


async def test_stop_lets_what_is_in_work_finish_and_begins_nothing_new(bench: Bench) -> None:
    finish = asyncio.Event()
    finished: list[str] = []

    async def answer(key: str) -> None:
        await finish.wait()
        finished.append(key)

    bench.answer = answer
    run = asyncio.create_task(bench.controller.run())
    bench.controller.enqueue("in work")
    bench.controller.enqueue("waiting")
    await settle()
    bench.controller.stop()
    await settle()
    assert not run.done()
    finish.set()
    await run
    assert finished == ["in work"]


async def test_a_cancelled_reconciliation_is_no_failure(bench: Bench) -> None:
    async def answer(_: str) -> None:
        await asyncio.Event().wait()

    bench.answer = answer
    run = asyncio.create_task(bench.controller.run())
    bench.controller.enqueue("a")
    await settle()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert bench.sample("controller_runtime_reconcile_errors_total") == 0


async def test_a_request_that_somebody_else_cancels_is_a_failure_and_ends_no_worker(bench: Bench) -> None:
    shared: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def answer(key: str) -> None:
        if key == "shared":
            await shared

    bench.answer = answer
    with capture_logs() as logs:
        async with bench.running():
            bench.controller.enqueue("shared")
            await settle()
            shared.cancel()
            await settle()
            bench.controller.enqueue("next")
            await settle()
            assert bench.seen == ["shared", "next"]
    assert logs[0]["error"] == "what it waited for was cancelled"
    assert bench.sample("controller_runtime_reconcile_errors_total") == 1


async def test_a_write_that_another_writer_reverts_is_no_failure_and_comes_again_when_it_may(
    bench: Bench,
) -> None:
    bench.fail_with(WritesReverted("another writer", 30.0), WritesReverted("another writer", math.inf))
    with capture_logs() as logs:
        async with bench.running():
            bench.controller.enqueue("a")
            await advance(29)
            assert len(bench.seen) == 1
            await advance(2)
            assert len(bench.seen) == 2
            await advance(10_000)
            assert len(bench.seen) == 2
    assert [line for line in logs if line["log_level"] in ("warning", "error")] == []
    assert bench.sample("controller_runtime_reconcile_total", result="error") == 0


async def test_a_failure_is_over_once_another_writer_reverts_the_write_instead(bench: Bench) -> None:
    bench.fail_with(FlowError("x"), WritesReverted("another writer", 30.0), FlowError("x"))
    with capture_logs() as logs:
        async with bench.running():
            bench.controller.enqueue("a")
            await advance(40)
    failed = [line for line in logs if line["event"] == "Reconciling failed, retrying"]
    assert [line["failures"] for line in failed] == [1, 1]


async def test_nothing_is_reconciled_while_it_is_suspended_and_nothing_is_lost(bench: Bench) -> None:
    suspended, other = Observable(True), Observable(False)
    bench.controller.suspend_while(suspended).suspend_while(other)

    async def answer(_: str) -> float:
        return 60

    bench.answer = answer
    async with bench.running():
        bench.controller.enqueue("a", "b")
        bench.controller.enqueue("a")
        await advance(1000)
        assert bench.seen == []
        suspended.set(False)
        await settle()
        assert bench.seen == ["a", "b"]
        other.set(True)
        await advance(1000)
        assert bench.seen == ["a", "b"]
        other.set(False)
        await settle()
        assert bench.seen == ["a", "b", "a", "b"]


async def test_what_comes_while_suspended_is_bounded_and_then_what_is_there_is_reconciled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kagenti_operator.runtime.control.controller.MAX_KEPT", 3)
    suspended, widgets = Observable(True), Followed()
    bench.controller.suspend_while(suspended)
    bench.controller.watches(widgets, lambda event: (event.object.metadata.name,))
    async with bench.running():
        for number in range(100):
            widgets.put(f"gone{number}")
            await settle()
            widgets.remove(f"gone{number}")
            await settle()
        widgets.put("there")
        await settle()
        assert bench.seen == []
        suspended.set(False)
        await settle()
        assert bench.seen == ["gone0", "gone1", "gone2", "there"]
        suspended.set(True)
        bench.controller.enqueue("a")
        await settle()
        suspended.set(False)
        await settle()
        assert bench.seen[4:] == ["a"]
