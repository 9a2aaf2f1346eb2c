"""What this project believes of MLflow and its Kubernetes authorization: docs/notes-mlflow.md, as tests.

Each belief carries a decision elsewhere; when a new release of MLflow breaks one, this says which. Every
release that a platform ships is started as the MLflow operator starts it, one after another.
"""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kagenti_devcluster.testing.mlflow_server import MLflowServer, running_mlflow
from kagenti_devcluster.toolchain import environments
from tests.support.cluster import Cluster
from tests.support.mlflow_tenants import (
    EXPERIMENTS,
    TRACE_SEARCH,
    Answer,
    Tenants,
    ask,
    ask_until_allowed,
    grant,
)
from tests.support.otlp_protobuf import encode_span

# What the developer of an agent writes: the plain client, and nothing but its environment.
AGENT = """
import json
import mlflow

with mlflow.start_run() as run:
    mlflow.log_param("model", "granite")
    mlflow.log_metric("score", 0.5)

with mlflow.start_span("invoke_agent") as span:
    span.set_inputs({"city": "Oslo"})
    with mlflow.start_span("chat"):
        pass
mlflow.flush_trace_async_logging()

print(json.dumps({"run": run.info.run_id, "trace": span.trace_id}))
"""


PREFIX = "/mlflow"


@dataclass(frozen=True)
class Release:
    """A release of MLflow, and what it makes of `--static-prefix`."""

    environment: str
    version: str
    rest_prefix: str
    otlp: str
    not_otlp: str


RELEASES = (
    Release("mlflow-3.10", "3.10.1", rest_prefix="", otlp="/v1/traces", not_otlp="/mlflow/v1/traces"),
    Release("mlflow-3.14", "3.14.0", rest_prefix=PREFIX, otlp="/v1/traces", not_otlp="/mlflow/v1/traces"),
    Release("mlflow-3.17", "3.17.2", rest_prefix=PREFIX, otlp="/mlflow/v1/traces", not_otlp="/v1/traces"),
)


@dataclass(frozen=True)
class Setting:
    """A server, its tenants, and one experiment of the first namespace."""

    release: Release
    server: MLflowServer
    tenants: Tenants
    experiment: str
    experiment_id: str

    def ask(self, method: str, path: str, *, token: str | None = None, **options: Any) -> Answer:
        """A request to the REST API, as who may do everything unless a token is given."""
        options.setdefault("workspace", self.tenants.namespace)
        path = self.release.rest_prefix + path
        return ask(self.server, method, path, token=token or self.tenants.operator_token, **options)

    def create(self, name: str) -> str:
        answer = self.ask("POST", f"{EXPERIMENTS}/create", body={"name": name})
        assert answer.status == 200, answer
        return answer.body["experiment_id"]

    def send_span(
        self, token: str, *, workspace: str | None, experiment_id: str | None, trace_id: str | None = None
    ) -> Answer:
        headers = {} if experiment_id is None else {"x-mlflow-experiment-id": experiment_id}
        span = encode_span("invoke_agent", trace_id or secrets.token_hex(16))
        path = self.release.otlp
        return ask(self.server, "POST", path, token=token, workspace=workspace, body=span, headers=headers)

    def ask_for_otlp(self, path: str, token: str | None, workspace: str | None) -> int:
        """The status for an empty export request without an experiment."""
        return ask(self.server, "POST", path, token=token, workspace=workspace, body=b"").status

    def search(self, token: str, *experiment_ids: str) -> Answer:
        locations = [
            {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id_}}
            for id_ in experiment_ids
        ]
        return self.ask("POST", TRACE_SEARCH, token=token, body={"locations": locations})


