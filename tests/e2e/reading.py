"""What tests read of the cluster that the demo left."""

from typing import Any

from kagenti_devcluster.demo.stage import TEAM, Stage
from tests.e2e.names import NAMES


async def read(stage: Stage, path: str) -> dict[str, Any]:
    """The object at that path, which has to exist."""
    found = await stage.api.get(path)
    assert found is not None, f"{path} does not exist"
    return found


async def find_experiment(stage: Stage) -> str:
    """The id of the collector's experiment."""
    mlflow = await stage.mlflow()
    path = "/api/2.0/mlflow/experiments/get-by-name"
    answer = await mlflow.request("GET", path, TEAM, params={"experiment_name": NAMES.default_experiment})
    return answer.json()["experiment"]["experiment_id"]
