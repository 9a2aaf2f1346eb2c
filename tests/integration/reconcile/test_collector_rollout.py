"""The collector is rolled before a token that it keeps expires, on a real API server."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kagenti_devcluster.testing.platform import (
    OPENSHIFT_CRD,
    SYSTEM,
    Object,
    Platform,
    eventually,
    workload_path,
)
from tests.support.expectations import expect_event
from tests.support.operator_process import StartOperator

COLLECTOR = workload_path(SYSTEM, "otel-collector")
IMAGE = "otel/opentelemetry-collector-contrib"
FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
HASH = "kagenti.io/otel-config-hash"
RENEWED_AT = "kagenti.io/otel-token-renewed-at"


async def install(platform: Platform, version: str) -> None:
    """OpenShift, MLflow, and a collector whose token lives for ten minutes."""
    await platform.install_crd(OPENSHIFT_CRD)
    await platform.managed_and_ready()
    mount = {"name": "own-token", "mountPath": FOLDER}
    container = {"name": "otel-collector", "image": f"{IMAGE}:{version}", "volumeMounts": [mount]}
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}
    pod: Object = {
        "containers": [container],
        "volumes": [{"name": "own-token", "projected": {"sources": [token]}}],
    }
    await platform.workload(SYSTEM, "otel-collector", agent=False, pod=pod)


async def read(platform: Platform) -> Object:
    found = await platform.get(COLLECTOR)
    assert found is not None
    return found


def annotations(collector: Object) -> dict[str, str]:
    return collector["spec"]["template"]["metadata"].get("annotations", {})


async def wait_for(platform: Platform, annotation: str, after: datetime) -> Object:
    """The collector, once the time in the annotation is later."""

    async def written() -> Object:
        found = await read(platform)
        assert datetime.fromisoformat(annotations(found).get(annotation, "2000-01-01T00:00:00Z")) > after
        return found

    return await eventually(written)


async def age(platform: Platform, minutes: int) -> datetime:
    """Have the last roll be that long ago."""
    rolled = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=minutes)
    template: dict[str, Any] = {"metadata": {"annotations": {RENEWED_AT: rolled.isoformat()}}}
    await platform.patch(COLLECTOR, {"spec": {"template": template}})
    return rolled


async def test_a_collector_is_rolled_for_a_new_token_once_and_an_event_says_so(
    start_operator: StartOperator, platform: Platform
) -> None:
    await install(platform, "0.149.0")
    first = start_operator()
    await wait_for(platform, RENEWED_AT, datetime.now(UTC) - timedelta(minutes=1))

    rolled = await age(platform, minutes=7)
    after = await wait_for(platform, RENEWED_AT, rolled)
    await expect_event(platform, SYSTEM, "otel-collector", "CollectorTokenRenewed")
    first.stop()
    second = start_operator()
    await second.expect_log("OTel collector bootstrap complete")
    assert (await read(platform))["metadata"]["generation"] == after["metadata"]["generation"]


async def test_a_collector_that_reads_a_renewed_token_is_not_rolled_for_it(
    start_operator: StartOperator, platform: Platform
) -> None:
    await install(platform, "0.152.0")
    start_operator()

    async def configured() -> Object:
        found = await read(platform)
        assert HASH in annotations(found)
        return found

    assert RENEWED_AT not in annotations(await eventually(configured))
