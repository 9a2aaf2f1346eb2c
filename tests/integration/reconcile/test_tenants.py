"""Objects that a tenant may write, however odd, hold up nobody else."""

import json
from typing import Any

from kagenti_devcluster.testing.platform import Platform, workload_path
from tests.support.agents import MLFLOW_ONLY
from tests.support.collector import expect_binding
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
