"""Events as the API server takes them, and as people find them on an object."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import ConfigMap
from kagenti_operator.kube.resources import CLUSTER_ROLES, CONFIG_MAPS
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef
from tests.support.cluster import Cluster

PATIENCE = 60.0


@asynccontextmanager
async def recording(client: KubeClient) -> AsyncGenerator[EventRecorder]:
    recorder = EventRecorder(client, instance="pod-1", rng=random.Random())
    run = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def find(
    admin: KubeClient, namespace: str, name: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True
) -> list[dict[str, Any]]:
    """The events about an object as `kubectl describe` finds them, once there is one that is wanted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            selector = {"fieldSelector": f"involvedObject.name={name}"}
            answer = await admin.raw("GET", f"/api/v1/namespaces/{namespace}/events", params=selector)
            items: list[dict[str, Any]] = json.loads(answer)["items"]
            if any(map(wanted, items)):
                return items
            await asyncio.sleep(0.05)


async def make_config_map(admin: KubeClient, namespace: str) -> ConfigMap:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "subject", "namespace": namespace}}
    return await admin.apply(CONFIG_MAPS, body)


async def test_people_find_an_event_on_the_object(admin: KubeClient, namespace: str) -> None:
    about = await make_config_map(admin, namespace)
    async with recording(admin) as recorder:
        recorder.warning(ObjectRef.of(CONFIG_MAPS, about), "NoWorkspace", "Set --mlflow-workspace.")
        (event,) = await find(admin, namespace, "subject")
    assert event["involvedObject"]["uid"] == about.metadata.uid
    assert (event["type"], event["reason"]) == ("Warning", "NoWorkspace")
    assert event["message"] == "Set --mlflow-workspace."
    assert event["reportingComponent"] == "kagenti-operator"
    assert event["reportingInstance"] == "pod-1"


async def test_what_is_said_again_counts_up_on_the_same_event(admin: KubeClient, namespace: str) -> None:
    about = ObjectRef.of(CONFIG_MAPS, await make_config_map(admin, namespace))
    async with recording(admin) as recorder:
        for _ in range(4):
            recorder.normal(about, "Configured", "In place.")
            await recorder.flush(PATIENCE)
        events = await find(
            admin, namespace, "subject", lambda e: "series" in e and e["series"]["count"] == 4
        )
    assert len(events) == 1


async def test_events_about_cluster_scoped_objects_are_in_default(admin: KubeClient) -> None:
    role = await admin.get(CLUSTER_ROLES, "view")
    assert role
    async with recording(admin) as recorder:
        recorder.normal(ObjectRef.of(CLUSTER_ROLES, role), "Found", "Used for access.")
        (event,) = await find(admin, "default", "view")
    assert event["involvedObject"]["kind"] == "ClusterRole"


@pytest.mark.parametrize("name", ["a" * 253, "a" * 235 + "-" + "a" * 17])
async def test_the_longest_names_and_texts_are_taken(admin: KubeClient, namespace: str, name: str) -> None:
    about = ObjectRef(api_version="v1", kind="ConfigMap", name=name, namespace=namespace)
    with capture_logs() as logs:
        async with recording(admin) as recorder:
            recorder.normal(about, "Configured", "ä" * 2000)
            await recorder.flush(PATIENCE)
    assert not logs
    (event,) = await find(admin, namespace, name)
    assert event["message"].endswith("…")


async def test_an_event_that_may_not_be_written_is_logged_once(
    cluster: Cluster, admin: KubeClient, namespace: str
) -> None:
    about = ObjectRef.of(CONFIG_MAPS, await make_config_map(admin, namespace))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}
    await admin.raw(
        "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body=json.dumps(account).encode()
    )
    with capture_logs() as logs:
        async with cluster.as_service_account(namespace, "nobody") as nobody, recording(nobody) as recorder:
            for number in range(3):
                recorder.normal(about, "Configured", f"text {number}")
            await recorder.flush(PATIENCE)
    refusals = [line for line in logs if line["event"].startswith("Event not recorded")]
    assert len(refusals) == 1
    assert "events.events.k8s.io is forbidden" in refusals[0]["error"]


async def test_a_namespace_that_is_gone_does_not_hold_up_other_events(
    admin: KubeClient, namespace: str
) -> None:
    about = ObjectRef.of(CONFIG_MAPS, await make_config_map(admin, namespace))
    gone = ObjectRef(api_version="v1", kind="ConfigMap", name="x", namespace="was-never-there")
    async with recording(admin) as recorder:
        recorder.normal(gone, "Configured", "x")
        recorder.normal(about, "Configured", "x")
        assert len(await find(admin, namespace, "subject")) == 1
