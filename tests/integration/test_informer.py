"""Informers against a real API server that is killed, cut off and changed underneath them."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from kagenti_devcluster.testing.platform import build_crd
from kagenti_operator.kube.client import PAGE_SIZE, SILENCE_SECONDS, KubeClient
from kagenti_operator.kube.objects.models import ConfigMap, KubeObject
from kagenti_operator.kube.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, Resource
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Added, Removed, Selection
from tests.integration.tcp_proxy import TcpProxy, running_proxy
from tests.support.cluster import Cluster

DEADLINE_SECONDS = 60.0
GROUP = "informer.example.com"
WIDGETS = Resource(GROUP, "v1", "widgets", "Widget", KubeObject)
WIDGETS_CRD = build_crd(GROUP, "v1", "Widget", "widgets", scope="Namespaced")


@pytest.fixture
async def line(cluster: Cluster, tmp_path: Path) -> AsyncIterator[tuple[TcpProxy, KubeClient]]:
    """A client whose connections all go through a proxy."""
    async with running_proxy(cluster, tmp_path) as (proxy, kubeconfig), cluster.connect(kubeconfig) as client:
        yield proxy, client


@asynccontextmanager
async def following[T: KubeObject](
    client: KubeClient,
    selection: Selection[T],
    *,
    page_size: int = PAGE_SIZE,
    silence_seconds: float = SILENCE_SECONDS,
) -> AsyncGenerator[Informer[T]]:
    """A running informer whose first list is done."""
    informer = Informer(
        client, selection, random.Random(), page_size=page_size, silence_seconds=silence_seconds
    )
    task = asyncio.ensure_future(informer.run())
    async with asyncio.timeout(DEADLINE_SECONDS):
        await informer.wait_synced()
    yield informer
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


def data(informer: Informer[ConfigMap]) -> dict[str, dict[str, str]]:
    """What the cache holds, without what the controller manager puts into every namespace."""
    objects = informer.cache.values()
    return {obj.metadata.name: obj.data or {} for obj in objects if obj.metadata.name != "kube-root-ca.crt"}


def config_maps(namespace: str, label_selector: str = "") -> Selection[ConfigMap]:
    return Selection(resource=CONFIG_MAPS, namespace=namespace, label_selector=label_selector)


def deletions(informer: Informer[ConfigMap]) -> list[str]:
    """The names of what is deleted from now on."""
    names: list[str] = []
    informer.subscribe(
        lambda event: names.append(event.object.metadata.name) if isinstance(event, Removed) else None
    )
    return names


def config_map(namespace: str, name: str, *, agent: str = "", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": {"agent": agent}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def widget(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Widget",
        "metadata": {"name": name, "namespace": namespace},
    }


async def test_changes_of_others_reach_the_cache(admin: KubeClient, namespace: str) -> None:
    await admin.apply(CONFIG_MAPS, config_map(namespace, "before", n="1"))
    async with following(admin, config_maps(namespace)) as informer:
        assert data(informer) == {"before": {"n": "1"}}
        await admin.apply(CONFIG_MAPS, config_map(namespace, "after", n="2"))
        await admin.apply(CONFIG_MAPS, config_map(namespace, "before", n="3"))
        await until(lambda: data(informer) == {"before": {"n": "3"}, "after": {"n": "2"}})
        await admin.delete(CONFIG_MAPS, "before", namespace)
        await until(lambda: data(informer) == {"after": {"n": "2"}})


async def test_an_object_that_no_longer_matches_the_selector_is_gone(
    admin: KubeClient, namespace: str
) -> None:
    async with following(admin, config_maps(namespace, "agent=yes")) as informer:
        await admin.apply(CONFIG_MAPS, config_map(namespace, "a", agent="yes"))
        await until(lambda: data(informer) == {"a": {}})
        await admin.apply(CONFIG_MAPS, config_map(namespace, "a", agent="no"))
        await until(lambda: data(informer) == {})


async def test_a_list_of_many_pages_is_complete(admin: KubeClient, namespace: str) -> None:
    expected = {f"c{number}": {"n": str(number)} for number in range(45)}
    for name, content in expected.items():
        await admin.apply(CONFIG_MAPS, config_map(namespace, name, n=content["n"]))
    async with following(admin, config_maps(namespace), page_size=10) as informer:
        assert data(informer) == expected


async def test_a_killed_api_server_costs_nothing_but_time(
    cluster: Cluster, admin: KubeClient, namespace: str
) -> None:
    await admin.apply(CONFIG_MAPS, config_map(namespace, "kept", n="1"))
    await admin.apply(CONFIG_MAPS, config_map(namespace, "deleted"))
    async with following(admin, config_maps(namespace)) as informer:
        deleted = deletions(informer)
        with structlog.testing.capture_logs() as logs:
            cluster.control_plane.kill_apiserver()
            await until(lambda: any("Connection refused" in line.get("error", "") for line in logs))
            assert set(data(informer)) == {"kept", "deleted"}
            # In this thread, because the kernel ties the server's life to the thread that starts it.
            cluster.control_plane.start_apiserver()
            await admin.delete(CONFIG_MAPS, "deleted", namespace)
            await admin.apply(CONFIG_MAPS, config_map(namespace, "kept", n="2"))
            await admin.apply(CONFIG_MAPS, config_map(namespace, "added"))
            await until(lambda: data(informer) == {"kept": {"n": "2"}, "added": {}})
        assert deleted == ["deleted"]


async def test_a_watch_that_is_cut_misses_nothing(
    admin: KubeClient, namespace: str, line: tuple[TcpProxy, KubeClient]
) -> None:
    proxy, client = line
    await admin.apply(CONFIG_MAPS, config_map(namespace, "a"))
    async with following(client, config_maps(namespace)) as informer:
        deleted = deletions(informer)
        for turn in range(3):
            proxy.blocked = True
            proxy.cut()
            await admin.delete(CONFIG_MAPS, "a", namespace)
            await admin.apply(CONFIG_MAPS, config_map(namespace, "a", n=str(turn)))
            proxy.blocked = False
            await until(lambda turn=turn: data(informer) == {"a": {"n": str(turn)}})
        assert deleted == ["a", "a", "a"]


async def test_a_line_that_falls_silent_is_given_up(
    admin: KubeClient, namespace: str, line: tuple[TcpProxy, KubeClient]
) -> None:
    proxy, client = line
    async with following(client, config_maps(namespace), silence_seconds=1) as informer:
        proxy.fall_silent()
        await admin.apply(CONFIG_MAPS, config_map(namespace, "a"))
        await until(lambda: data(informer) == {"a": {}})


async def test_a_deletion_that_the_server_no_longer_remembers_is_still_reported(
    cluster: Cluster, admin: KubeClient, namespace: str, line: tuple[TcpProxy, KubeClient]
) -> None:
    """A restarted API server knows no changes from before its start: the resumed watch answers 410."""
    proxy, client = line
    for name in ("kept", "deleted", "again"):
        await admin.apply(CONFIG_MAPS, config_map(namespace, name))
    async with following(client, config_maps(namespace)) as informer:
        events: list[tuple[type, str]] = []
        informer.subscribe(lambda event: events.append((type(event), event.object.metadata.name)))
        with structlog.testing.capture_logs() as logs:
            proxy.blocked = True
            proxy.cut()
            await admin.delete(CONFIG_MAPS, "deleted", namespace)
            await admin.delete(CONFIG_MAPS, "again", namespace)
            await admin.apply(CONFIG_MAPS, config_map(namespace, "again"))
            cluster.control_plane.kill_apiserver()
            cluster.control_plane.start_apiserver()
            proxy.blocked = False
            await until(lambda: (Removed, "deleted") in events)
        assert "Too far behind to resume the watch, listing again" in [line["event"] for line in logs]
        assert Counter(events) == Counter([(Removed, "deleted"), (Removed, "again"), (Added, "again")])
        assert set(data(informer)) == {"kept", "again"}


async def test_a_crd_may_come_go_and_come_again(admin: KubeClient, namespace: str) -> None:
    async with (
        following(admin, Selection(resource=WIDGETS)) as informer,
        following(admin, Selection(resource=CUSTOM_RESOURCE_DEFINITIONS)) as crds,
    ):
        assert (informer.synced, informer.cache.served.value) == (True, False)
        events: list[type] = []
        informer.subscribe(lambda event: events.append(type(event)))
        crds.subscribe(lambda _: informer.retry_now())
        for _ in range(2):
            await admin.create(CUSTOM_RESOURCE_DEFINITIONS, WIDGETS_CRD)
            await until(lambda: informer.cache.served.value)
            await admin.create(WIDGETS, widget(namespace, "a"))
            await until(lambda: informer.cache.get(namespace, "a"))
            await admin.delete(CUSTOM_RESOURCE_DEFINITIONS, WIDGETS.crd_name)
            await until(lambda: not informer.cache.served.value)
            assert informer.cache.values() == ()
        assert events == [Added, Removed, Added, Removed]
