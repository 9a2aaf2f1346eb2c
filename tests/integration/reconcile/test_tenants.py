"""Objects that a tenant may write, however odd, hold up nobody else."""

import asyncio
import json
from collections.abc import Coroutine, Iterable
from typing import Any

from kagenti_devcluster.testing.platform import Object, Platform, workload_path
from tests.support.agents import MLFLOW_ONLY, Agents
from tests.support.chart_memory import bound_to_chart_memory
from tests.support.collector import expect_binding
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator

# What the API server's decoder takes, beside the levels above it.
DEEPEST = 9_990


def deep_fields() -> str:
    return '{"f:a":' * DEEPEST + "{}" + "}" * DEEPEST


async def make_deep_workload(platform: Platform, namespace: str, name: str) -> None:
    """An agent whose managed fields nest without end: whoever writes an object may send some along."""
    await platform.workload(namespace, "pattern")
    pattern: Any = await platform.get(workload_path(namespace, "pattern"))
    fields = {"manager": "tenant", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1"}
    pattern["metadata"] = {
        "name": name,
        "namespace": namespace,
        "labels": pattern["metadata"]["labels"],
        "managedFields": [{**fields, "time": "2026-01-01T00:00:00Z", "fieldsV1": "DEEP"}],
    }
    body = json.dumps(pattern).replace('"DEEP"', deep_fields())
    path = workload_path(namespace, name)
    await platform.admin.raw("POST", path.rpartition("/")[0], body=body.encode())
    await platform.delete(workload_path(namespace, "pattern"))
    stored = await platform.admin.raw("GET", path)
    assert b'{"f:a":' * 9000 in stored


async def test_an_object_that_nests_without_end_holds_nobody_up(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await make_deep_workload(platform, team, "deep")
    start_operator(features=MLFLOW_ONLY)
    # Listed at the start, and seen by the watch.
    await expect_binding(platform, team)
    second = f"{team}-b"
    await platform.namespace(second)
    await make_deep_workload(platform, second, "deep")
    await expect_binding(platform, second)


FAT_WORKLOADS = 60
# The others opted out: they are listed, and nothing is written.
CONFIGURED = 10


async def in_parallel(works: Iterable[Coroutine[Any, Any, object]]) -> None:
    turns = asyncio.Semaphore(6)

    async def take_turn(work: Coroutine[Any, Any, object]) -> None:
        async with turns:
            await work

    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(take_turn(work))


def build_fat_workload(name: str, *, configured: bool) -> Object:
    """An agent of nearly as many bytes as etcd takes, with managed fields for each of its variables."""
    variables = [{"name": f"{'V' * 100}_{number}", "value": "x" * 900} for number in range(600)]
    container = {"name": "agent", "image": "example.org/agent:1", "env": variables}
    annotations = {"a": "x" * 200_000, "mlflow.kagenti.io/inject": "enabled" if configured else "disabled"}
    labels = {"app": name}
    return {
        "metadata": {
            "name": name,
            "labels": {**labels, "kagenti.io/type": "agent"},
            "annotations": annotations,
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


async def make_fat_workload(platform: Platform, namespace: str, name: str, *, configured: bool) -> None:
    path = workload_path(namespace, name).rpartition("/")[0]
    await platform.request("POST", path, build_fat_workload(name, configured=configured))


async def make_fat_experiment(mlflow: MLflow, namespace: str, name: str) -> None:
    """An experiment with more tags than are read of an answer."""
    made = await mlflow.call("POST", "create", namespace, {"name": name})

    def tag(number: int) -> Coroutine[Any, Any, object]:
        body = {"experiment_id": made["experiment_id"], "key": f"tag-{number}", "value": "x" * 5000}
        return mlflow.call("POST", "set-experiment-tag", namespace, body)

    await in_parallel(map(tag, range(250)))


async def test_fat_workloads_and_experiments_fit_into_the_charts_memory(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    agents, quiet = Agents(platform, mlflow, team), Agents(platform, mlflow, f"{team}-quiet")
    await platform.namespace(quiet.namespace)
    names = [f"fat-{number}" for number in range(FAT_WORKLOADS)]
    await in_parallel(
        make_fat_workload(platform, team, name, configured=number < CONFIGURED)
        for number, name in enumerate(names)
    )
    thousand = [{"name": f"c-{number}", "image": "example.org/agent:1"} for number in range(1000)]
    await platform.workload(team, "many", pod={"containers": thousand})
    await make_fat_experiment(mlflow, team, "tagged")
    await platform.workload(team, "tagged")
    operator = start_with_mlflow(features=MLFLOW_ONLY)
    with bound_to_chart_memory(operator.process.pid):
        # Listed, and changed by the operator.
        for name in names[:CONFIGURED]:
            await agents.expect_configured(name)
        # Seen by the watch.
        await make_fat_workload(platform, team, "late", configured=True)
        await agents.expect_configured("late")
        await quiet.create_configured("quiet")
    # All at once the API server would answer with more than is read.
    await in_parallel(platform.delete(workload_path(team, name)) for name in (*names, "late"))
