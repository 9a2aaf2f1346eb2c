"""When agents that MLflow denies are retried."""

import random

import pytest

from kagenti_operator.controllers.agents.keys import AgentKey
from kagenti_operator.controllers.agents.retry_after_denied import DENIED_SECONDS, RetryAfterDenied

FLEET = 1100


def key(name: str) -> AgentKey:
    return AgentKey("Deployment", "team1", name)


@pytest.fixture
def woken() -> list[AgentKey]:
    return []


@pytest.fixture
def agents(woken: list[AgentKey]) -> RetryAfterDenied:
    return RetryAfterDenied(woken.append, random.Random(7))


def test_few_that_are_denied_are_tried_every_half_minute_and_many_more_rarely(
    agents: RetryAfterDenied,
) -> None:
    assert 0.9 * DENIED_SECONDS <= agents.denied(key("first")) <= 1.1 * DENIED_SECONDS
    for number in range(FLEET - 2):
        agents.denied(key(str(number)))
    # Two tries a second over all of them.
    assert 0.9 * FLEET / 2 <= agents.denied(key("last")) <= 1.1 * FLEET / 2


def test_the_first_that_succeeds_wakes_the_others_once(
    agents: RetryAfterDenied, woken: list[AgentKey]
) -> None:
    for name in "abc":
        agents.denied(key(name))
    agents.succeeded(key("never-denied"))
    assert woken == []
    agents.succeeded(key("a"))
    assert sorted(woken) == [key("b"), key("c")]
    agents.denied(key("b"))
    agents.succeeded(key("c"))
    assert sorted(woken) == [key("b"), key("c")]


def test_what_is_no_agent_any_more_is_not_woken(agents: RetryAfterDenied, woken: list[AgentKey]) -> None:
    for name in "ab":
        agents.denied(key(name))
    agents.forget(key("b"))
    agents.succeeded(key("a"))
    assert woken == []