@pytest.fixture(scope="module", params=RELEASES, ids=lambda release: release.environment)
def setting(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Setting]:
    release: Release = request.param
    tenants = Tenants.create(cluster)
    with running_mlflow(
        cluster,
        tmp_path_factory.mktemp("mlflow"),
        options=[f"--static-prefix={PREFIX}"],
        health=f"{PREFIX}/health",
        environment=release.environment,
    ) as server:
        made = ask(
            server,
            "POST",
            f"{release.rest_prefix}{EXPERIMENTS}/create",
            token=tenants.operator_token,
            workspace=tenants.namespace,
            body={"name": "weather"},
        )
        yield Setting(release, server, tenants, "weather", made.body["experiment_id"])


# --- addresses, with the static prefix of the MLflow operator ------------------------------------------


def test_the_health_path_has_the_prefix_and_asks_nobody_who_he_is(setting: Setting) -> None:
    health, version = (
        ask(setting.server, "GET", f"{PREFIX}/{page}", token=None, workspace=None)
        for page in ("health", "version")
    )
    assert (health.text, version.text) == ("OK", setting.release.version)


def test_rest_is_served_at_one_of_the_two_places(setting: Setting) -> None:
    """`server-info`, which the MLflow operator probes, is an endpoint of it."""
    elsewhere = "" if setting.release.rest_prefix else PREFIX
    get_by_name = f"{EXPERIMENTS}/get-by-name?experiment_name={setting.experiment}"
    for path in ("/api/3.0/mlflow/server-info", get_by_name):
        assert setting.ask("GET", path).status == 200
        wrong = ask(
            setting.server,
            "GET",
            elsewhere + path,
            token=setting.tenants.operator_token,
            workspace=setting.tenants.namespace,
        )
        assert wrong.status == 404


# --- experiments ---------------------------------------------------------------------------------------


def test_only_an_experiment_that_is_shown_has_its_creation_time_and_keeps_it(setting: Setting) -> None:
    """In milliseconds since 1970; what creates an experiment answers with nothing but its id."""
    before = time.time_ns() // 1_000_000
    made = setting.ask("POST", f"{EXPERIMENTS}/create", body={"name": "known"})
    assert list(made.body) == ["experiment_id"]
    own = {"experiment_id": made.body["experiment_id"]}

    def show(name: str) -> set[int]:
        by_id = setting.ask("GET", f"{EXPERIMENTS}/get", params=own)
        by_name = setting.ask("GET", f"{EXPERIMENTS}/get-by-name", params={"experiment_name": name})
        return {answer.body["experiment"]["creation_time"] for answer in (by_id, by_name)}

    times = show("known")
    assert len(times) == 1
    assert before <= next(iter(times)) <= time.time_ns() // 1_000_000
    for action, body in (("update", {"new_name": "known anew"}), ("delete", {}), ("restore", {})):
        assert setting.ask("POST", f"{EXPERIMENTS}/{action}", body=own | body).status == 200
        assert show("known anew") == times


# --- the collector: OTLP ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collector_token(setting: Setting) -> str:
    """All that OTLP ingestion asks for is `update` on experiments."""
    return setting.tenants.agent("otel-collector", ["update"])


def test_who_may_send_is_answered_404_on_the_wrong_path_and_something_else_on_the_right_one(
    setting: Setting, collector_token: str
) -> None:
    namespace = setting.tenants.namespace
    assert setting.ask_for_otlp(setting.release.not_otlp, collector_token, namespace) == 404
    assert setting.ask_for_otlp(setting.release.otlp, collector_token, namespace) == 422


@pytest.mark.parametrize("good", [True, False], ids=["token", "refused token"])
def test_the_path_is_found_with_any_token_where_the_prefix_is_asked_first(
    setting: Setting, collector_token: str, good: bool
) -> None:
    token = collector_token if good else "of-nobody"
    answers = {
        path: setting.ask_for_otlp(path, token, None) for path in (f"{PREFIX}/v1/traces", "/v1/traces")
    }
    assert next(path for path, status in answers.items() if status != 404) == setting.release.otlp
    # Later releases refuse at the root before they look whether they serve it, so it is asked second.
    assert answers["/v1/traces"] == 400


