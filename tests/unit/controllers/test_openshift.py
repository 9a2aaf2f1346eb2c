"""Whether this is OpenShift, asked of an API server that a test plays."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.openshift import (
    PATIENT_LOOKS,
    RECHECK_SECONDS,
    SELDOM_SECONDS,
    Definitions,
    OpenShiftReconciler,
    build_feature,
)
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.runtime.observable import Observable
from tests.support.peer import Peer, PeerRequest, running_peer, until
from tests.support.widget import event, page, wire
from tests.unit.controllers.dependencies import open_dependencies

CRD = "clusterversions.config.openshift.io"


class Cluster:
    """The reconciler, the server it asks, and the watch of CustomResourceDefinitions."""

    def __init__(self, peer: Peer, dependencies: Dependencies) -> None:
        self.peer = peer
        self.openshift = Observable[bool | None](None)
        self.changes: list[bool | None] = []
        self.openshift.subscribe(lambda: self.changes.append(self.openshift.value))
        (self.crds,) = build_feature(dependencies, self.openshift).informers
        self._reconciler = OpenShiftReconciler(dependencies.client, self.crds.cache, self.openshift)

    async def ask(self, status: int) -> float | None:
        """One look, for which discovery answers that status."""
        look = asyncio.ensure_future(self._reconciler.reconcile())
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
async def cluster() -> AsyncIterator[Cluster]:
    async with running_peer() as peer, open_dependencies(Settings(), peer.url) as dependencies:
        cluster = Cluster(peer, dependencies)
        following = asyncio.ensure_future(cluster.crds.run())
        yield cluster
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def crd() -> dict[str, Any]:
    return wire(CRD, 1, namespace="")


async def test_a_group_that_is_served_is_openshift_and_nobody_need_ask_again(cluster: Cluster) -> None:
    await cluster.follow_crds(crd())
    assert await cluster.ask(200) is None
    assert cluster.changes == [True]


async def test_neither_definition_nor_group_is_another_kubernetes(cluster: Cluster) -> None:
    await cluster.follow_crds()
    assert await cluster.ask(404) is None
    assert cluster.changes == [False]


async def test_a_404_beside_the_definitions_changes_nothing_and_is_asked_again(cluster: Cluster) -> None:
    await cluster.follow_crds(crd())
    await cluster.ask(200)
    assert await cluster.ask(404) == RECHECK_SECONDS
    assert await cluster.ask(200) is None
    assert cluster.changes == [True]


async def test_nothing_is_known_while_the_first_answers_disagree(cluster: Cluster) -> None:
    await cluster.follow_crds(crd())
    assert await cluster.ask(404) == RECHECK_SECONDS
    assert cluster.openshift.value is None
    assert await cluster.ask(200) is None
    assert cluster.changes == [True]


async def test_a_definition_that_goes_is_followed_once_discovery_says_so_too(cluster: Cluster) -> None:
    watch = await cluster.follow_crds(crd())
    await cluster.ask(200)
    watch.send(event("DELETED", crd()))
    await until(lambda: not cluster.crds.cache.values())
    assert await cluster.ask(200) == RECHECK_SECONDS
    assert await cluster.ask(404) is None
    assert cluster.changes == [True, False]


async def test_a_group_that_is_never_served_is_asked_for_seldom_in_the_end(cluster: Cluster) -> None:
    await cluster.follow_crds(crd())
    waits = [await cluster.ask(404) for _ in range(PATIENT_LOOKS + 1)]
    assert waits == [RECHECK_SECONDS] * (PATIENT_LOOKS - 1) + [SELDOM_SECONDS] * 2
    assert cluster.changes == []


@pytest.mark.parametrize(("crds", "expected"), [((), False), ((crd(),), True)])
async def test_a_replica_knows_it_once_the_definitions_are_listed_be_there_any_or_none(
    crds: tuple[dict[str, Any], ...], expected: bool
) -> None:
    async with running_peer() as peer, open_dependencies(Settings(), peer.url) as dependencies:
        definitions = Definitions(dependencies)
        assert definitions.value is None
        following = asyncio.ensure_future(definitions.informer.run())
        await (await peer.request()).answer(200, page(10, *crds))
        await definitions.informer.wait_synced()
        assert definitions.value is expected
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
