"""What the platform says of MLflow, as controllers' tests put it into caches."""

from typing import Any

import msgspec

from kagenti_operator.kube.objects.models import DataScienceCluster, MLflow


def build_cluster(state: str, **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "default-dsc", "uid": "d", "resourceVersion": "3", **metadata},
        "spec": {"components": {"mlflowoperator": {"managementState": state}}},
    }


MANAGED = msgspec.convert(build_cluster("Managed"), DataScienceCluster)
AVAILABLE = msgspec.convert(
    {
        "metadata": {"name": "mlflow"},
        "status": {
            "conditions": [{"type": "Available", "status": "True"}],
            "url": "https://gateway.example.com/mlflow",
        },
    },
    MLflow,
)
