"""Every agent has its own experiment, and only its own: shown by agents with the plain `mlflow` client."""

from collections.abc import Mapping
from typing import Any

from kagenti_devcluster.demo.commands import checkout_path
from kagenti_devcluster.demo.failures import Hop, StepFailed
from kagenti_devcluster.demo.report import Outcome
from kagenti_devcluster.demo.stage import TEAM, Stage
from kagenti_devcluster.demo.traces import render_tree
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.demo.workloads import environment, is_rolled_out, workload_path

OTHER_TEAM = "team2"
PLANNER, REVIEWER, ACCOUNTANT = "trip-planner", "trip-reviewer", "accountant"
_DEPLOYMENTS, _STATEFUL_SETS = "deployments", "statefulsets"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_SECONDS = 180.0
_VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_WORKSPACE",
)


async def deploy(stage: Stage) -> Outcome:
    """A Deployment and a StatefulSet in team1, and an agent of team2; each gets grants and environment."""
    code = checkout_path("examples/tracking-agent/agent.py").read_text()
    metadata = {"name": "tracking-agent", "namespace": TEAM}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"agent.py": code}}
    await stage.apply(config_map)
    await stage.apply_example("tracking-agent")
    found: list[str] = []
    for plural, namespace, name in (
        (_DEPLOYMENTS, TEAM, PLANNER),
        (_STATEFUL_SETS, TEAM, REVIEWER),
        (_DEPLOYMENTS, OTHER_TEAM, ACCOUNTANT),
    ):
        workload = await _wait_for_own_experiment(stage, plural, namespace, name)
        stage.experiments[name] = environment(workload)["MLFLOW_EXPERIMENT_ID"]
        agent, role = f"{workload['kind']} {namespace}/{name}", stage.names.agent_role(name)
        found.append(f"{agent}: experiment {stage.experiments[name]}, Role {role}")
    return Outcome("grants, environment, rolled", tuple(found))


async def _wait_for_own_experiment(stage: Stage, plural: str, namespace: str, name: str) -> dict[str, Any]:
    async def settled() -> dict[str, Any]:
        workload = await stage.api.get(workload_path(plural, namespace, name))
        if workload is None:
            raise NotYet("it does not exist")
        missing = [v for v in _VARIABLES if v not in environment(workload)]
        if missing:
            raise NotYet(f"no {missing[0]} in its container")
        for kind in ("roles", "rolebindings"):
            if await stage.api.get(_grant_path(stage, kind, namespace, name)) is None:
                raise NotYet(f"no {stage.names.agent_role(name)} among the {kind}")
        if not is_rolled_out(workload):
            raise NotYet("its pods are not ready")
        return workload

    workload = await stage.until(
        f"own experiment of {namespace}/{name}",
        settled,
        seconds=_SECONDS,
        hop=Hop.AGENT,
        evidence=(namespace, name),
    )
    _check_identity(workload, namespace, name)
    return workload


def _check_identity(workload: Mapping[str, Any], namespace: str, name: str) -> None:
    values = environment(workload)
    wanted = {
        "MLFLOW_TRACKING_AUTH": "kubernetes-namespaced",
        "MLFLOW_EXPERIMENT_NAME": name,
        "MLFLOW_WORKSPACE": namespace,
    }
    wrong = [f"{k} is {values[k]!r}, not {v!r}" for k, v in wanted.items() if values[k] != v]
    if wrong:
        raise StepFailed(Hop.AGENT, f"{namespace}/{name}: {'; '.join(wrong)}")


def _grant_path(stage: Stage, plural: str, namespace: str, name: str) -> str:
    return f"{_RBAC}/namespaces/{namespace}/{plural}/{stage.names.agent_role(name)}"


async def work(stage: Stage) -> Outcome:
    """Both agents log a trace and a run, which are in MLflow, in their experiments."""
    mlflow = await stage.mlflow()
    shown: list[str] = []
    for name in (PLANNER, REVIEWER):
        made = await _ask(stage, name, "/work", {"city": "Prague"})
        experiment = stage.experiments[name]
        run = await mlflow.run(TEAM, made["run_id"])
        logged_to = (
            run.json()["run"]["info"]["experiment_id"] if run.status == 200 else f"nowhere ({run.text})"
        )
        if logged_to != experiment:
            raise StepFailed(
                Hop.MLFLOW, f"the run of {name} is in {logged_to}, not in experiment {experiment}"
            )
        if made["trace_id"] not in await mlflow.trace_ids(TEAM, experiment):
            raise StepFailed(Hop.MLFLOW, f"the trace of {name} is not in experiment {experiment}")
        shown += [f"{name}: run {made['run_id']}, trace {made['trace_id']} in experiment {experiment}"]
        shown += [f"  {line}" for line in render_tree(await mlflow.spans(TEAM, made["trace_id"]))]
    return Outcome("a run and a trace each, in their own experiments", tuple(shown))


