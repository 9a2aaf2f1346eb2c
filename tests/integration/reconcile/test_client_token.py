"""The operator authenticates to MLflow as an account that may use experiments and nothing else."""

import random
from collections.abc import AsyncIterator

import jwt
import pytest

from kagenti_devcluster.testing.platform import INTEGRATION, RBAC, SYSTEM, Platform
from kagenti_operator.controllers.mlflow.client_token import ClientToken
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.auth.connection import OwnToken
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.runtime.telemetry.events import EventRecorder
from tests.support.chart_permissions import ACCOUNT
from tests.support.cluster import Cluster
from tests.support.mlflow import MLflow

CLIENT = "kagenti-mlflow-client"


@pytest.fixture
async def operator(cluster: Cluster, platform: Platform) -> AsyncIterator[KubeClient]:
    """The operator's client, under what the chart grants."""
    del platform
    async with cluster.as_service_account(SYSTEM, ACCOUNT) as client:
        yield client


@pytest.fixture
async def token(operator: KubeClient) -> ClientToken:
    rng = random.Random()
    events = EventRecorder(operator, instance="tests", rng=rng)
    return ClientToken(operator, Settings(), OwnToken(operator.connection), events, rng)


async def test_mlflow_is_asked_in_every_workspace_with_a_token_of_that_account(
    token: ClientToken, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.cluster_role(INTEGRATION)
    second = f"{team}-b"
    await platform.namespace(second)
    client = MLflowClient(token=token, rng=random.Random(), ca_files=[mlflow.server.ca_file])
    for workspace in (team, second):
        made = await client.ensure_experiment(mlflow.url, workspace, "weather")
        assert await mlflow.experiment(workspace, "weather") == await shown(mlflow, workspace, made.id)
        assert await client.get_experiment(mlflow.url, workspace, made.id) == made
    await client.close()
    claims = jwt.decode(token.current() or "", options={"verify_signature": False})
    assert claims["sub"] == f"system:serviceaccount:{SYSTEM}:{CLIENT}"
    assert claims["exp"] - claims["iat"] == 3600


async def shown(mlflow: MLflow, workspace: str, experiment_id: str) -> object:
    return (await mlflow.call("GET", f"get?experiment_id={experiment_id}", workspace))["experiment"]


async def test_that_token_reaches_nothing_of_the_cluster(
    token: ClientToken, cluster: Cluster, platform: Platform, team: str
) -> None:
    await platform.cluster_role(INTEGRATION)
    await token.prepare()
    async with cluster.as_service_account(SYSTEM, CLIENT) as stranger:
        for path in (
            f"/apis/apps/v1/namespaces/{team}/deployments",
            f"/api/v1/namespaces/{SYSTEM}/configmaps",
            f"{RBAC}/namespaces/{team}/roles",
        ):
            with pytest.raises(ApiError, match="Forbidden"):
                await stranger.raw("GET", path)


async def test_without_that_account_the_operators_own_token_serves(
    token: ClientToken, operator: KubeClient, platform: Platform
) -> None:
    await platform.delete(f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{CLIENT}")
    await token.prepare()
    assert token.current() == operator.connection.token()
