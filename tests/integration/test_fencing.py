"""A replica's client may write one moment and may not the next, on a real API server."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.resources import CONFIG_MAPS
from kagenti_operator.runtime.election.fencing import NotLeading, fence
from tests.support.cluster import Cluster

_UNACKNOWLEDGED_WRITE = Path(__file__).with_name("unacknowledged_write.py")


class Gated:
    """A client with one connection, and the gate in front of its writes."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.open = True
        self.namespace = namespace
        self.client = KubeClient(
            load_connection({"KUBECONFIG": str(cluster.admin_kubeconfig)}),
            build_connector=fence(lambda: self.open),
            max_connections=1,
        )

    async def write(self, name: str) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        await self.client.apply(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})

    async def exists(self, name: str) -> bool:
        return await self.client.get(CONFIG_MAPS, name, self.namespace) is not None


@pytest.fixture
async def gated(cluster: Cluster, namespace: str) -> AsyncGenerator[Gated]:
    gated = Gated(cluster, namespace)
    async with gated.client:
        yield gated


async def test_reads_pass_and_writes_only_while_this_replica_leads(gated: Gated) -> None:
    await gated.write("one")
    gated.open = False
    for _ in range(5):
        with pytest.raises(NotLeading, match=r"PATCH /api/v1/.* this replica does not lead"):
            await gated.write("two")
    with pytest.raises(NotLeading):
        await gated.client.delete(CONFIG_MAPS, "one", gated.namespace)
    with pytest.raises(NotLeading):
        await gated.client.raw("POST", f"/api/v1/namespaces/{gated.namespace}/configmaps", body=b"{}")
    # The refusals have given back the only connection.
    assert await gated.exists("one")
    assert not await gated.exists("two")
    gated.open = True
    await gated.write("two")
    assert await gated.exists("two")


async def test_a_write_that_waits_for_its_connection_is_held_back_when_it_gets_it(gated: Gated) -> None:
    connected, closed = asyncio.Event(), asyncio.Event()
    page = await gated.client.list_page(CONFIG_MAPS, namespace=gated.namespace)
    await gated.write("early")

    async def occupy() -> None:
        events = gated.client.watch(
            CONFIG_MAPS, namespace=gated.namespace, resource_version=page.resource_version, timeout_seconds=60
        )
        async with aclosing(events):
            await anext(events)
            connected.set()
            await closed.wait()

    occupying = asyncio.create_task(occupy())
    await connected.wait()
    writing = asyncio.create_task(gated.write("late"))
    # It gets as far as waiting for the connection.
    for _ in range(50):
        await asyncio.sleep(0)
    assert not writing.done()
    gated.open = False
    closed.set()
    with pytest.raises(NotLeading):
        await writing
    await occupying
    assert not await gated.exists("late")


@pytest.mark.parametrize(("client", "fate"), [("gated", "dropped"), ("plain", "held")])
def test_a_write_that_the_network_holds_up_never_arrives_late(client: str, fate: str) -> None:
    # The plain client shows that the network of the test does hold writes up.
    command = [sys.executable, "-P", str(_UNACKNOWLEDGED_WRITE), client]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.returncode) == (fate, 0), done.stderr


def test_a_peer_that_vanishes_without_a_word_is_noticed() -> None:
    # With a keep-alive of one second: what it really is shows tests/unit/kube/test_connector.py.
    command = [sys.executable, "-m", "tests.integration.dead_peer", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said, _, seconds = done.stdout.strip().partition(" ")
    assert (said, done.returncode) == ("Interrupted", 0), done.stderr
    assert float(seconds) < 30