async def pry(stage: Stage) -> Outcome:
    """The same agent, with the same token, is refused everything that is not its own."""
    targets = (
        (f"{REVIEWER}'s experiment in {TEAM}", stage.experiments[REVIEWER], TEAM),
        (f"the collector's experiment in {TEAM}", stage.experiment_id, TEAM),
        (f"{ACCOUNTANT}'s experiment in {OTHER_TEAM}", stage.experiments[ACCOUNTANT], OTHER_TEAM),
        (f"{OTHER_TEAM} with its own experiment's id", stage.experiments[PLANNER], OTHER_TEAM),
    )
    shown = [f"refused with 403 for each of {len(targets)} targets:"]
    tried = ""
    for what, experiment, workspace in targets:
        target = {"experiment_id": experiment, "workspace": workspace}
        tries: dict[str, int] = await _ask(stage, PLANNER, "/pry", target)
        allowed = [f"{name}: {status}" for name, status in tries.items() if status != 403]
        if allowed:
            raise StepFailed(
                Hop.AUTHORIZATION,
                f"{PLANNER} is not refused {what}",
                excerpt=allowed,
                advice="kagenti-devcluster logs mlflow",
            )
        shown.append(f"  {what}")
        tried = ", ".join(tries)
    return Outcome(f"{PLANNER} reaches nothing but its own experiment", (*shown, f"tried: {tried}"))


async def _ask(stage: Stage, name: str, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
    answer = await stage.api.call_service(TEAM, f"{name}:8000", path, content, hop=Hop.AGENT)
    if answer.status != 200:
        raise StepFailed(
            Hop.AGENT,
            f"{name} answers {answer.status} to {path}",
            excerpt=[answer.text, *stage.logs.read(TEAM, name)[-10:]],
            advice=f"kagenti-devcluster logs {name}",
        )
    return answer.json()


async def remove_label(stage: Stage) -> Outcome:
    """Without the label, grants and environment go, the ServiceAccount is refused, and the data stays."""
    mlflow = await stage.mlflow()
    experiment = stage.experiments[REVIEWER]
    path = workload_path(_STATEFUL_SETS, TEAM, REVIEWER)
    await stage.take_label(path)

    async def released() -> None:
        for kind in ("roles", "rolebindings"):
            if await stage.api.get(_grant_path(stage, kind, TEAM, REVIEWER)):
                raise NotYet(f"{stage.names.agent_role(REVIEWER)} is still among the {kind}")
        workload = await stage.api.get(path)
        if workload is None or any(v in environment(workload) for v in _VARIABLES):
            raise NotYet("MLFLOW_* are still in its container")
        if not is_rolled_out(workload):
            raise NotYet("its pod is being replaced")

    await stage.until(
        f"release of {TEAM}/{REVIEWER}", released, seconds=_SECONDS, hop=Hop.AGENT, evidence=(TEAM, REVIEWER)
    )
    token = await stage.api.token(TEAM, REVIEWER)
    refused = await mlflow.experiment(TEAM, experiment, token=token)
    if refused.status != 403:
        raise StepFailed(
            Hop.AUTHORIZATION, f"MLflow still answers {refused.status} to it", excerpt=[refused.text]
        )
    kept = await mlflow.experiment(TEAM, experiment)
    if kept.status != 200 or kept.json()["experiment"]["lifecycle_stage"] != "active":
        raise StepFailed(Hop.MLFLOW, f"experiment {experiment} is gone", excerpt=[kept.text])
    note = (
        "(a token that MLflow has let in before is let in for up to 300 s more: MLflow remembers its answers)"
    )
    return Outcome(
        f"a new token of {REVIEWER} is refused (403); experiment {experiment} and its data stay", (note,)
    )
