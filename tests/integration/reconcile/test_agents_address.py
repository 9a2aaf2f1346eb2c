"""Which address of MLflow agents are given, and that it changes for nobody without a reason."""

import pytest

from kagenti_devcluster.testing.platform import Platform, eventually
from kagenti_operator.controllers.agents.tracking_endpoint import SETTLE_SECONDS
from tests.support.agents import MLFLOW_ONLY, Agents, environment
from tests.support.expectations import expect_event, expect_unchanged
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

# Nobody answers there.
GATEWAY = "https://gateway.example/mlflow"


@pytest.fixture(autouse=True)
async def available(platform: Platform, mlflow: MLflow) -> None:
    await platform.managed_and_ready(mlflow.url)


async def expect_address(agents: Agents, name: str, address: str, *, seconds: float = 60) -> None:
    async def given() -> None:
        assert environment(await agents.get(name)).get("MLFLOW_TRACKING_URI") == address

    await eventually(given, seconds=seconds)


async def test_a_gateway_that_pods_trust_is_followed_and_an_absence_of_mlflow_is_not(
    agents: Agents, platform: Platform, mlflow: MLflow, start_with_mlflow: StartOperator
) -> None:
    # As if the CA of MLflow, at which the gateway's path ends here, were one of the system's.
    trusted = {"SSL_CERT_FILE": str(mlflow.server.ca_file)}
    start_with_mlflow(features=MLFLOW_ONLY, environ=trusted)
    before = await agents.create_configured("weather")
    await platform.set_mlflow_status(available=False, address=None)
    await expect_unchanged(platform, agents.path("weather"), before, field="generation", seconds=2)
    gateway = f"{mlflow.url}/gateway"
    await platform.set_mlflow_status(address=mlflow.url, url=gateway)
    # It has to last before agents are rolled for it.
    await expect_address(agents, "weather", gateway, seconds=2 * SETTLE_SECONDS + 60)
    after = await agents.get("weather")
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


async def test_a_gateway_with_a_certificate_of_a_companys_own_is_passed_over_and_reported(
    agents: Agents, platform: Platform, mlflow: MLflow, start_with_mlflow: StartOperator
) -> None:
    gateway = f"{mlflow.url}/gateway"
    await platform.set_mlflow_status(address=mlflow.url, url=gateway)
    start_with_mlflow(features=MLFLOW_ONLY)
    await agents.create_configured("weather")
    await expect_event(platform, "default", "mlflow", "GatewayNotTrusted", gateway, "is not trusted by")


@pytest.mark.parametrize("mode", ["gateway", "auto"])
async def test_a_restart_while_the_gateway_is_missing_rolls_nobody(
    agents: Agents, platform: Platform, mlflow: MLflow, start_with_mlflow: StartOperator, mode: str
) -> None:
    def start(mode: str) -> OperatorProcess:
        return start_with_mlflow(f"--agents-mlflow-address={mode}", features=MLFLOW_ONLY)

    await platform.set_mlflow_status(address=mlflow.url, url=GATEWAY)
    first = start("gateway")
    await agents.create("weather")
    await expect_address(agents, "weather", GATEWAY)
    await agents.expect_granted("weather")
    before = await agents.get("weather")
    first.stop()
    await platform.set_mlflow_status(address=mlflow.url)
    second = start(mode)
    if mode == "auto":
        # Who comes meanwhile is given what there is.
        await agents.create_configured("news")
    else:
        await second.expect_log("Caches are complete, starting the controllers")
        await expect_event(platform, "default", "mlflow", "AgentsAddressMissing", "no usable status.url")
    await expect_unchanged(platform, agents.path("weather"), before, field="generation", seconds=3)
    # Back, it does not answer the operator; that takes it away from nobody.
    await platform.set_mlflow_status(address=mlflow.url, url=GATEWAY)
    if mode == "gateway":
        await expect_event(platform, "default", "mlflow", "AgentsAddressMissingResolved", "status.url")
    await expect_unchanged(platform, agents.path("weather"), before, field="generation", seconds=3)
