"""A write that the cluster refuses is reported by one Event, on the object that a person would describe."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from kagenti_devcluster.testing.platform import (
    BINDING,
    DSC_CRD,
    EDIT,
    INTEGRATION,
    MLFLOW_CRD,
    MLFLOWS,
    OPENSHIFT_CRD,
    RBAC,
    SYSTEM,
    Object,
    Platform,
    config_map_path,
    eventually,
)
from tests.support.agents import MLFLOW_ONLY, Agents, environment
from tests.support.collector import expect_binding
from tests.support.expectations import expect_event
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator
from tests.support.policies import MESSAGE, forbidden

DRY_RUN = {"dryRun": "All"}
RBAC_GROUP = "rbac.authorization.k8s.io"


async def expect_warning(platform: Platform, namespace: str, name: str, reason: str, *words: str) -> None:
    """One Warning, however often the write is tried."""
    event = await expect_event(platform, namespace, name, reason, MESSAGE, "It is retried", *words)
    assert event["type"] == "Warning"


def no_new_bindings(platform: Platform, namespace: str) -> AbstractAsyncContextManager[None]:
    binding = {
        "metadata": {"name": "probe"},
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": INTEGRATION},
    }

    async def probe() -> Object:
        path = f"{RBAC}/namespaces/{namespace}/rolebindings"
        return await platform.request("POST", path, binding, params=DRY_RUN)

    return forbidden(
        platform,
        f"no-new-bindings-{namespace}",
        group=RBAC_GROUP,
        resource="rolebindings",
        operations=["CREATE"],
        when=f"object.metadata.namespace == '{namespace}'",
        probe=probe,
    )


async def test_a_refused_grant_is_reported_on_mlflow_and_on_the_agent(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    team = agents.namespace
    await platform.managed_and_ready(mlflow.url)
    await agents.create("weather")
    async with no_new_bindings(platform, team):
        start_with_mlflow(features=MLFLOW_ONLY)
        await expect_warning(platform, "default", "mlflow", "AccessNotGranted", f"{team}/{BINDING}")
        await expect_warning(platform, team, "weather", "MLflowNotGranted", f"{team}/kagenti-mlflow-weather")
        # Its pods must not ask before they may.
        assert environment(await agents.get("weather")) == {}
    await agents.expect_configured("weather", seconds=150)
    await expect_warning(platform, "default", "mlflow", "AccessNotGranted")
    await expect_warning(platform, team, "weather", "MLflowNotGranted")


async def test_a_binding_that_cannot_be_replaced_is_reported(
    start_operator: StartOperator, platform: Platform, team: str
) -> None:
    await platform.managed_and_ready()
    await platform.delete(f"{RBAC}/clusterroles/{INTEGRATION}")
    await platform.cluster_role(EDIT)
    await platform.workload(team, "weather")
    start_operator(features=MLFLOW_ONLY)
    await expect_binding(platform, team, EDIT)

    async def probe() -> Object:
        path = f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}"
        return await platform.request("DELETE", path, params=DRY_RUN)

    async with forbidden(
        platform,
        f"kept-bindings-{team}",
        group=RBAC_GROUP,
        resource="rolebindings",
        operations=["DELETE"],
        when=f"oldObject.metadata.namespace == '{team}'",
        probe=probe,
    ):
        await platform.cluster_role(INTEGRATION)
        await expect_warning(platform, "default", "mlflow", "AccessNotGranted", "delete RoleBinding", team)
        await expect_binding(platform, team, EDIT)
    await expect_binding(platform, team, INTEGRATION, seconds=150)


def fixed_config_maps(platform: Platform, *names: str) -> AbstractAsyncContextManager[None]:
    body: Mapping[str, Any] = {"metadata": {"name": names[0]}}
    path = config_map_path(SYSTEM, names[0])

    async def probe() -> Object:
        return await platform.request(
            "PATCH",
            path,
            {"apiVersion": "v1", "kind": "ConfigMap", **body, "data": {"probe": ""}},
            content_type="application/apply-patch+yaml",
            params={**DRY_RUN, "fieldManager": "probe"},
        )

    return forbidden(
        platform,
        "fixed-config-maps",
        group="",
        resource="configmaps",
        operations=["CREATE", "UPDATE"],
        when=f"object.metadata.namespace == '{SYSTEM}' && object.metadata.name in {list(names)}",
        probe=probe,
    )


async def exists(platform: Platform, path: str) -> Object:
    found = await platform.get(path)
    assert found is not None
    return found


async def test_a_refused_configuration_is_reported_on_the_collector(
    start_operator: StartOperator, platform: Platform
) -> None:
    await platform.workload(SYSTEM, "otel-collector", agent=False)
    async with fixed_config_maps(platform, "otel-collector-config"):
        start_operator()
        await expect_warning(platform, SYSTEM, "otel-collector", "ConfigurationNotWritten")
    path = config_map_path(SYSTEM, "otel-collector-config")
    await eventually(lambda: exists(platform, path), seconds=150)


async def test_a_refused_configuration_is_reported_on_the_operator_where_there_is_no_collector(
    start_operator: StartOperator, platform: Platform
) -> None:
    await platform.workload(SYSTEM, "kagenti-controller-manager", agent=False)
    async with fixed_config_maps(platform, "otel-collector-config"):
        start_operator()
        await expect_warning(platform, SYSTEM, "kagenti-controller-manager", "ConfigurationNotWritten")


async def test_refused_certificates_and_a_refused_address_are_reported(
    start_operator: StartOperator, platform: Platform
) -> None:
    await platform.install_crd(OPENSHIFT_CRD)
    await platform.config_map(
        "openshift-config-managed", "default-ingress-cert", {"ca-bundle.crt": "INGRESS"}
    )
    await platform.workload(SYSTEM, "otel-collector", agent=False)
    await platform.config_map(SYSTEM, "kagenti-ui-config", {"THEME": "dark"})
    await platform.managed_and_ready()
    await platform.set_mlflow_status(address=None, url="https://gateway.example/mlflow")
    async with fixed_config_maps(platform, "otel-ingress-ca", "kagenti-ui-config"):
        start_operator()
        await expect_warning(platform, SYSTEM, "otel-collector", "IngressCANotWritten")
        await expect_warning(platform, SYSTEM, "kagenti-ui-config", "DashboardAddressNotWritten")
    await eventually(lambda: exists(platform, config_map_path(SYSTEM, "otel-ingress-ca")), seconds=150)


async def test_a_refused_mlflow_is_reported_on_the_data_science_cluster(
    start_operator: StartOperator, platform: Platform
) -> None:
    for crd in (DSC_CRD, MLFLOW_CRD):
        await platform.install_crd(crd)
    await platform.set_state("Managed")
    body = {"apiVersion": "mlflow.opendatahub.io/v1", "kind": "MLflow", "metadata": {"name": "probe"}}

    async def probe() -> Object:
        return await platform.request("POST", f"{MLFLOWS}/mlflows", body, params=DRY_RUN)

    async with forbidden(
        platform,
        "no-mlflow",
        group="mlflow.opendatahub.io",
        resource="mlflows",
        operations=["CREATE"],
        when="true",
        probe=probe,
    ):
        start_operator(features=MLFLOW_ONLY)
        await expect_warning(platform, "default", "default-dsc", "MLflowNotCreated")
    await eventually(lambda: exists(platform, f"{MLFLOWS}/mlflows/mlflow"), seconds=150)
