import pytest

from kagenti_operator.controllers.mlflow.operand import wants_operand
from kagenti_operator.kube.objects.models import MLflow, ObjectMeta

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
