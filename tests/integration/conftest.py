"""A real API server, etcd and controller manager for the whole session, and clients of it."""

import json
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_devcluster.host.launcher import start, stop
from kagenti_devcluster.host.options import Published
from kagenti_operator.kube.client import KubeClient
from tests.support.cluster import Cluster
from tests.support.node_cluster import Bench, NodeCluster, build_options
from tests.support.recorded_requests import RecordRequests


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, record_requests: RecordRequests) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    control_plane = ControlPlane(directory / "control-plane", audit=True)
    try:
        control_plane.start()
        yield Cluster(control_plane, directory)
        record_requests(control_plane.audit_log)
    finally:
        control_plane.close()


@pytest.fixture(scope="session")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeCluster]:
    """A cluster without a platform; what it publishes is the Service `web` of namespace `published`."""
    published = Published(name="web", namespace="published", service="web", port=80)
    options = build_options(tmp_path_factory.mktemp("node") / "devcluster", published=(published,))
    status = start(options, die_with_parent=True)
    yield NodeCluster(options, status.addresses)
    stop(options.directory)


@pytest.fixture
async def bench(node_cluster: NodeCluster) -> AsyncIterator[Bench]:
    """A namespace of this test's own on the cluster, deleted after it."""
    async with node_cluster.open_bench(f"test-{uuid.uuid4().hex[:8]}") as opened:
        yield opened


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[KubeClient]:
    """A client with all rights."""
    async with cluster.as_admin() as client:
        yield client


@pytest.fixture
async def namespace(cluster: Cluster) -> AsyncIterator[str]:
    """A namespace of this test's own, deleted after it."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    async with cluster.as_admin() as client:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await client.raw("POST", "/api/v1/namespaces", body=json.dumps(body).encode())
        yield name
        await client.raw("DELETE", f"/api/v1/namespaces/{name}")
