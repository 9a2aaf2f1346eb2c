"""How long an agent's Role stays empty after others granted it."""

import msgspec
import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.foreign_bindings import (
    FORGET_SECONDS,
    MOST_REMEMBERED,
    PAUSE,
    ForeignBindings,
)
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.runtime.cache.object_cache import Added, Removed
from tests.support.virtual_time import advance

from .test_controller import Said
from .workloads import KEY

pytestmark = pytest.mark.virtual_time


def binding(name: str = "eves", role: str = "kagenti-mlflow-weather") -> RoleBinding:
    meta = {"name": name, "namespace": "team1"}
    return msgspec.convert({"metadata": meta, "roleRef": {"kind": "Role", "name": role}}, RoleBinding)


def flap(bindings: ForeignBindings, *which: RoleBinding) -> None:
    for it in which:
        bindings.follow(Added(it))
    for it in which:
        bindings.follow(Removed(it))


async def test_each_time_that_one_comes_and_goes_the_pause_doubles_to_its_longest() -> None:
    bindings = ForeignBindings(KAGENTI, Said())
    pauses: list[float] = []
    for _ in range(10):
        flap(bindings, binding())
        pauses.append(bindings.pause(KEY))
        await advance(pauses[-1])
        assert bindings.pause(KEY) == 0
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]


async def test_several_at_a_time_count_once_and_the_pause_begins_when_the_last_is_gone() -> None:
    bindings = ForeignBindings(KAGENTI, Said())
    flap(bindings, *(binding(f"eves-{number}") for number in range(5)))
    assert bindings.pause(KEY) == PAUSE.first
    bindings.follow(Added(binding()))
    await advance(1000)
    bindings.follow(Removed(binding()))
    assert bindings.pause(KEY) == 2 * PAUSE.first


async def test_it_begins_anew_after_an_hour_and_is_each_roles_own() -> None:
    bindings = ForeignBindings(KAGENTI, Said())
    for _ in range(5):
        flap(bindings, binding())
    assert not bindings.pause(KEY._replace(name="other"))
    await advance(FORGET_SECONDS + 1)
    flap(bindings, binding())
    assert bindings.pause(KEY) == PAUSE.first


async def test_what_grants_no_agents_role_is_nothing_and_little_is_kept() -> None:
    bindings = ForeignBindings(KAGENTI, Said())
    flap(bindings, binding(role="view"), binding("kagenti-mlflow-weather"))
    assert not bindings.pause(KEY)
    for number in range(MOST_REMEMBERED + 1):
        flap(bindings, binding(role=f"kagenti-mlflow-agent-{number}"))
    assert not bindings.pause(KEY._replace(name="agent-0"))
    assert bindings.pause(KEY._replace(name="agent-1"))
