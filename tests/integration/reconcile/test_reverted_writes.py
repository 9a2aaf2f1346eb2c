"""Another controller reverts what the operator writes: no object is fought over for ever."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from kagenti_devcluster.testing.platform import (
    DSC_CRD,
    MLFLOW_CRD,
    MLFLOW_NAMESPACE,
    MLFLOWS,
    OPENSHIFT_CRD,
    RBAC,
    SYSTEM,
    Object,
    Platform,
    always,
    config_map_path,
    eventually,
)
from kagenti_operator.runtime.control.write_backoff import FREE
from tests.support.agents import MLFLOW_ONLY, Agents
from tests.support.collector import (
    COLLECTOR,
    CONFIG,
    HASH,
    expect_config,
    expect_rolled,
    install_collector,
)
from tests.support.expectations import expect_event
from tests.support.operator_process import OperatorProcess, StartOperator

BINDING = "otel-collector-mlflow"
UI_CONFIG = config_map_path(SYSTEM, "kagenti-ui-config")
MLFLOW = f"{MLFLOWS}/mlflows/mlflow"
INGRESS_CA = config_map_path(SYSTEM, "otel-ingress-ca")
NOBODY = [{"kind": "ServiceAccount", "name": "nobody", "namespace": "default"}]


@asynccontextmanager
async def reverting(
    platform: Platform, path: str, is_ours: Callable[[Object], bool], patch: Object | None
) -> AsyncGenerator[Callable[[], int]]:
    """Revert the operator's writes as they come; yields how often that was. Without a patch by deleting."""
    reverted = 0

    async def revert() -> None:
        nonlocal reverted
        while True:
            found = await platform.get(path)
            if found and is_ours(found):
                reverted += 1
                await (platform.patch(path, patch) if patch else platform.delete(path))
            await asyncio.sleep(0.02)

    task = asyncio.create_task(revert())
    try:
        yield lambda: reverted
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def expect_rest(reverted: Callable[[], int]) -> None:
    """Assert that the operator wrote as often as it does at once, and then pauses."""

    async def wrote() -> None:
        assert reverted() == FREE

    await eventually(wrote)
    await always(wrote, seconds=5)


def is_managed(found: Object) -> bool:
    return found["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "kagenti-operator"


def is_granting(found: Object) -> bool:
    return found.get("subjects") != NOBODY


def is_there(_: Object) -> bool:
    return True


UNMANAGED: Object = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}


@pytest.mark.parametrize(
    ("is_ours", "patch"),
    [
        (is_granting, {"subjects": NOBODY}),
        (is_managed, UNMANAGED),
        (is_there, None),
    ],
    ids=["other subjects", "another's label", "deleted"],
)
async def test_the_collectors_access(
    start_operator: StartOperator,
    platform: Platform,
    team: str,
    is_ours: Callable[[Object], bool],
    patch: Object | None,
) -> None:
    await platform.managed_and_ready()
    path = f"{RBAC}/namespaces/{team}/rolebindings/{BINDING}"
    async with reverting(platform, path, is_ours, patch) as reverted:
        await platform.workload(team, "weather")
        running = start_operator(features=("--enable-mlflow",))
        await expect_rest(reverted)
        event = await expect_event(platform, "default", "mlflow", "WriteReverted", team, "RoleBinding")
        assert "not granted access" in event["note"]
    # Others are served all the while.
    assert await platform.binding(MLFLOW_NAMESPACE) is not None
    assert len([line for line in running.lines if "another writer keeps" in line["msg"]]) == 1


@pytest.mark.parametrize("kind", ["roles", "rolebindings"])
async def test_an_agents_grant(
    agents: Agents, operator: OperatorProcess, platform: Platform, kind: str
) -> None:
    path = f"{RBAC}/namespaces/{agents.namespace}/{kind}/kagenti-mlflow-weather"
    async with reverting(platform, path, is_there, None) as reverted:
        await agents.create("weather")
        await expect_rest(reverted)
        await expect_event(
            platform, agents.namespace, "weather", "MLflowNotGranted", "another writer keeps deleting"
        )
    # The rest of the pause is seconds.
    await agents.expect_granted("weather")
    await agents.expect_configured("weather")
    failed = operator.logged("Reconciling failed, retrying")
    # Both pass by themselves: a conflict with whoever changed the workload meanwhile, and a RoleBinding that
    # is made when its Role has just been deleted, which the API server answers with 404.
    passing = ("409 Conflict", "404 NotFound")
    assert [line for line in failed if not any(answer in line["error"] for answer in passing)] == []


