"""The client against a real MLflow server with Kubernetes authorization."""

import asyncio
import random
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kagenti_devcluster.testing.mlflow_server import MLflowServer, running_mlflow
from kagenti_operator.http.retry import RetryPolicy
from kagenti_operator.kube.auth.rotation import FixedToken
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.mlflow.errors import MLflowError, MLflowUnreachable, MLflowUntrusted
from tests.support.cluster import Cluster
from tests.support.mlflow_tenants import EXPERIMENTS, Tenants, ask


@pytest.fixture(scope="module")
def tenants(cluster: Cluster) -> Tenants:
    return Tenants.create(cluster)


@pytest.fixture(scope="module")
def server(
    cluster: Cluster, tenants: Tenants, tmp_path_factory: pytest.TempPathFactory
) -> Generator[MLflowServer]:
    del tenants  # Its namespaces are there before MLflow looks.
    with running_mlflow(cluster, tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@asynccontextmanager
async def client(
    token: str, *ca_files: Path, policy: RetryPolicy | None = None
) -> AsyncGenerator[MLflowClient]:
    mlflow = MLflowClient(token=FixedToken(token), rng=random.Random(), ca_files=ca_files, policy=policy)
    try:
        yield mlflow
    finally:
        await mlflow.close()


@pytest.fixture
async def operator(server: MLflowServer, tenants: Tenants) -> AsyncGenerator[MLflowClient]:
    async with client(tenants.operator_token, server.ca_file) as mlflow:
        yield mlflow


def change(server: MLflowServer, tenants: Tenants, action: str, **body: str) -> None:
    """Do something to an experiment as somebody else would, in MLflow's pages."""
    path = f"{EXPERIMENTS}/{action}"
    answer = ask(server, "POST", path, token=tenants.operator_token, workspace=tenants.namespace, body=body)
    assert answer.status == 200, answer


async def test_an_experiment_is_made_once(
    operator: MLflowClient, server: MLflowServer, tenants: Tenants
) -> None:
    made = await operator.ensure_experiment(server.url, tenants.namespace, "kagenti-traces")
    found = await operator.ensure_experiment(server.url, tenants.namespace, "kagenti-traces")
    assert found == made
    assert made.id.isdigit()


async def test_a_deleted_experiment_is_restored_with_its_id(
    operator: MLflowClient, server: MLflowServer, tenants: Tenants
) -> None:
    made = await operator.ensure_experiment(server.url, tenants.namespace, "deleted")
    change(server, tenants, "delete", experiment_id=made.id)
    shown = await operator.get_experiment(server.url, tenants.namespace, made.id)
    assert shown is not None
    assert shown.deleted
    assert await operator.ensure_experiment(server.url, tenants.namespace, "deleted") == made
    assert await operator.get_experiment(server.url, tenants.namespace, made.id) == made
    assert not await operator.restore_experiment(server.url, tenants.namespace, made.id)


async def test_a_renamed_experiment_is_followed_by_its_id(
    operator: MLflowClient, server: MLflowServer, tenants: Tenants
) -> None:
    made = await operator.ensure_experiment(server.url, tenants.namespace, "before")
    change(server, tenants, "update", experiment_id=made.id, new_name="after: ü/&")
    shown = await operator.get_experiment(server.url, tenants.namespace, made.id)
    assert shown is not None
    assert shown.name == "after: ü/&"
    assert await operator.ensure_experiment(server.url, tenants.namespace, "after: ü/&") == shown
    assert (await operator.ensure_experiment(server.url, tenants.namespace, "before")).id != made.id


async def test_many_at_once_make_one_experiment(
    operator: MLflowClient, server: MLflowServer, tenants: Tenants
) -> None:
    ensure = operator.ensure_experiment
    made = await asyncio.gather(*(ensure(server.url, tenants.namespace, "contended") for _ in range(20)))
    assert len(set(made)) == 1


async def test_an_experiment_that_never_was_is_none(
    operator: MLflowClient, server: MLflowServer, tenants: Tenants
) -> None:
    assert await operator.get_experiment(server.url, tenants.namespace, "987654") is None


async def test_no_workspace_says_to_configure_one(operator: MLflowClient, server: MLflowServer) -> None:
    with pytest.raises(MLflowError, match="Configure a workspace") as caught:
        await operator.ensure_experiment(server.url, None, "weather")
    assert (caught.value.status, caught.value.retryable) == (400, False)


@pytest.mark.parametrize("workspace", ["no-such-namespace", "kube-system"])
async def test_an_unknown_workspace_says_that_it_is_a_namespace(
    operator: MLflowClient, server: MLflowServer, workspace: str
) -> None:
    for work in (operator.ensure_experiment, operator.get_experiment):
        with pytest.raises(MLflowError, match=f"create '{workspace}', or configure one") as caught:
            await work(server.url, workspace, "1")
        assert caught.value.status == 404


async def test_a_missing_right_is_named(
    operator: MLflowClient, server: MLflowServer, tenants: Tenants
) -> None:
    with pytest.raises(MLflowError, match="verb 'create'") as caught:
        await operator.ensure_experiment(server.url, tenants.other_namespace, "weather")
    assert f"namespace '{tenants.other_namespace}'" in str(caught.value)
    assert (caught.value.status, caught.value.retryable) == (403, False)


async def test_a_token_of_another_cluster_is_reported(server: MLflowServer, tenants: Tenants) -> None:
    async with client("no-token-of-this-cluster", server.ca_file) as stranger:
        with pytest.raises(MLflowError, match="does not take the operator's token") as caught:
            await stranger.ensure_experiment(server.url, tenants.namespace, "weather")
    assert caught.value.status == 401


async def test_an_address_with_a_wrong_path_is_reported(
    operator: MLflowClient, server: MLflowServer, tenants: Tenants
) -> None:
    with pytest.raises(MLflowError, match="check the address in the MLflow CR's status"):
        await operator.ensure_experiment(f"{server.url}/mlflow", tenants.namespace, "weather")


async def test_the_service_ca_is_needed(server: MLflowServer, tenants: Tenants, tmp_path: Path) -> None:
    missing = tmp_path / "service-ca.crt"
    async with client(tenants.operator_token, missing) as mlflow:
        with pytest.raises(MLflowUntrusted, match="missing"):
            await mlflow.ensure_experiment(server.url, tenants.namespace, "kagenti-traces")
        missing.write_bytes(server.ca_file.read_bytes())
        assert await mlflow.ensure_experiment(server.url, tenants.namespace, "kagenti-traces")


async def test_plain_http_to_a_tls_port_is_no_answer(server: MLflowServer, tenants: Tenants) -> None:
    policy = RetryPolicy(total=0)
    async with client(tenants.operator_token, server.ca_file, policy=policy) as mlflow:
        with pytest.raises(MLflowUnreachable, match="no answer from http://"):
            await mlflow.ensure_experiment(server.url.replace("https", "http"), tenants.namespace, "weather")
