"""A clean platform for every test of the operator, and namespaces of the test's own."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kagenti_devcluster.testing.mlflow_server import MLflowServer, running_mlflow
from kagenti_devcluster.testing.platform import FIXED_NAMESPACES, SYSTEM, Platform, reset
from kagenti_devcluster.testing.service_account import make_admin
from kagenti_operator.kube.client import KubeClient
from tests.support.agents import MLFLOW_ONLY, Agents
from tests.support.chart_permissions import ACCOUNT, Manifest, grant, render_permissions
from tests.support.cluster import Cluster
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator


@pytest.fixture(scope="session")
def chart_permissions() -> list[Manifest]:
    return render_permissions()


@pytest.fixture
async def platform(admin: KubeClient, chart_permissions: list[Manifest]) -> AsyncIterator[Platform]:
    found = Platform(admin)
    for name in FIXED_NAMESPACES:
        await found.namespace(name)
    await reset(found, found.namespaces)
    await grant(found, chart_permissions)
    yield found
    await reset(found, found.namespaces)


@pytest.fixture
async def team(platform: Platform) -> str:
    name = f"team-{uuid.uuid4().hex[:6]}"
    await platform.namespace(name)
    return name


@pytest.fixture(scope="session")
def mlflow_server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    with running_mlflow(cluster, tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
async def operator_kubeconfig(cluster: Cluster, platform: Platform) -> Path:
    """The operator's identity: its ServiceAccount with what the chart grants, and no more."""
    del platform
    return await cluster.service_account_kubeconfig(SYSTEM, ACCOUNT)


@pytest.fixture
async def mlflow(cluster: Cluster, mlflow_server: MLflowServer, platform: Platform) -> MLflow:
    """MLflow as the test asks it, with every right."""
    await make_admin(platform, SYSTEM, "tests")
    return MLflow(mlflow_server, await cluster.token(SYSTEM, "tests"))


@pytest.fixture
def start_with_mlflow(mlflow: MLflow, start_operator: StartOperator) -> StartOperator:
    """Start the operator so that it can talk to the real MLflow, and polls it every second."""

    def start(*flags: str, **options: object) -> OperatorProcess:
        known = (f"--mlflow-ca-file={mlflow.server.ca_file}", "--mlflow-poll-interval=1")
        return start_operator(*known, *flags, **options)

    return start


@pytest.fixture
def agents(platform: Platform, mlflow: MLflow, team: str) -> Agents:
    """The agents of the team's namespace, of which there is none yet."""
    return Agents(platform, mlflow, team)


@pytest.fixture
async def operator(start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow) -> OperatorProcess:
    """The operator at work on agents alone, with an MLflow that is ready."""
    await platform.managed_and_ready(mlflow.url)
    return start_with_mlflow(features=MLFLOW_ONLY)


@pytest.fixture
def start_operator(operator_kubeconfig: Path) -> Iterator[StartOperator]:
    """Start the operator under the chart's permissions; it is killed when the test ends."""
    with ExitStack() as running:

        def start(*flags: str, kubeconfig: Path | None = None, **options: Any) -> OperatorProcess:
            process = OperatorProcess(kubeconfig or operator_kubeconfig, *flags, **options)
            return running.enter_context(process)

        yield start
