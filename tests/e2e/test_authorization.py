"""Who is not granted anything reaches nothing, seen from MLflow and in the collector's log."""

from kagenti_operator.sandbox.apply import Manifests
from kagenti_operator.sandbox.demo import steps_agent, steps_experiments
from kagenti_operator.sandbox.demo.commands import checkout_path, run_helm
from kagenti_operator.sandbox.demo.stage import COLLECTOR, PLATFORM, TEAM, Hop, Stage
from kagenti_operator.sandbox.demo.waiting import NotYet
from kagenti_operator.sandbox.demo.workloads import environment, is_rolled_out, workload_path

LONELY = "team3"
LONELY_READER = "reader"
CONFIG_MAP = f"/api/v1/namespaces/{PLATFORM}/configmaps/otel-collector-config"
MLFLOW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


def reader_of(namespace: str) -> Manifests:
    """A namespace without agents, and somebody who may read its experiments."""
    meta = {"name": LONELY_READER, "namespace": namespace}
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "mlflow-operator-mlflow-view",
    }
    return Manifests(
        (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": role,
                "subjects": [{"kind": "ServiceAccount", **meta}],
            },
        )
    )


async def test_opting_out_takes_everything_out_again(stage: Stage):
    path = workload_path("deployments", TEAM, "trip-planner")
    opted_out = {"metadata": {"annotations": {"mlflow.kagenti.io/inject": "disabled"}}}
    await stage.api.patch(path, opted_out)

    async def released() -> None:
        workload = await stage.api.get(path)
        assert workload is not None
        left = [name for name in environment(workload) if name.startswith("MLFLOW_")]
        grant = await stage.api.get(
            f"/apis/rbac.authorization.k8s.io/v1/namespaces/{TEAM}/rolebindings/kagenti-mlflow-trip-planner"
        )
        if left or grant or not is_rolled_out(workload):
            raise NotYet(f"still there: {left}, RoleBinding {bool(grant)}")

    await stage.until("trip-planner released", released, seconds=120, hop=Hop.AGENT)
    workload = await stage.api.get(path)
    assert workload is not None
    # What is the user's own stays.
    assert "REQUESTS_CA_BUNDLE" in environment(workload)
    assert not any(
        key.startswith("mlflow.kagenti.io/")
        for key in workload["spec"]["template"]["metadata"].get("annotations", {})
    )


async def test_the_collectors_token_is_refused_where_no_agent_lives(stage: Stage):
    await stage.api.apply(reader_of(LONELY))
    mlflow = await stage.mlflow()
    token = await stage.api.token(PLATFORM, COLLECTOR)
    span = steps_agent.build_client_span("1" * 32, "2" * 16, 1, 2)
    answer = await mlflow.request(
        "POST", "/v1/traces", LONELY, content=span, headers={"x-mlflow-experiment-id": "1"}, token=token
    )
    assert answer.status == 403, answer.text


async def test_a_span_for_a_namespace_without_a_binding_is_refused_and_not_stored(stage: Stage):
    """The collector is told to deliver to a namespace without agents, hence without RoleBinding."""
    await stage.api.apply(reader_of(LONELY))
    await install(stage, workspace=LONELY)
    stage.logs.mark(PLATFORM, COLLECTOR)
    try:
        experiment = await wait_for_workspace(stage, LONELY)
        sent = await stage.api.call_service(
            PLATFORM,
            f"{COLLECTOR}:4318",
            "/v1/traces",
            steps_agent.build_client_span("3" * 32, "4" * 16, 1, 2),
        )
        assert sent.status == 200

        async def refused() -> None:
            lines = stage.logs.since_mark(PLATFORM, COLLECTOR)
            if not any(steps_agent.is_export_error(line) and "403" in line for line in lines):
                raise NotYet("no 403 in the collector's log")

        evidence = (PLATFORM, COLLECTOR)
        await stage.until("the refusal", refused, seconds=60, hop=Hop.DELIVERY, evidence=evidence)
        mlflow = await stage.mlflow()
        token = await stage.api.token(LONELY, LONELY_READER)
        location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
        stored = await mlflow.request(
            "POST", "/api/3.0/mlflow/traces/search", LONELY, content={"locations": [location]}, token=token
        )
        assert stored.status == 200, stored.text
        assert stored.json().get("traces", []) == []
        events = await stage.api.list(MLFLOW_EVENTS)
        assert any(e["reason"] == "WorkspaceWithoutAgents" and LONELY in e["note"] for e in events)
    finally:
        await install(stage, workspace=TEAM)
        await wait_for_workspace(stage, TEAM)


async def install(stage: Stage, *, workspace: str) -> None:
    chart = str(checkout_path("charts/kagenti-operator"))
    change = ["upgrade", "kagenti-operator", chart, "--namespace", PLATFORM]
    await run_helm(stage.paths, [*change, "--reuse-values", f"--set=mlflow.workspace={workspace}"])


async def wait_for_workspace(stage: Stage, workspace: str) -> str:
    """Return the experiment to which the collector, rolled by now, delivers in that workspace."""

    async def settled() -> str:
        config_map = await stage.api.get(CONFIG_MAP)
        collector = await stage.api.get(workload_path("deployments", PLATFORM, COLLECTOR))
        assert config_map is not None
        assert collector is not None
        text: str = config_map["data"]["base.yaml"]
        if f'x-mlflow-workspace: "{workspace}"' not in text:
            raise NotYet("the configuration names another workspace")
        key = "kagenti.io/otel-config-hash"
        wanted = config_map["metadata"]["annotations"][key]
        if collector["spec"]["template"]["metadata"]["annotations"].get(key) != wanted:
            raise NotYet("the collector is not on it")
        if not is_rolled_out(collector):
            raise NotYet("the collector is rolling")
        return text.partition('x-mlflow-experiment-id: "')[2].partition('"')[0]

    return await stage.until(
        f"collector delivers to {workspace}", settled, seconds=120, hop=Hop.CONFIGURATION
    )


async def test_traces_flow_again_to_the_workspace_that_is_granted(stage: Stage):
    stage.experiment_id = await wait_for_workspace(stage, TEAM)
    await steps_agent.ask(stage)
    await steps_agent.read_trace(stage)


async def test_the_agent_of_the_other_team_has_an_experiment_of_its_own(stage: Stage):
    accountant = await stage.api.get(
        workload_path("deployments", steps_experiments.OTHER_TEAM, steps_experiments.ACCOUNTANT)
    )
    assert accountant is not None
    assert environment(accountant)["MLFLOW_WORKSPACE"] == steps_experiments.OTHER_TEAM
