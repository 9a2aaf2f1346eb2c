"""Which DataScienceCluster decides, which MLflow CR counts, and which Service is MLflow's."""

import msgspec
import pytest

from kagenti_operator.controllers.mlflow.facts import MLflowFacts, choose_cr, choose_data_science_cluster
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.http.service import Service
from kagenti_operator.kube.objects.models import (
    DataScienceCluster,
    DataScienceClusterComponents,
    DataScienceClusterSpec,
    EndpointSlice,
    ManagedComponent,
    MLflow,
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


def cr(address: str | None, *, url: str | None = None, available: bool = True, namespace: str = "") -> MLflow:
    status = {
        "conditions": [{"type": "Available", "status": "True" if available else "False"}],
        "address": {"url": address} if address else None,
        "url": url,
    }
    metadata = {"name": "mlflow", "namespace": namespace}
    return msgspec.convert({"metadata": metadata, "status": status}, MLflow)


READY = msgspec.convert(
    {
        "metadata": {"name": "mlflow-1", "namespace": "opendatahub"},
        "endpoints": [{"conditions": {"ready": True}}],
    },
    EndpointSlice,
)


async def test_the_service_and_its_namespace_are_those_of_the_address() -> None:
    async with open_dependencies(Settings()) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        assert facts.namespace == "redhat-ods-applications"
        put(facts.mlflows, cr("https://tracking.opendatahub.svc:8443/mlflow"))
        assert facts.service == Service(namespace="opendatahub", name="tracking")
        assert facts.endpoints.selection.namespace == "opendatahub"
        assert facts.endpoints.selection.label_selector == "kubernetes.io/service-name=tracking"
        assert not facts.ready
        put(facts.endpoints, READY)
        assert facts.ready


async def test_endpoints_of_the_service_before_do_not_count_for_the_next() -> None:
    async with open_dependencies(Settings()) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        put(facts.endpoints, READY)
        put(facts.mlflows, cr("https://mlflow.elsewhere.svc:8443"))
        assert not facts.ready


async def test_a_service_stays_known_while_the_address_or_the_cr_is_missing() -> None:
    async with open_dependencies(Settings()) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        put(facts.mlflows, cr("https://mlflow.opendatahub.svc:8443"))
        put(facts.endpoints, READY)
        put(facts.mlflows, cr(None))
        facts.mlflows.cache.clear()
        assert facts.namespace == "opendatahub"
        assert facts.ready


@pytest.mark.parametrize("address", ["https://mlflow.example.com", None])
async def test_without_a_service_the_condition_alone_counts(address: str | None) -> None:
    async with open_dependencies(Settings()) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        put(facts.mlflows, cr(address, url="https://gateway.example.com/mlflow", available=False))
        assert not facts.ready
        put(facts.mlflows, cr(address, url="https://gateway.example.com/mlflow"))
        assert facts.ready


def test_a_cr_of_any_namespace_counts_and_the_defaults_first() -> None:
    elsewhere, default = cr(None, namespace="opendatahub"), cr(None, namespace="redhat-ods-applications")
    assert choose_cr([elsewhere]) == elsewhere
    assert choose_cr([elsewhere, default]) == default
    other = MLflow(metadata=ObjectMeta(name="another"))
    assert choose_cr([other]) is None