def test_without_a_token_both_paths_are_refused(setting: Setting) -> None:
    for path in (setting.release.otlp, setting.release.not_otlp):
        assert setting.ask_for_otlp(path, None, None) == 401


def test_spans_without_a_workspace_are_refused_with_400(setting: Setting, collector_token: str) -> None:
    answer = setting.send_span(collector_token, workspace=None, experiment_id=setting.experiment_id)
    assert answer.status == 400
    assert answer.body["error"]["message"] == "Workspace context is required for this request."


def test_spans_without_an_experiment_are_refused_with_422(setting: Setting, collector_token: str) -> None:
    answer = setting.send_span(collector_token, workspace=setting.tenants.namespace, experiment_id=None)
    assert answer.status == 422


def test_spans_for_a_namespace_without_a_binding_are_refused_with_403(
    setting: Setting, collector_token: str
) -> None:
    answer = setting.send_span(
        collector_token, workspace=setting.tenants.other_namespace, experiment_id=setting.experiment_id
    )
    assert (answer.status, answer.body["error"]["code"]) == (403, "PERMISSION_DENIED")


def test_spans_for_no_experiment_are_refused_with_404(setting: Setting, collector_token: str) -> None:
    answer = setting.send_span(collector_token, workspace=setting.tenants.namespace, experiment_id="987654")
    assert (answer.status, answer.body["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_span_that_is_taken_is_found_by_its_otlp_trace_id(setting: Setting, collector_token: str) -> None:
    trace_id = secrets.token_hex(16)
    answer = setting.send_span(
        collector_token,
        workspace=setting.tenants.namespace,
        experiment_id=setting.experiment_id,
        trace_id=trace_id,
    )
    assert answer.status == 200, answer
    found = setting.search(setting.tenants.operator_token, setting.experiment_id)
    assert f"tr-{trace_id}" in [trace["trace_id"] for trace in found.body["traces"]]


def test_a_deleted_experiment_takes_spans_without_a_word(setting: Setting, collector_token: str) -> None:
    deleted = setting.create("deleted")
    setting.ask("POST", f"{EXPERIMENTS}/delete", body={"experiment_id": deleted})
    answer = setting.send_span(collector_token, workspace=setting.tenants.namespace, experiment_id=deleted)
    assert answer.status == 200


# --- an agent: a Role on one experiment by its name ---------------------------------------------------


@pytest.fixture(scope="module")
def agent_token(setting: Setting) -> str:
    """`get` and `update` on the one experiment, as section 2.6 of the contract grants."""
    return setting.tenants.agent("weather", ["get", "update"], [setting.experiment])


@pytest.fixture(scope="module")
def other_id(setting: Setting) -> str:
    return setting.create("other")


def test_a_name_in_the_role_is_the_experiments_name(
    setting: Setting, agent_token: str, other_id: str
) -> None:
    own = setting.ask(
        "GET", f"{EXPERIMENTS}/get", token=agent_token, params={"experiment_id": setting.experiment_id}
    )
    assert own.status == 200
    other = setting.ask("GET", f"{EXPERIMENTS}/get", token=agent_token, params={"experiment_id": other_id})
    assert other.status == 403


def test_spans_are_taken_for_the_named_experiment_only(
    setting: Setting, agent_token: str, other_id: str
) -> None:
    namespace = setting.tenants.namespace
    own = setting.send_span(agent_token, workspace=namespace, experiment_id=setting.experiment_id)
    assert own.status == 200
    assert setting.send_span(agent_token, workspace=namespace, experiment_id=other_id).status == 403


def test_traces_are_searched_with_get_where_the_request_names_experiments(
    setting: Setting, agent_token: str, other_id: str
) -> None:
    assert setting.search(agent_token, setting.experiment_id).status == 200
    assert setting.search(agent_token, other_id).status == 403
    assert setting.search(agent_token).status == 403
    both = setting.search(agent_token, setting.experiment_id, other_id)
    assert both.status == 200
    places = {trace["trace_location"]["mlflow_experiment"]["experiment_id"] for trace in both.body["traces"]}
    assert places == {setting.experiment_id}


def test_a_list_of_experiments_shows_the_named_one_only(
    setting: Setting, agent_token: str, other_id: str
) -> None:
    answer = setting.ask("POST", f"{EXPERIMENTS}/search", token=agent_token, body={"max_results": 100})
    assert [experiment["name"] for experiment in answer.body["experiments"]] == [setting.experiment]
    assert other_id


def test_an_agent_cannot_create_delete_or_rename(setting: Setting, agent_token: str) -> None:
    """Renaming takes `update` on both names."""
    own = {"experiment_id": setting.experiment_id}
    for action, body in (
        ("create", {"name": "mine"}),
        ("delete", own),
        ("update", own | {"new_name": "renamed"}),
    ):
        assert setting.ask("POST", f"{EXPERIMENTS}/{action}", token=agent_token, body=body).status == 403


def test_artifacts_need_a_right_on_all_experiments(setting: Setting, agent_token: str) -> None:
    """In a workspace their paths begin with `workspaces/`, where the authorization expects the id."""
    path = f"/api/2.0/mlflow-artifacts/artifacts/workspaces/{setting.tenants.namespace}"
    path += f"/{setting.experiment_id}/notes.json"
    assert setting.ask("PUT", path, token=agent_token, body={}).status == 403
    assert setting.ask("PUT", path, body={}).status == 200


def test_a_new_grant_is_seen_when_the_refusal_is_forgotten(setting: Setting) -> None:
    token = setting.tenants.agent("late", [])
    show: dict[str, Any] = {"token": token, "params": {"experiment_id": setting.experiment_id}}
    assert setting.ask("GET", f"{EXPERIMENTS}/get", **show).status == 403
    tenants = setting.tenants
    grant(tenants.cluster, tenants.namespace, "late", ["get"], [setting.experiment])
    answer = ask_until_allowed(
        setting.server,
        "GET",
        f"{setting.release.rest_prefix}{EXPERIMENTS}/get",
        workspace=tenants.namespace,
        **show,
    )
    assert answer.status == 200


def test_the_plain_client_of_the_newest_release_logs_a_run_and_a_trace(
    setting: Setting, agent_token: str, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    setting.tenants.cluster.control_plane.kubeconfig_for_token(
        agent_token, kubeconfig, setting.tenants.namespace
    )
    environment = os.environ | {
        "KUBECONFIG": str(kubeconfig),
        "MLFLOW_TRACKING_URI": setting.server.url + setting.release.rest_prefix,
        "MLFLOW_TRACKING_AUTH": "kubernetes-namespaced",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": str(setting.server.ca_file),
        "MLFLOW_WORKSPACE": setting.tenants.namespace,
        "MLFLOW_EXPERIMENT_ID": setting.experiment_id,
        "MLFLOW_EXPERIMENT_NAME": setting.experiment,
    }
    done = subprocess.run(
        [environments.find(environments.DEFAULT_MLFLOW), "-c", AGENT],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    found = setting.search(setting.tenants.operator_token, setting.experiment_id)
    assert made["trace"] in [trace["trace_id"] for trace in found.body["traces"]]
    run = setting.ask("GET", "/api/2.0/mlflow/runs/get", params={"run_id": made["run"]})
    assert run.body["run"]["info"]["user_id"] == f"system:serviceaccount:{setting.tenants.namespace}:weather"


# --- addresses ----------------------------------------------------------------------------------------


def test_only_local_names_are_served_unless_others_are_allowed(setting: Setting) -> None:
    answer = setting.ask(
        "POST",
        f"{EXPERIMENTS}/create",
        body={"name": "x"},
        headers={"Host": "mlflow.redhat-ods-applications.svc:8443"},
    )
    assert (answer.status, "Invalid Host header" in answer.text) == (403, True)
