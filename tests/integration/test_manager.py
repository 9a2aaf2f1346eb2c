"""A whole replica, small: an informer, a controller and the lease, on a real API server."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from kagenti_devcluster.testing.platform import build_crd
from kagenti_operator import clock
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import ConfigMap, KubeObject
from kagenti_operator.kube.resources import CONFIG_MAPS, Resource
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Selection
from kagenti_operator.runtime.control import manager
from kagenti_operator.runtime.control.applier import Applier
from kagenti_operator.runtime.control.controller import Controller, build_controller
from kagenti_operator.runtime.control.manager import Manager
from kagenti_operator.runtime.election.leader import LeaderElector, Leadership, LeaseSettings
from kagenti_operator.runtime.election.lease import LeaseClient, held_record
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.health import Health
from kagenti_operator.runtime.telemetry.listener import BindAddress, Listener
from kagenti_operator.runtime.telemetry.metrics import Metrics, build_metrics_app
from tests.support.cluster import Cluster

PATIENCE = 60.0
LEASE = "copier"


def name_of_original(event: Event[ConfigMap]) -> tuple[str, ...]:
    return (event.object.metadata.name.removeprefix("copy-of-"),)


class Copier:
    """Keeps a copy of every ConfigMap that is labelled `copy=me`."""

    def __init__(self, client: KubeClient, namespace: str, also: Informer[Any] | None = None) -> None:
        """`also`: what another controller needs, which notes what it sees of it."""
        rng = random.Random()
        self._applier = Applier(client)
        self._namespace = namespace
        self.metrics = Metrics()
        self.health = Health()
        self.probes = Listener("probes", self.health.build_app(), BindAddress("127.0.0.1", 0))
        self.scrapes = Listener("metrics", build_metrics_app(self.metrics), BindAddress("127.0.0.1", 0))
        self._originals = self._follow(client, "me")
        self._copies = self._follow(client, "made")
        controller = build_controller("copier", self._reconcile, self.metrics, rng, workers=4)
        for informer in (self._originals, self._copies):
            controller.watches(informer, name_of_original)
        recorder = EventRecorder(client, instance="pod-1", rng=rng)
        leadership = Leadership()
        settings = LeaseSettings(name=LEASE, namespace=namespace, identity="pod-1")
        elector = LeaderElector(
            LeaseClient(client, namespace, LEASE),
            settings,
            leadership,
            recorder=recorder,
            metrics=self.metrics,
            rng=rng,
        )
        self.seen: list[str] = []
        others = (self._watch(also, rng),) if also else ()
        self.manager = Manager(
            informers=(self._originals, self._copies, *((also,) if also else ())),
            controllers=(controller, *others),
            elector=elector,
            leadership=leadership,
            health=self.health,
            always={"events": recorder.run, "probes": self.probes.run, "metrics": self.scrapes.run},
        )

    def _watch(self, informer: Informer[Any], rng: random.Random) -> Controller[str]:
        async def note(key: str) -> None:
            self.seen.append(key)

        watcher = build_controller("watcher", note, self.metrics, rng)
        watcher.enqueue("begins")
        return watcher.watches(informer, lambda event: (event.object.metadata.name,))

    def _follow(self, client: KubeClient, label: str) -> Informer[ConfigMap]:
        return Informer(
            client,
            Selection(resource=CONFIG_MAPS, namespace=self._namespace, label_selector=f"copy={label}"),
            random.Random(),
        )

    async def _reconcile(self, key: str) -> None:
        copy = self._copies.cache.get(self._namespace, f"copy-of-{key}")
        if self._originals.cache.get(self._namespace, key) is None:
            await self._applier.delete(CONFIG_MAPS, copy)
            return
        metadata = {
            "name": f"copy-of-{key}",
            "namespace": self._namespace,
            "labels": {"copy": "made"},
        }
        await self._applier.ensure(
            CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, copy
        )


@asynccontextmanager
async def running(copier: Copier) -> AsyncGenerator[asyncio.Event]:
    stop = asyncio.Event()
    run = asyncio.create_task(copier.manager.run(stop))
    try:
        yield stop
        stop.set()
        async with asyncio.timeout(PATIENCE):
            await run
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def put(client: KubeClient, namespace: str, name: str) -> None:
    metadata = {"name": name, "namespace": namespace, "labels": {"copy": "me"}}
    await client.apply(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


async def wait_for(client: KubeClient, namespace: str, name: str, *, there: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await client.get(CONFIG_MAPS, name, namespace) is not None) is not there:
            await asyncio.sleep(0.05)


async def fetch(listener: Listener, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{listener.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_it_does_the_work_and_ends_in_order(admin: KubeClient, namespace: str) -> None:
    await put(admin, namespace, "early")
    copier = Copier(admin, namespace)
    async with running(copier):
        await wait_for(admin, namespace, "copy-of-early", there=True)
        await put(admin, namespace, "late")
        await wait_for(admin, namespace, "copy-of-late", there=True)
        await admin.delete(CONFIG_MAPS, "early", namespace)
        await wait_for(admin, namespace, "copy-of-early", there=False)
        assert await fetch(copier.probes, "/healthz") == (200, "ok")
        assert await fetch(copier.probes, "/readyz") == (200, "ok")
        _, text = await fetch(copier.scrapes, "/metrics")
        assert 'leader_election_master_status{name="copier"} 1.0' in text
        assert 'controller_runtime_reconcile_total{controller="copier",result="error"} 0.0' in text
    lease = await LeaseClient(admin, namespace, LEASE).get()
    assert lease
    assert lease.holder == ""


async def test_a_replica_that_waits_is_ready_and_writes_nothing(admin: KubeClient, namespace: str) -> None:
    leases = LeaseClient(admin, namespace, LEASE)
    await leases.create(held_record({}, "another", 3600, clock.now()))
    await put(admin, namespace, "one")
    copier = Copier(admin, namespace)
    async with running(copier):
        await copier.probes.ready.wait()
        async with asyncio.timeout(PATIENCE):
            while (await fetch(copier.probes, "/readyz"))[0] != 200:
                await asyncio.sleep(0.05)
        assert await admin.get(CONFIG_MAPS, "copy-of-one", namespace) is None
        assert (await fetch(copier.probes, "/healthz"))[0] == 200
    lease = await leases.get()
    assert lease
    assert lease.holder == "another"


async def test_at_rest_it_only_renews_its_lease(cluster: Cluster, admin: KubeClient, namespace: str) -> None:
    for number in range(5):
        await put(admin, namespace, f"cm-{number}")
    copier = Copier(admin, namespace)
    async with running(copier):
        for number in range(5):
            await wait_for(admin, namespace, f"copy-of-cm-{number}", there=True)
        before = len(writes_in(cluster, namespace, "leases"))
        made = len(writes_in(cluster, namespace, "configmaps"))
        async with asyncio.timeout(PATIENCE):
            while len(writes_in(cluster, namespace, "leases")) < before + 3:
                await asyncio.sleep(0.2)
        assert len(writes_in(cluster, namespace, "configmaps")) == made


GROUP = "converted.example.com"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def define_gadgets(client: KubeClient) -> dict[str, Any]:
    """A kind with an object that is stored at version v1; return its definition."""
    crd = build_crd(GROUP, "v1", "Gadget", "gadgets", scope="Namespaced")
    await client.raw("POST", CRDS, body=json.dumps(crd).encode())
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                gadget = {"apiVersion": f"{GROUP}/v1", "kind": "Gadget", "metadata": {"name": "old"}}
                path = f"/apis/{GROUP}/v1/namespaces/default/gadgets"
                await client.raw("POST", path, body=json.dumps(gadget).encode())
            except ApiError as error:
                if not error.not_found:
                    raise
                await asyncio.sleep(0.1)
            else:
                return crd


async def convert_by(client: KubeClient, crd: dict[str, Any], conversion: dict[str, Any]) -> None:
    """Serve and store v2 from now on, converted that way."""
    (v1,) = crd["spec"]["versions"]
    versions = [{**v1, "storage": False}, {**v1, "name": "v2"}]
    patch = {"spec": {"versions": versions, "conversion": conversion}}
    path = f"{CRDS}/gadgets.{GROUP}"
    await client.raw(
        "PATCH", path, body=json.dumps(patch).encode(), content_type="application/merge-patch+json"
    )
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await client.raw("GET", f"/apis/{GROUP}/v2")
            except ApiError as error:
                if not error.not_found:
                    raise
                await asyncio.sleep(0.1)
            else:
                return


async def test_a_kind_whose_conversion_webhook_is_dead_holds_up_only_itself(
    admin: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager, "DEFER_SECONDS", 1.0)
    monkeypatch.setattr(manager, "_WAITING_SECONDS", 1.0)
    crd = await define_gadgets(admin)
    dead = {
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:1/convert"},
        },
    }
    await convert_by(admin, crd, dead)
    gadgets = Resource(GROUP, "v2", "gadgets", "Gadget", KubeObject)
    copier = Copier(admin, namespace, Informer(admin, Selection(resource=gadgets), random.Random()))
    await put(admin, namespace, "one")
    async with running(copier):
        await wait_for(admin, namespace, "copy-of-one", there=True)
        assert copier.seen == []
        status, said = await fetch(copier.probes, "/readyz")
        assert (status, said.splitlines()[0]) == (200, "ok")
        assert f"what needs them waits (the log says why): gadgets.{GROUP}" in said
        assert f"gadgets.{GROUP}: not heard yet" in (await fetch(copier.probes, "/readyz?verbose"))[1]
        await convert_by(admin, crd, {"strategy": "None", "webhook": None})
        async with asyncio.timeout(PATIENCE):
            while copier.seen != ["begins", "old"]:
                await asyncio.sleep(0.1)
        assert await fetch(copier.probes, "/readyz") == (200, "ok")
    await admin.raw("DELETE", f"{CRDS}/gadgets.{GROUP}")


def writes_in(cluster: Cluster, namespace: str, resource: str) -> list[str]:
    """The writes in one namespace, by the API server's audit log."""
    entries = map(json.loads, cluster.control_plane.audit_log.read_text().splitlines())
    return [
        entry["requestURI"]
        for entry in entries
        if entry["verb"] in ("create", "update", "patch", "delete")
        and entry.get("objectRef", {}).get("namespace") == namespace
        and entry["objectRef"].get("resource") == resource
    ]
