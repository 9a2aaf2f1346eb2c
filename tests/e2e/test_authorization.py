"""Who is not granted anything reaches nothing, seen from MLflow and in the collector's log."""

import os
import subprocess
from typing import Any
from urllib.parse import urlsplit

import yaml

from kagenti_devcluster.cluster.kubectl import Manifest
from kagenti_devcluster.demo import steps_agent, steps_experiments
from kagenti_devcluster.demo.commands import checkout_path, run_helm
from kagenti_devcluster.demo.failures import Hop
from kagenti_devcluster.demo.stage import COLLECTOR, TEAM, Stage
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.demo.workloads import environment, is_rolled_out, workload_path
from kagenti_devcluster.toolchain import binaries
from tests.e2e.names import NAMES, OPERATOR, PLATFORM
from tests.e2e.reading import read

PLANNER = steps_experiments.PLANNER
LONELY, QUIET = "team3", "team4"
LONELY_READER = "reader"
CONFIG_MAP = f"/api/v1/namespaces/{PLATFORM}/configmaps/otel-collector-config"
MLFLOW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"


def reader_of(namespace: str) -> list[Manifest]:
    """A namespace without agents, and somebody who may read its experiments."""
    meta = {"name": LONELY_READER, "namespace": namespace}
    role = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "mlflow-operator-mlflow-view",
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **meta}],
        },
    ]


def ask_as_documented(stage: Stage, account: str) -> str:
    """Run the command of docs/troubleshooting.md that asks the authorizer, for that ServiceAccount."""
    text = checkout_path("docs/troubleshooting.md").read_text()
    begin = text.index("    kubectl create -f - -o jsonpath")
    command = text[begin : text.index("EOF\n", text.index("<<EOF") + 5) + 4]
    for ours, named in {
        "kagenti-system:otel-collector": f"{PLATFORM}:{account}",
        "kagenti-traces": NAMES.default_experiment,
        "kubectl": str(binaries.find("kubectl")),
        "\n    ": "\n",
    }.items():
        command = command.replace(ours, named)
    environ = {**os.environ, "KUBECONFIG": str(stage.paths.kubeconfig)}
    done = subprocess.run(
        ["bash", "-c", command.strip()], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


async def test_the_documented_question_says_who_may_write_to_the_collectors_experiment(stage: Stage):
    assert ask_as_documented(stage, COLLECTOR).startswith("true RBAC: allowed by RoleBinding")
    assert ask_as_documented(stage, "default").startswith("false ")


async def test_opting_out_takes_everything_out_and_opting_in_brings_it_back(stage: Stage):
    path = workload_path("deployments", TEAM, PLANNER)
    before = environment(await read(stage, path))

    await set_opt_out(stage, path, "disabled")
    workload = await wait_for_grant(stage, path, granted=False)
    left = [name for name in environment(workload) if name.startswith("MLFLOW_")]
    assert left == []
    # What is the user's own stays.
    assert "PYTHONUNBUFFERED" in environment(workload)
    annotations = workload["spec"]["template"]["metadata"].get("annotations", {})
    assert not any(key.startswith(NAMES.mlflow_annotation("")) for key in annotations)

    await set_opt_out(stage, path, None)
    workload = await wait_for_grant(stage, path, granted=True)
    # The same experiment as before: it and its data stayed.
    assert environment(workload) == before


async def set_opt_out(stage: Stage, path: str, value: str | None) -> None:
    await stage.api.patch(path, {"metadata": {"annotations": {NAMES.mlflow_annotation("inject"): value}}})


async def wait_for_grant(stage: Stage, path: str, *, granted: bool) -> dict[str, Any]:
    """Return the agent once it is rolled out with, or without, environment and grant."""
    grant = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{TEAM}/rolebindings/{NAMES.agent_role(PLANNER)}"

    async def settled() -> dict[str, Any]:
        workload = await read(stage, path)
        bound = await stage.api.get(grant) is not None
        injected = "MLFLOW_EXPERIMENT_ID" in environment(workload)
        if bound != granted or injected != granted or not is_rolled_out(workload):
            raise NotYet(f"RoleBinding: {bound}, variables: {injected}")
        return workload

    what = f"{PLANNER} {'granted' if granted else 'released'}"
    return await stage.until(what, settled, seconds=120, hop=Hop.AGENT, evidence=(TEAM, PLANNER))


async def test_the_collectors_token_is_refused_where_no_agent_lives(stage: Stage):
    await stage.apply(*reader_of(LONELY))
    mlflow = await stage.mlflow()
    token = await stage.api.token(PLATFORM, COLLECTOR)
    span = steps_agent.build_client_span("1" * 32, "2" * 16, 1, 2)
    config = yaml.safe_load((await read(stage, CONFIG_MAP))["data"]["base.yaml"])
    endpoint: str = config["exporters"]["otlp_http/mlflow"]["traces_endpoint"]
    path = urlsplit(endpoint).path
    answer = await mlflow.request(
        "POST", path, LONELY, content=span, headers={"x-mlflow-experiment-id": "1"}, token=token
    )
    assert answer.status == 403, answer.text


async def test_a_workspace_without_agents_takes_spans_as_soon_as_it_exists(stage: Stage):
    await install(stage, workspace=QUIET)
    try:

        async def reported() -> None:
            events = await stage.api.list(MLFLOW_EVENTS)
            if not any(e["reason"] == "ExperimentNotAvailable" and QUIET in e["note"] for e in events):
                raise NotYet("no Event says that the workspace does not exist")

        await stage.until("the Event", reported, seconds=60, hop=Hop.OPERATOR, evidence=(PLATFORM, OPERATOR))
        await stage.apply(*reader_of(QUIET))
        experiment = await wait_for_workspace(stage, QUIET)
        sent = await stage.api.call_service(
            PLATFORM,
            f"{COLLECTOR}:8335",
            "/v1/traces",
            steps_agent.build_client_span("3" * 32, "4" * 16, 1, 2),
            hop=Hop.SENDING,
        )
        assert sent.status == 200
        mlflow = await stage.mlflow()
        token = await stage.api.token(QUIET, LONELY_READER)
        location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}

        async def stored() -> None:
            found = await mlflow.request(
                "POST",
                "/api/3.0/mlflow/traces/search",
                QUIET,
                content={"locations": [location]},
                token=token,
            )
            if found.status != 200 or not found.json().get("traces"):
                raise NotYet(f"no trace: {found.status} {found.text}")

        evidence = (PLATFORM, COLLECTOR)
        await stage.until("the trace", stored, seconds=60, hop=Hop.DELIVERY, evidence=evidence)
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
        key = NAMES.config_hash_annotation
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