@pytest.mark.usefixtures("operator")
async def test_the_dashboards_address(platform: Platform) -> None:
    await platform.config_map(SYSTEM, "kagenti-ui-config", {"THEME": "dark"})
    key = "MLFLOW_DASHBOARD_URL"
    patch = {"data": {key: "https://mine.example.com"}}
    theirs = patch["data"][key]
    async with reverting(
        platform, UI_CONFIG, lambda it: it["data"].get(key, theirs) != theirs, patch
    ) as reverted:
        await platform.set_mlflow_status(
            address="https://mlflow.x.svc:8443", url="https://gateway.example.com"
        )
        await expect_rest(reverted)
        await expect_event(platform, SYSTEM, "kagenti-ui-config", "WriteReverted", f".data.{key}")


async def test_the_ingress_ca(start_operator: StartOperator, platform: Platform) -> None:
    await platform.install_crd(OPENSHIFT_CRD)
    await platform.config_map("openshift-config-managed", "default-ingress-cert", {"ca-bundle.crt": "A"})
    await platform.workload(SYSTEM, "otel-collector", agent=False)
    patch = {"data": {"ca-bundle.crt": "mine"}}
    async with reverting(platform, INGRESS_CA, lambda it: it["data"] != patch["data"], patch) as reverted:
        start_operator(features=("--enable-otel-bootstrap",))
        await expect_rest(reverted)
        await expect_event(platform, SYSTEM, "otel-collector", "WriteReverted", "otel-ingress-ca")


async def expect_ever_longer_rest(reverted: Callable[[], int]) -> None:
    """Assert that the collector's objects, at most one write in ten seconds, get ever longer pauses."""

    async def wrote() -> None:
        assert reverted() == FREE + 1

    await eventually(wrote, seconds=90)
    await always(wrote, seconds=14)


async def test_the_collectors_configuration(start_operator: StartOperator, platform: Platform) -> None:
    await install_collector(platform)
    theirs = "service: {pipelines: {}}\n"
    patch = {"data": {"base.yaml": theirs}}
    async with reverting(platform, CONFIG, lambda it: it["data"]["base.yaml"] != theirs, patch) as reverted:
        start_operator()
        await expect_ever_longer_rest(reverted)
        await expect_event(platform, SYSTEM, "otel-collector-config", "WriteReverted", "base.yaml")
    # Whoever lets go gets a collector that works.
    config = await expect_config(platform, "traces/default")
    rolled = await expect_rolled(platform, config)
    # It was never rolled to what is not there.
    assert rolled["metadata"]["generation"] <= 3


@pytest.mark.parametrize(
    "image",
    ["otel/opentelemetry-collector-contrib:0.152.0", "otel/opentelemetry-collector-contrib:0.149.0"],
    ids=["reads its token again", "is rolled for its token"],
)
async def test_the_collectors_pod_template(
    start_operator: StartOperator, platform: Platform, image: str
) -> None:
    await platform.managed_and_ready()
    await install_collector(platform, image=image)

    def is_ours(found: Object) -> bool:
        return HASH in found["spec"]["template"]["metadata"].get("annotations", {})

    patch: Object = {"spec": {"template": {"metadata": {"annotations": None}}}}
    async with reverting(platform, COLLECTOR, is_ours, patch) as reverted:
        start_operator()
        await expect_ever_longer_rest(reverted)
        await expect_event(platform, SYSTEM, "otel-collector", "WriteReverted", "Deployment")


async def test_the_operand(start_operator: StartOperator, platform: Platform) -> None:
    """As an Argo CD does that prunes what is not in its repository."""
    for crd in (DSC_CRD, MLFLOW_CRD):
        await platform.install_crd(crd)
    await platform.set_state("Managed")
    async with reverting(platform, MLFLOW, is_there, None) as reverted:
        running = start_operator(features=MLFLOW_ONLY)
        await expect_rest(reverted)
        await expect_event(
            platform, "default", "default-dsc", "WriteReverted", "keeps deleting MLflow mlflow"
        )
    assert running.logged("Reconciling failed, retrying") == []

    async def made() -> None:
        assert await platform.get(MLFLOW)

    # The rest of the pause is seconds.
    await eventually(made)
