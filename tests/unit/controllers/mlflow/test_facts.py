"""Which DataScienceCluster decides, and what it then says."""

import pytest

from kagenti_operator.controllers.mlflow.facts import MLflowFacts, choose_data_science_cluster
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import (
    DataScienceCluster,
    DataScienceClusterComponents,
    DataScienceClusterSpec,
    ManagedComponent,
    ObjectMeta,
)
from tests.unit.controllers.dependencies import open_dependencies, put


def cluster(name: str, state: str | None = "Managed", *, going: bool = False) -> DataScienceCluster:
    component = ManagedComponent(management_state=state) if state else None
    return DataScienceCluster(
        metadata=ObjectMeta(name=name, deletion_timestamp="2026-01-01T00:00:00Z" if going else None),
        spec=DataScienceClusterSpec(components=DataScienceClusterComponents(mlflowoperator=component)),
    )


async def state_of(*clusters: DataScienceCluster) -> str | None:
    async with open_dependencies(Settings()) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        put(facts.data_science_clusters, *clusters)
        return facts.state


@pytest.mark.parametrize("name", ["default-dsc", "default", "rhods"])
async def test_a_data_science_cluster_of_any_name_decides(name: str) -> None:
    assert await state_of(cluster(name)) == "Managed"


async def test_one_that_says_nothing_of_mlflow_or_is_going_or_absent_says_no_state() -> None:
    assert await state_of(cluster("default", None)) is None
    assert await state_of(cluster("default", going=True)) is None
    assert await state_of() is None


def test_of_several_the_one_that_stays_and_says_something_decides() -> None:
    going, silent = cluster("a", "Removed", going=True), cluster("b", None)
    assert choose_data_science_cluster([going, silent, cluster("c")]) == cluster("c")
    assert choose_data_science_cluster([going, silent]) == silent
    assert choose_data_science_cluster([going]) == going
