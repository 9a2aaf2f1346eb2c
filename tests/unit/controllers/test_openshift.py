"""Whether this is OpenShift, asked of an API server that a test plays."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kagenti_operator.controllers.cluster import Cluster

from kagenti_operator.controllers.openshift import (
    PATIENT_LOOKS,
    RECHECK_SECONDS,
    SELDOM_SECONDS,
    PlatformController,
)
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.client import KubeClient
from tests.support.peer import Peer, PeerRequest, running_peer, until
from tests.support.widget import event, page, wire

CRD = "clusterversions.config.openshift.io"


class Desk:
    """The controller, the server it asks, and the watch that tells of CustomResourceDefinitions."""

    def __init__(self, peer: Peer, client: KubeClient, cluster: Cluster) -> None:
        self.peer = peer
        self.cluster = cluster
        self.changes: list[bool | None] = []
        self.logic = PlatformController(
            client, cluster, on_change=lambda: self.changes.append(cluster.openshift)
        )

    async def ask(self, status: int) -> float | None:
        """One look, for which discovery answers that status."""
        look = asyncio.ensure_future(self.logic.reconcile(self.logic.KEY))
        request = await self.peer.request()
        assert request.path == "/apis/config.openshift.io"
        await request.answer(status, {})
        return await look

    async def follow_crds(self, *crds: dict[str, Any]) -> PeerRequest:
        await (await self.peer.request()).answer(200, page(10, *crds))
        watch = await self.peer.request()
        watch.begin_stream()
        return watch


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with running_peer() as peer, KubeClient(Connection(peer.url)) as client:
        cluster = Cluster(client, Settings(), rng=random.Random(7))
        following = asyncio.ensure_future(cluster.crds.run())
        yield Desk(peer, client, cluster)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def crd() -> dict[str, Any]:
    return wire(CRD, 1, namespace="")


async def test_a_group_that_is_served_is_openshift_and_nobody_need_ask_again(desk: Desk) -> None:
    await desk.follow_crds(crd())
    assert await desk.ask(200) is None
    assert desk.changes == [True]


async def test_neither_definition_nor_group_is_another_kubernetes(desk: Desk) -> None:
    await desk.follow_crds()
    assert await desk.ask(404) is None
    assert desk.changes == [False]


async def test_a_404_beside_the_definitions_changes_nothing_and_is_asked_again(desk: Desk) -> None:
    await desk.follow_crds(crd())
    await desk.ask(200)
    assert await desk.ask(404) == RECHECK_SECONDS
    assert await desk.ask(200) is None
    assert desk.changes == [True]


async def test_nothing_is_known_while_the_first_answers_disagree(desk: Desk) -> None:
    await desk.follow_crds(crd())
    assert await desk.ask(404) == RECHECK_SECONDS
    assert desk.cluster.openshift is None
    assert await desk.ask(200) is None
    assert desk.changes == [True]


async def test_a_definition_that_goes_is_followed_once_discovery_says_so_too(desk: Desk) -> None:
    watch = await desk.follow_crds(crd())
    await desk.ask(200)
    watch.send(event("DELETED", crd()))
    await until(lambda: not list(desk.cluster.crds.store.values()))
    assert await desk.ask(200) == RECHECK_SECONDS
    assert await desk.ask(404) is None
    assert desk.changes == [True, False]


async def test_a_group_that_is_never_served_is_asked_for_seldom_in_the_end(desk: Desk) -> None:
    await desk.follow_crds(crd())
    waits = [await desk.ask(404) for _ in range(PATIENT_LOOKS + 1)]
    assert waits == [RECHECK_SECONDS] * (PATIENT_LOOKS - 1) + [SELDOM_SECONDS] * 2
    assert desk.changes == []
