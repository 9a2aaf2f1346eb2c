"""What the operator reported in a whole run: nothing secret, and on the object that it concerns."""

import json
import os
import subprocess
from collections import Counter
from typing import Any

from kagenti_devcluster.demo import steps_experiments
from kagenti_devcluster.demo.failures import Hop
from kagenti_devcluster.demo.stage import TEAM, Stage
from kagenti_devcluster.demo.steps_operator import parse_log
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.toolchain import binaries
from tests.e2e.names import NAMES, OPERATOR, PLATFORM
from tests.support.leader_terms import collect_writes
from tests.support.leaks import find_leaks, mounted_tokens, secret_values
from tests.support.recorded_requests import operator_of, read_audit_log

CHART_NAME = "kagenti-operator"
WRITE_MESSAGES = (
    "Applied",
    "Deleted",
    "Created MLflow CR",
    "Configured agent for MLflow",
    "Released workload from MLflow",
)
EVENTS = "/apis/events.k8s.io/v1/events"


async def test_no_log_holds_a_token(stage: Stage):
    tokens = mounted_tokens(stage.paths)
    assert tokens
    assert find_leaks(stage.paths, tokens) == {}


async def test_no_log_of_the_operator_holds_what_a_secret_holds(stage: Stage):
    values = secret_values(await stage.api.list("/api/v1/secrets"))
    assert values
    # Some are in others' logs for good reason: a Secret holds the name and address of the agents' model.
    assert find_leaks(stage.paths, values, logs_of=f"{PLATFORM}/{OPERATOR}-") == {}


async def test_no_event_of_the_operator_holds_a_token(stage: Stage):
    reported = json.dumps(await own_events(stage))
    assert not [token for token in mounted_tokens(stage.paths) if token in reported]


async def own_events(stage: Stage) -> list[dict[str, Any]]:
    events = await stage.api.list(EVENTS)
    # Missing where Kubernetes' own controllers combine more than ten similar events.
    return [e for e in events if e.get("reportingController") == NAMES.manager]


async def test_the_same_thing_is_reported_by_one_event(stage: Stage):
    def said(event: dict[str, Any]) -> tuple[str, ...]:
        about = event["regarding"]
        return (
            about["kind"],
            about.get("uid", ""),
            event["reason"],
            event["note"],
            event["reportingInstance"],
        )

    counts = Counter(map(said, await own_events(stage)))
    assert counts
    assert [what for what, count in counts.items() if count > 1] == []


def describe(stage: Stage, namespace: str, kind: str, name: str) -> str:
    """What `kubectl describe` shows below `Events:`."""
    command = [binaries.find("kubectl"), "describe", kind, name, "--namespace", namespace]
    environment = {**os.environ, "KUBECONFIG": str(stage.paths.kubeconfig)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.partition("Events:")[2]


async def test_kubectl_describe_shows_it_on_agent_mlflow_and_lease(stage: Stage):
    async def shown() -> None:
        # It says `<none>` where the API server did not answer it in time.
        agent = describe(stage, TEAM, "deployment", steps_experiments.PLANNER)
        # A cluster-scoped object's events are in another namespace, and are found all the same.
        mlflow = describe(stage, PLATFORM, "mlflows.mlflow.opendatahub.io", "mlflow")
        lease = describe(stage, PLATFORM, "lease", NAMES.lease)
        if "MLflowConfigured" not in agent or NAMES.manager not in agent:
            raise NotYet(agent)
        if "ExperimentNotAvailable" not in mlflow:
            raise NotYet(mlflow)
        if "became leader" not in lease:
            raise NotYet(lease)

    await stage.until("Events", shown, seconds=60, hop=Hop.OPERATOR, evidence=(PLATFORM, OPERATOR))


async def test_the_log_is_json_with_the_same_four_keys_first(stage: Stage):
    lines = stage.logs.read(PLATFORM, OPERATOR)
    entries = parse_log(lines)
    assert len(entries) == len(lines)
    assert {tuple(entry)[:4] for entry in entries} == {("level", "ts", "logger", "msg")}


async def test_each_write_is_one_line_of_the_log(stage: Stage):
    pods = await stage.api.list(f"/api/v1/namespaces/{PLATFORM}/pods", f"app.kubernetes.io/name={CHART_NAME}")
    (pod,) = [pod["metadata"]["name"] for pod in pods]

    async def reported() -> None:
        entries = parse_log(stage.logs.read_latest(PLATFORM, OPERATOR))
        lines = sum(entry["msg"] in WRITE_MESSAGES for entry in entries)
        writes = [
            w
            for w in collect_writes(read_audit_log(stage.paths.audit_log, operator_of(NAMES)))
            if w.pod == pod and w.taken
        ]
        work = [write for write in writes if write.resource not in ("leases", "events")]
        assert work
        if len(work) != lines:
            raise NotYet(f"{len(work)} writes, {lines} lines")

    await stage.until(
        "a line for each write", reported, seconds=60, hop=Hop.OPERATOR, evidence=(PLATFORM, OPERATOR)
    )
