"""Workloads with another platform's labels, while there is no agent."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from kagenti_operator.contract import KAGENTI, ROSSOCTL
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.other_labels import (
    AT_MOST_SECONDS,
    LOOK_SECONDS,
    MANY,
    OtherLabels,
    choose_selectors,
    describe_other_labels,
)
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject, ObjectMeta
from kagenti_operator.kube.resources import Resource
from kagenti_operator.kube.watch import ListPage
from tests.support.virtual_time import skip
from tests.unit.controllers.agents.workloads import build_agent
from tests.unit.controllers.dependencies import open_dependencies, put

pytestmark = pytest.mark.virtual_time

OPENSHELL = "openshell.ai/managed-by=openshell"
DASHBOARD = "opendatahub.io/agent-type=agent"


def test_the_known_labels_that_are_not_configured_are_looked_for() -> None:
    assert choose_selectors(KAGENTI, ()) == ("rossoctl.io/type=agent", OPENSHELL, DASHBOARD)
    assert choose_selectors(ROSSOCTL, (OPENSHELL,)) == ("kagenti.io/type=agent", DASHBOARD)


def test_nothing_found_is_nothing_to_say() -> None:
    assert describe_other_labels("kagenti.io/type=agent", {OPENSHELL: 0}) is None


def test_labels_numbers_and_flags_are_named() -> None:
    text = describe_other_labels(
        "kagenti.io/type=agent", {"rossoctl.io/type=agent": 0, OPENSHELL: 3, DASHBOARD: MANY}
    )
    assert text
    assert f"3 with {OPENSHELL}, {MANY}+ with {DASHBOARD}" in text
    assert f"--agent-selector={OPENSHELL} --agent-selector={DASHBOARD} (chart: agents.selectors)." in text
    assert "rossoctl" not in text


def test_the_platform_by_its_other_name_is_named_too() -> None:
    text = describe_other_labels("kagenti.io/type=agent", {"rossoctl.io/type=agent": 1})
    assert text
    assert "--platform-name=rossoctl" in text


class Store:
    """An API server with workloads, by the label that they carry; it counts what it is asked."""

    def __init__(self, found: Mapping[str, int]) -> None:
        self.found = found
        self.limits: list[int] = []

    async def list_page(
        self, resource: Resource[Any], *, label_selector: str, limit: int
    ) -> ListPage[KubeObject]:
        assert resource.metadata_only
        self.limits.append(limit)
        count = self.found.get(label_selector, 0) if resource.kind == "Deployment" else 0
        objects = [KubeObject(metadata=ObjectMeta(name=str(n))) for n in range(min(count, limit))]
        return ListPage(items=tuple(objects), resource_version="1", continue_="more" if count > limit else "")


class Bench:
    def __init__(self, dependencies: Dependencies, store: Store) -> None:
        self.agents = AgentFacts(dependencies)
        for kind in ("Deployment", "StatefulSet"):
            self.agents.workloads[kind].cache.served.set(True)
        self.store = store
        self.labels = OtherLabels(replace(dependencies, client=cast("KubeClient", store)), self.agents)

    async def look(self) -> float | None:
        return await self.labels.reconcile("")


async def test_a_look_costs_one_object_of_each_label_and_kind_and_comes_seldom() -> None:
    async with open_dependencies(Settings()) as dependencies:
        bench = Bench(dependencies, Store({}))
        assert LOOK_SECONDS <= (await bench.look() or 0) <= 2 * LOOK_SECONDS
        # Sandboxes are not served.
        assert bench.store.limits == [1] * 6
        assert bench.labels.note() is None
        # The last agent goes, comes and goes.
        skip(1)
        assert await bench.look() == AT_MOST_SECONDS - 1
        assert len(bench.store.limits) == 6


async def test_what_is_found_is_counted_and_is_over_with_the_first_agent() -> None:
    async with open_dependencies(Settings()) as dependencies:
        bench = Bench(dependencies, Store({OPENSHELL: 7}))
        await bench.look()
        assert sorted(bench.store.limits) == [1] * 6 + [MANY]
        assert f"7 with {OPENSHELL}" in (bench.labels.note() or "")
        put(bench.agents.workloads["Deployment"], build_agent())
        assert bench.labels.note() is None
        assert await bench.look() is None
        assert len(bench.store.limits) == 7
