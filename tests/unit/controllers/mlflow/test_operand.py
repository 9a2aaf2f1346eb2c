import pytest

from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.operand import OperandReconciler, wants_operand
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.objects.models import (
    DataScienceCluster,
    DataScienceClusterComponents,
    DataScienceClusterSpec,
    ManagedComponent,
    MLflow,
    ObjectMeta,
)
from tests.unit.controllers.dependencies import open_dependencies, put

EXISTING = MLflow(metadata=ObjectMeta(name="mlflow"))


@pytest.mark.parametrize(
    ("state", "served", "current", "expected"),
    [
        ("Managed", True, None, True),
        ("Managed", True, EXISTING, False),
        ("Managed", False, None, False),
        ("Removed", True, None, False),
        ("Unmanaged", True, None, False),
        (None, True, None, False),
    ],
)
def test_a_cr_is_made_only_where_it_is_wanted_and_missing(
    state: str | None, served: bool, current: MLflow | None, expected: bool
) -> None:
    assert wants_operand(state, served=served, current=current) is expected


async def reconcile_managed(*, create_operand: bool) -> float | None:
    """MLflow is Managed, its CRD is served without objects, and there is no API server."""
    settings = Settings(mlflow_create_operand=create_operand)
    async with open_dependencies(settings, "http://nobody.invalid") as dependencies:
        facts = MLflowFacts(dependencies.informers)
        components = DataScienceClusterComponents(mlflowoperator=ManagedComponent(management_state="Managed"))
        spec = DataScienceClusterSpec(components=components)
        put(facts.data_science_clusters, DataScienceCluster(metadata=ObjectMeta(name="dsc"), spec=spec))
        facts.mlflows.cache.replace({})
        return await OperandReconciler(dependencies, facts).reconcile()


async def test_no_cr_is_made_where_that_is_switched_off() -> None:
    with pytest.raises(KubeError):
        await reconcile_managed(create_operand=True)
    assert await reconcile_managed(create_operand=False) is None
