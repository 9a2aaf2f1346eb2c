import asyncio

import aiohttp
import pytest

from kagenti_operator.kube.errors import Unreachable
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.telemetry.listener import BindAddress, Listener
from kagenti_operator.runtime.telemetry.metrics import Metrics, build_metrics_app
from tests.support.chance import Chance
from tests.support.virtual_time import settle

pytestmark = pytest.mark.virtual_time


async def scrape(metrics: Metrics) -> tuple[str, str]:
    listener = Listener("metrics", build_metrics_app(metrics), BindAddress("127.0.0.1", 0))
    serving = asyncio.create_task(listener.run())
    try:
        await listener.ready.wait()
        url = f"http://127.0.0.1:{listener.port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.headers["Content-Type"], await response.text()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_a_controller_shows_the_series_that_dashboards_know() -> None:
    metrics = Metrics()

    async def reconcile(key: str) -> float | None:
        if key == "broken":
            raise Unreachable("no answer")
        return 60 if key == "polled" else None

    controller = build_controller("access", reconcile, metrics, Chance(), workers=2)
    for key in ("a", "broken", "polled"):
        controller.enqueue(key)
    run = asyncio.create_task(controller.run())
    await settle()
    controller.stop()
    await run
    kind, text = await scrape(metrics)
    assert kind.startswith("text/plain")
    lines = text.splitlines()
    for expected in (
        'controller_runtime_reconcile_total{controller="access",result="success"} 1.0',
        'controller_runtime_reconcile_total{controller="access",result="error"} 1.0',
        'controller_runtime_reconcile_total{controller="access",result="requeue"} 0.0',
        'controller_runtime_reconcile_total{controller="access",result="requeue_after"} 1.0',
        'controller_runtime_reconcile_errors_total{controller="access"} 1.0',
        'controller_runtime_reconcile_panics_total{controller="access"} 0.0',
        'controller_runtime_reconcile_time_seconds_count{controller="access"} 3.0',
        'controller_runtime_max_concurrent_reconciles{controller="access"} 2.0',
        'controller_runtime_active_workers{controller="access"} 0.0',
        'workqueue_depth{controller="access",name="access",priority=""} 0.0',
        'workqueue_adds_total{controller="access",name="access"} 3.0',
        'workqueue_retries_total{controller="access",name="access"} 1.0',
        'workqueue_queue_duration_seconds_count{controller="access",name="access"} 3.0',
        'workqueue_work_duration_seconds_count{controller="access",name="access"} 3.0',
        'workqueue_unfinished_work_seconds{controller="access",name="access"} 0.0',
        'workqueue_longest_running_processor_seconds{controller="access",name="access"} 0.0',
    ):
        assert expected in lines


async def test_requests_and_the_process_itself_are_measured() -> None:
    metrics = Metrics()
    metrics.observe_request("PATCH", "10.96.0.1:443", "200")
    metrics.observe_request("PATCH", "10.96.0.1:443", "200")
    metrics.observe_request("GET", "10.96.0.1:443", "<error>")
    _, text = await scrape(metrics)
    assert 'rest_client_requests_total{code="200",host="10.96.0.1:443",method="PATCH"} 2.0' in text
    assert 'rest_client_requests_total{code="<error>",host="10.96.0.1:443",method="GET"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert "process_cpu_seconds_total" in text


def test_two_registries_know_nothing_of_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.controller("a").reconciled("success", 1)
    labels = {"controller": "a", "result": "success"}
    assert other.registry.get_sample_value("controller_runtime_reconcile_total", labels) is None


async def test_more_keys_make_no_more_series() -> None:
    metrics = Metrics()

    async def reconcile(_: str) -> None:
        return None

    controller = build_controller("agents", reconcile, metrics, Chance())

    def series() -> int:
        return sum(len(family.samples) for family in metrics.registry.collect())

    before = series()
    for number in range(2000):
        controller.enqueue(f"team{number}/agent")
    run = asyncio.create_task(controller.run())
    await settle()
    controller.stop()
    await run
    assert series() == before
