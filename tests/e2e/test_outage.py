"""MLflow goes away for a minute and comes back."""

from contextlib import aclosing
from typing import Any

from kagenti_devcluster.demo import steps_agent
from kagenti_devcluster.demo.failures import Hop
from kagenti_devcluster.demo.stage import COLLECTOR, TEAM, Stage
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.resources import CONFIG_MAPS
from kagenti_operator.kube.watch import Bookmark
from tests.e2e.names import MLFLOW_NAMESPACE, PLATFORM
from tests.e2e.reading import find_experiment

MLFLOW_CR = "/apis/mlflow.opendatahub.io/v1/mlflows/mlflow"
CONFIG_MAP = f"/api/v1/namespaces/{PLATFORM}/configmaps/otel-collector-config"
COLLECTOR_PODS = f"/api/v1/namespaces/{PLATFORM}/pods"
MLFLOW_SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{MLFLOW_NAMESPACE}/endpointslices"
# Nothing can be run for it, and MLflow's pods are replaced one after the other.
BROKEN_IMAGE = "example.com/mlflow:broken"
DOWN_SECONDS = 60


def identify(obj: dict[str, Any] | None) -> tuple[str, str]:
    assert obj is not None
    return obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]


async def collector_pods(stage: Stage) -> list[tuple[str, int]]:
    pods = await stage.api.list(COLLECTOR_PODS, "app=otel-collector")
    return [(pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in pods]


async def change_mlflow(stage: Stage, image: str | None, *, available: str) -> None:
    """Have MLflow run that image, its own where it is None, and wait for what its CR says then."""
    await stage.api.patch(MLFLOW_CR, {"spec": {"image": {"image": image} if image else None}})

    async def reported() -> None:
        cr = await stage.api.get(MLFLOW_CR)
        assert cr is not None
        status = next(c["status"] for c in cr["status"]["conditions"] if c["type"] == "Available")
        slices = await stage.api.list(MLFLOW_SLICES, "kubernetes.io/service-name=mlflow")
        endpoints: list[dict[str, Any]] = [e for s in slices for e in s.get("endpoints") or ()]
        ready = sum(bool(endpoint["conditions"].get("ready")) for endpoint in endpoints)
        if status != available or bool(ready) != (available == "True"):
            raise NotYet(f"Available is {status}, {ready} endpoints are ready")

    await stage.until(f"Available {available} of MLflow", reported, seconds=120, hop=Hop.MLFLOW)


async def watch_configuration(stage: Stage, since: str) -> list[str]:
    """What happens to the collector's ConfigMap while MLflow is down."""
    connection = load_connection({"KUBECONFIG": str(stage.paths.kubeconfig)})
    async with KubeClient(connection) as client:
        events = client.watch(
            CONFIG_MAPS,
            namespace=PLATFORM,
            field_selector="metadata.name=otel-collector-config",
            resource_version=since,
            timeout_seconds=DOWN_SECONDS,
        )
        async with aclosing(events):
            return [type(event).__name__ async for event in events if not isinstance(event, Bookmark)]


async def test_mlflow_down_for_a_minute_changes_nothing_and_traces_flow_again(stage: Stage):
    before = identify(await stage.api.get(CONFIG_MAP))
    pods = await collector_pods(stage)
    collector = await stage.api.get(f"/apis/apps/v1/namespaces/{PLATFORM}/deployments/{COLLECTOR}")
    assert collector is not None
    generation = collector["metadata"]["generation"]

    await change_mlflow(stage, BROKEN_IMAGE, available="False")
    assert await watch_configuration(stage, before[1]) == []
    await change_mlflow(stage, None, available="True")

    assert identify(await stage.api.get(CONFIG_MAP)) == before
    assert await collector_pods(stage) == pods
    collector = await stage.api.get(f"/apis/apps/v1/namespaces/{PLATFORM}/deployments/{COLLECTOR}")
    assert collector is not None
    assert collector["metadata"]["generation"] == generation

    stage.experiment_id = await find_experiment(stage)
    await steps_agent.ask(stage)
    await steps_agent.read_trace(stage)


async def test_agents_were_not_rolled_for_it(stage: Stage):
    planner = await stage.api.get(f"/apis/apps/v1/namespaces/{TEAM}/deployments/trip-planner")
    assert planner is not None
    # Made once, labelled once by the platform's own operator, given its environment once.
    assert planner["metadata"]["generation"] == 3
