"""`helm test` on the release that the demo installed, and the release taken away and installed again."""

from collections.abc import AsyncGenerator

import pytest

from kagenti_devcluster.demo import steps_agent, steps_experiments, steps_operator
from kagenti_devcluster.demo.commands import checkout_path, run_helm
from kagenti_devcluster.demo.failures import Hop
from kagenti_devcluster.demo.stage import COLLECTOR, TEAM, Stage
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.demo.workloads import environment, is_rolled_out, workload_path
from kagenti_devcluster.errors import DevClusterError
from tests.e2e.names import NAMES, OPERATOR, PLATFORM
from tests.e2e.reading import read

RBAC = "/apis/rbac.authorization.k8s.io/v1"
CONFIG_MAP = f"/api/v1/namespaces/{PLATFORM}/configmaps/otel-collector-config"
BINDING = f"{RBAC}/namespaces/{TEAM}/rolebindings/otel-collector-mlflow"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{PLATFORM}/leases/{NAMES.lease}"
MLFLOW_CR = "/apis/mlflow.opendatahub.io/v1/mlflows/mlflow"
PLANNER = steps_experiments.PLANNER
GRANT = f"{RBAC}/namespaces/{TEAM}/rolebindings/{NAMES.agent_role(PLANNER)}"
PODS = f"/api/v1/namespaces/{PLATFORM}/pods"
TRACES = "https://mlflow.redhat-ods-applications.svc:8443/v1/traces"
CHART_LABEL = "app.kubernetes.io/instance=kagenti-operator"


async def helm(stage: Stage, command: str, *arguments: str) -> str:
    return await run_helm(stage.paths, [command, "kagenti-operator", "--namespace", PLATFORM, *arguments])


async def wait_for_operator(stage: Stage) -> None:
    """Return when the operator's pods are those of its Deployment's template, and no others are there."""

    async def ready() -> None:
        deployment = await read(stage, workload_path("deployments", PLATFORM, OPERATOR))
        pods = await stage.api.list(PODS, f"{CHART_LABEL},app.kubernetes.io/component=controller-manager")
        if not is_rolled_out(deployment) or len(pods) != deployment["spec"]["replicas"]:
            raise NotYet(f"{len(pods)} pods")

    await stage.until("operator", ready, seconds=120, hop=Hop.OPERATOR, evidence=(PLATFORM, OPERATOR))


async def left_of_the_test(stage: Stage) -> list[str]:
    label = f"{CHART_LABEL},app.kubernetes.io/component=test"
    collections = (
        PODS,
        f"/api/v1/namespaces/{PLATFORM}/serviceaccounts",
        f"{RBAC}/namespaces/{PLATFORM}/roles",
        f"{RBAC}/namespaces/{PLATFORM}/rolebindings",
    )
    found = [item for path in collections for item in await stage.api.list(path, label)]
    return [item["metadata"]["name"] for item in found]


async def test_helm_test_says_that_all_is_well_and_leaves_nothing(stage: Stage):
    said = await helm(stage, "test")
    assert f"pod {OPERATOR}-" in said
    assert "answers /healthz and /readyz" in said
    assert f"the collector's configuration is in place: it sends to {TRACES}, workspace {TEAM}" in said
    assert await left_of_the_test(stage) == []


@pytest.fixture
async def edited(stage: Stage) -> AsyncGenerator[None]:
    """The collector's configuration as somebody edited it while the operator does not look after it."""
    chart = str(checkout_path("charts/kagenti-operator"))
    blind = "--set=controllerManager.container.extraArgs={--enable-otel-bootstrap=false}"
    await helm(stage, "upgrade", chart, "--reuse-values", blind)
    await wait_for_operator(stage)
    text = (await read(stage, CONFIG_MAP))["data"]["base.yaml"]
    await stage.api.patch(CONFIG_MAP, {"data": {"base.yaml": f"{text}# edited\n"}})
    yield
    await helm(
        stage, "upgrade", chart, "--reuse-values", "--set-json=controllerManager.container.extraArgs=[]"
    )
    await wait_for_operator(stage)

    async def undone() -> None:
        if (await read(stage, CONFIG_MAP))["data"]["base.yaml"] != text:
            raise NotYet("it is still edited")

    await stage.until("edit undone", undone, seconds=120, hop=Hop.CONFIGURATION)
    # The collector may have been rolled on the way; all is well again when its pods are.
    await helm(stage, "test")


@pytest.mark.usefixtures("edited")
async def test_helm_test_fails_and_says_what_is_not_in_place(stage: Stage):
    with pytest.raises(DevClusterError) as failed:
        await helm(stage, "test")
    assert "ConfigMap otel-collector-config holds something else than the operator wrote" in str(failed.value)
    assert await left_of_the_test(stage) == []


async def test_uninstalling_takes_what_is_the_operators_and_leaves_agents_and_data(stage: Stage):
    collector = workload_path("deployments", PLATFORM, COLLECTOR)
    agent = workload_path("deployments", TEAM, PLANNER)
    before = {path: await read(stage, path) for path in (MLFLOW_CR, collector, agent, GRANT)}
    await helm(stage, "uninstall")

    async def gone() -> None:
        for path in (BINDING, CONFIG_MAP, LEASE, workload_path("deployments", PLATFORM, OPERATOR)):
            if await stage.api.get(path) is not None:
                raise NotYet(f"{path} is still there")
        if pods := await stage.api.list(PODS, CHART_LABEL):
            raise NotYet(f"{len(pods)} pods are still there")

    try:
        await stage.until("operator gone", gone, seconds=120, hop=Hop.OPERATOR)
        # Nobody was rolled, nothing was taken from those that work.
        for path, earlier in before.items():
            now = await read(stage, path)
            assert now["metadata"]["uid"] == earlier["metadata"]["uid"]
            assert now["metadata"].get("generation") == earlier["metadata"].get("generation"), path
        assert is_rolled_out(await read(stage, collector))
        assert "MLFLOW_EXPERIMENT_ID" in environment(await read(stage, agent))
    finally:
        await steps_operator.install(stage)
        await steps_operator.read_messages(stage)
        await steps_operator.read_configuration(stage)

    # The experiment is the one of before, agents are not rolled, and traces flow again.
    assert (await read(stage, agent))["metadata"]["generation"] == before[agent]["metadata"]["generation"]
    await steps_agent.ask(stage)
    await steps_agent.read_trace(stage)
