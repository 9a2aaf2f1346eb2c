"""The MLflow operator's stand-in: objects from the CR, status from the objects. A test plays the kubelet."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kagenti_devcluster.standins.mlflow_operator import FINALIZER
from kagenti_devcluster.testing.platform import (
    DSCS,
    INTEGRATION,
    MLFLOW_NAMESPACE,
    MLFLOWS,
    RBAC,
    Platform,
    always,
    eventually,
)
from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.mlflow.operand import build_operand

CR = f"{MLFLOWS}/mlflows/mlflow"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{MLFLOW_NAMESPACE}/deployments/mlflow"
PODS = f"/api/v1/namespaces/{MLFLOW_NAMESPACE}/pods"
SERVICE = f"/api/v1/namespaces/{MLFLOW_NAMESPACE}/services/mlflow"
CLAIM = f"/api/v1/namespaces/{MLFLOW_NAMESPACE}/persistentvolumeclaims/mlflow-pvc"
MIGRATION = "mlflow.opendatahub.io/migration-job"
DSC = f"{DSCS}/default-dsc"
ROLE = f"{RBAC}/clusterroles/{INTEGRATION}"


@pytest.fixture(autouse=True)
async def clean(api: Platform, stand_ins: None) -> AsyncIterator[None]:
    del stand_ins
    await api.set_state("Managed")
    yield
    await api.delete(CR)
    # The garbage collector takes up to 30 s to learn of a new kind of owner.
    await eventually(lambda: gone(api, DEPLOYMENT, CR, PODS), seconds=60)


async def gone(api: Platform, *paths: str) -> None:
    for path in paths:
        found = await api.get(path)
        assert found is None or found.get("items") == []


async def there(api: Platform, path: str) -> dict[str, Any]:
    found = await api.get(path)
    assert found is not None
    return found


async def make_cr(api: Platform, **spec: Any) -> None:
    operand = dict(build_operand(KAGENTI, namespaced=False))
    await api.put(CR, {**operand, "spec": {**operand["spec"], **spec}})


async def report_pod(api: Platform, label: str, status: dict[str, Any]) -> None:
    """What the kubelet would report of the only pod that has that label."""

    async def reported() -> None:
        pods = (await there(api, PODS))["items"]
        (pod,) = [pod for pod in pods if label in pod["metadata"]["labels"]]
        await api.patch(f"{PODS}/{pod['metadata']['name']}/status", {"status": status})

    async def attempted() -> None:
        try:
            await reported()
        except ValueError as none:
            raise AssertionError("there is no such pod") from none

    await eventually(attempted)


async def migrate(api: Platform) -> None:
    """The pod of the migration ends well."""
    await report_pod(api, MIGRATION, {"phase": "Succeeded"})


async def run_pod(api: Platform) -> None:
    """The database is migrated, then the server's pod becomes ready."""
    await migrate(api)
    ready = {"type": "Ready", "status": "True"}
    address = {"podIP": "10.77.0.9", "podIPs": [{"ip": "10.77.0.9"}]}
    await report_pod(api, "app", {"phase": "Running", **address, "conditions": [ready]})


async def condition(api: Platform, kind: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = (await there(api, CR)).get("status", {}).get("conditions", [])
    return next((c for c in found if c["type"] == kind), dict[str, Any]())


async def available(api: Platform, wanted: str) -> None:
    assert (await condition(api, "Available")).get("status") == wanted


async def test_a_cr_becomes_a_server_and_is_available_once_that_is_ready(api: Platform) -> None:
    await make_cr(api)
    await eventually(lambda: available(api, "False"))
    await migrate(api)
    deployment = await eventually(lambda: there(api, DEPLOYMENT))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["mlflow"]
    assert {"name": "MLFLOW_BACKEND_STORE_URI", "value": "sqlite:////mlflow/mlflow.db"} in container["env"]
    assert (await there(api, SERVICE))["spec"]["ports"][0]["port"] == 8443
    await there(api, CLAIM)
    await run_pod(api)
    await eventually(lambda: available(api, "True"))
    status = (await there(api, CR))["status"]
    assert status["version"] == "3.14.0"
    assert "url" not in status
    assert (await condition(api, "Progressing"))["status"] == "False"


async def test_the_database_is_migrated_before_there_is_a_server(api: Platform) -> None:
    await make_cr(api)

    async def running() -> None:
        assert (await condition(api, "Migration")).get("reason") == "MigrationRunning"

    await eventually(running)
    # Set before anything runs.
    status = (await there(api, CR))["status"]
    assert status["address"] == {"url": "https://mlflow.redhat-ods-applications.svc:8443/mlflow"}
    assert "version" not in status
    assert await api.get(DEPLOYMENT) is None
    await migrate(api)
    await eventually(lambda: there(api, DEPLOYMENT))

    async def migrated() -> None:
        assert (await condition(api, "Migration"))["reason"] == "MigrationSucceeded"

    await eventually(migrated)


async def test_a_data_science_cluster_that_is_deleted_waits_for_the_cr(api: Platform) -> None:
    await make_cr(api)

    async def held() -> None:
        assert (await there(api, DSC))["metadata"]["finalizers"] == [FINALIZER]

    await eventually(held)
    await api.delete(DSC)
    waiting = await there(api, DSC)
    assert "deletionTimestamp" in waiting["metadata"]
    await api.delete(CR)
    await eventually(lambda: gone(api, DSC))


async def test_a_server_that_goes_down_is_reported_with_the_time(api: Platform) -> None:
    await make_cr(api)
    await run_pod(api)
    await eventually(lambda: available(api, "True"))
    await api.patch(DEPLOYMENT, {"spec": {"template": {"metadata": {"annotations": {"roll": "1"}}}}})
    await eventually(lambda: available(api, "False"))


async def test_what_serves_a_cr_goes_with_it(api: Platform) -> None:
    await make_cr(api)
    await migrate(api)
    await eventually(lambda: there(api, DEPLOYMENT))
    await api.delete(CR)
    await eventually(lambda: gone(api, DEPLOYMENT, SERVICE, CLAIM, CR), seconds=60)


async def test_removed_leaves_a_cr_and_its_server_alone(api: Platform) -> None:
    await make_cr(api)
    await migrate(api)
    before = await eventually(lambda: there(api, DEPLOYMENT))
    await api.set_state("Removed")
    await api.patch(CR, {"spec": {"workers": 2}})

    async def untouched() -> None:
        now = await there(api, DEPLOYMENT)
        assert now["metadata"]["generation"] == before["metadata"]["generation"]

    # Nobody manages it.
    await always(untouched, seconds=2)
    await api.set_state("Managed")

    async def followed() -> None:
        after = await there(api, DEPLOYMENT)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert "--workers=2" in after["spec"]["template"]["spec"]["containers"][0]["args"]

    await eventually(followed)


async def test_removed_without_a_cr_takes_the_roles_away_until_managed_again(api: Platform) -> None:
    await eventually(lambda: there(api, ROLE))
    await api.set_state("Removed")
    await eventually(lambda: gone(api, ROLE))
    await api.set_state("Managed")
    await eventually(lambda: there(api, ROLE))


async def test_a_variable_of_the_cr_wins(api: Platform) -> None:
    await make_cr(api, env=[{"name": "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "value": "true"}])
    await migrate(api)
    deployment = await eventually(lambda: there(api, DEPLOYMENT))
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [v["value"] for v in environment if v["name"] == "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == ["true"]
