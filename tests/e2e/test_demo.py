import json
import re
import subprocess
from pathlib import Path

import pytest

from kagenti_devcluster.demo.plan import PLAN
from kagenti_devcluster.demo.stage import Stage
from tests.e2e.names import NAMES, OPERATOR, PLATFORM
from tests.support.demo_run import DemoRun, run_command

TITLES = [step.title for step in PLAN]


@pytest.mark.parametrize("title", TITLES)
def test_every_step_of_the_demo_holds(demo: DemoRun, title: str):
    assert demo.holds(title), f"{demo.block(title)}\n\nthe whole run:\n{demo.output}"


def test_the_demo_succeeds(demo: DemoRun):
    assert demo.status == 0, demo.output


def test_the_agent_was_rolled_for_its_environment_and_for_nothing_else(demo: DemoRun):
    # The platform's own operator has labelled its pods before.
    assert "the agent runs, at generation 3 of its Deployment" in demo.block("See the agent ready")


def test_the_four_messages_are_shown_with_their_keys(demo: DemoRun):
    shown = demo.block("Read the operator's log")
    assert "MLflow CRD detected, discovering MLflow CR" in shown
    assert re.search(
        r"Found available MLflow CR  name=mlflow tracesURL=https://mlflow\.redhat-ods-applications\.svc:8443/v1/traces",
        shown,
    )
    assert re.search(
        r"Created/found MLflow experiment  name=rossoctl-traces workspace=team1 experimentID=\d+", shown
    )
    assert "OTel collector bootstrap complete" in shown


def test_the_trace_is_drawn_as_a_tree(demo: DemoRun):
    shown = demo.block("Find the trace of that request in MLflow")
    assert re.search(r"^ +demo asks the weather agent +[\d.]+ ms$", shown, re.MULTILINE)
    # The agent below the question; model and tool below the agent.
    for kind, depth in (("AGENT", 1), ("CHAT_MODEL", 2), ("TOOL", 2)):
        line = next((line for line in shown.splitlines() if f" {kind} " in line), "")
        assert re.search(r"[├└]─ .* ms$", line), f"no {kind} in\n{shown}"
        assert (len(re.split(r"[├└]─", line)[0]) - 6) // 3 >= depth - 1


def test_what_it_says_about_looking_around_works(demo: DemoRun, tmp_path: Path):
    said = demo.output.rpartition("Look around:")[2]
    script = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    # What shows and ends the cluster has tests of its own.
    script = [line for line in script if "kagenti-devcluster" not in line]
    shell = "\n".join(["set -e", *script])
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{shell}\n{done.stdout}{done.stderr}"
    assert "weather-agent" in done.stdout
    trace = json.loads(done.stdout[done.stdout.index("{") :])["trace"]
    assert trace["trace_info"]["state"] == "OK"


def test_status_and_logs_show_what_runs(demo: DemoRun, directory: Path):
    assert demo.status == 0
    assert "weather-agent" in run_command(directory, ["status"])
    assert "OTel collector bootstrap complete" in run_command(directory, ["logs", OPERATOR])


async def test_the_operator_runs_under_the_charts_service_account(stage: Stage):
    pods = await stage.api.list(
        f"/api/v1/namespaces/{PLATFORM}/pods", "app.kubernetes.io/name=kagenti-operator"
    )
    assert [pod["spec"]["serviceAccountName"] for pod in pods] == ["controller-manager"]


async def test_everything_that_was_written_carries_the_operators_label(stage: Stage):
    written = (
        f"/api/v1/namespaces/{PLATFORM}/configmaps/otel-collector-config",
        f"/api/v1/namespaces/{PLATFORM}/configmaps/otel-ingress-ca",
        "/apis/mlflow.opendatahub.io/v1/mlflows/mlflow",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/team1/rolebindings/otel-collector-mlflow",
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/team1/roles/{NAMES.agent_role('trip-planner')}",
    )
    for path in written:
        found = await stage.api.get(path)
        assert found is not None, f"{path} does not exist"
        assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == NAMES.manager
