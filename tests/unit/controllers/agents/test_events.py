"""How often people are told what, with the real recorder and time that the test owns."""

import random
from collections import Counter

import msgspec
import pytest

from kagenti_operator.controllers.agents.events import REPEAT_SECONDS, AgentNews
from kagenti_operator.controllers.agents.retry_after_denied import REFUSED_SECONDS, ExperimentRefusals
from kagenti_operator.kube.objects.agents import AgentWorkload
from kagenti_operator.mlflow.errors import MLflowError
from tests.support.virtual_time import advance, settle
from tests.unit.runtime.telemetry.test_events import Bench

pytestmark = pytest.mark.virtual_time

FLEET = 1100
REFUSED = MLflowError(403, "PERMISSION_DENIED", "no")


def workload(name: str = "weather") -> AgentWorkload:
    return msgspec.convert({"metadata": {"name": name, "namespace": "team1", "uid": name}}, AgentWorkload)


def key(name: str = "weather") -> str:
    return f"Deployment/team1/{name}"


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def news(bench: Bench) -> AgentNews:
    return AgentNews(bench.recorder)


async def test_however_many_agents_are_refused_each_has_one_event(bench: Bench, news: AgentNews) -> None:
    async with bench.sending():
        for _ in range(5):
            for number in range(FLEET):
                name = f"agent-{number}"
                news.experiment_refused(key(name), workload(name), REFUSED)
                news.variables_kept(key(name), workload(name), ("agent/MLFLOW_TRACKING_URI",))
                await settle()
            await advance(30)
    assert len(bench.sent.created) == 2 * FLEET
    assert set(Counter(e["regarding"]["name"] for e in bench.sent.created).values()) == {2}


async def test_what_is_not_cured_is_said_again_in_the_same_event(bench: Bench, news: AgentNews) -> None:
    async with bench.sending():
        news.experiment_refused(key(), workload(), REFUSED)
        await advance(REPEAT_SECONDS - 1)
        news.experiment_refused(key(), workload(), REFUSED)
        assert bench.sent.patched == []
        await advance(1)
        news.experiment_refused(key(), workload(), REFUSED)
    (event,) = bench.sent.created
    assert bench.sent.patched == [(event["metadata"]["name"], 2)]


async def test_another_trouble_and_one_that_comes_back_are_news(bench: Bench, news: AgentNews) -> None:
    async with bench.sending():
        news.experiment_refused(key(), workload(), REFUSED)
        await settle()
        news.experiment_refused(key(), workload(), MLflowError(404, "NOT_FOUND", "no workspace"))
        await settle()
        news.experiment_known(key())
        news.experiment_refused(key(), workload(), MLflowError(404, "NOT_FOUND", "no workspace"))
    assert len(bench.sent.created) == 2
    assert [count for _, count in bench.sent.patched] == [2]


async def test_what_was_dropped_because_too_much_is_said_is_said_the_next_time(
    bench: Bench, news: AgentNews
) -> None:
    for number in range(FLEET):
        news.experiment_refused(key(f"agent-{number}"), workload(f"agent-{number}"), REFUSED)
    async with bench.sending():
        await settle()
        assert len(bench.sent.created) < FLEET
        for number in range(FLEET):
            news.experiment_refused(key(f"agent-{number}"), workload(f"agent-{number}"), REFUSED)
        await settle()
    assert len(bench.sent.created) == FLEET


def test_few_that_are_refused_are_tried_every_half_minute_and_many_more_rarely() -> None:
    woken: list[str] = []
    refusals = ExperimentRefusals(woken.append, random.Random(7))
    assert 0.9 * REFUSED_SECONDS <= refusals.refused(key("first")) <= 1.1 * REFUSED_SECONDS
    for number in range(FLEET - 2):
        refusals.refused(key(str(number)))
    # Two tries a second over all of them.
    assert 0.9 * FLEET / 2 <= refusals.refused(key("last")) <= 1.1 * FLEET / 2


def test_the_first_who_succeeds_wakes_the_others_once() -> None:
    woken: list[str] = []
    refusals = ExperimentRefusals(woken.append, random.Random(7))
    for name in "abc":
        refusals.refused(key(name))
    refusals.succeeded(key("never-refused"))
    assert woken == []
    refusals.succeeded(key("a"))
    assert sorted(woken) == [key("b"), key("c")]
    refusals.refused(key("b"))
    refusals.succeeded(key("c"))
    assert sorted(woken) == [key("b"), key("c")]


def test_who_is_no_agent_any_more_is_not_woken() -> None:
    woken: list[str] = []
    refusals = ExperimentRefusals(woken.append, random.Random(7))
    for name in "ab":
        refusals.refused(key(name))
    refusals.forget(key("b"))
    refusals.succeeded(key("a"))
    assert woken == []
