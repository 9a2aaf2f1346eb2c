"""The real collector takes every configuration, and does with spans what the contract says."""

import json
import re
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_devcluster.toolchain import binaries
from kagenti_operator.kube.objects.models import MLflow, MLflowAddress, MLflowStatus, ObjectMeta
from kagenti_operator.mlflow import status
from kagenti_operator.otelcol import Facts, MLflowDestination, render
from tests.support.collector_process import DESTINATION, Collector, run_collector
from tests.support.otlp_sink import Span, Value

GOLDEN = Path(__file__).parents[1] / "unit" / "otelcol" / "golden"
OAUTH = "oauth2client"
TOKEN = "token-of-the-collector"


def configurations(*, with_oauth: bool) -> list[Path]:
    outputs = sorted(GOLDEN.glob("*.out.yaml"))
    return [
        path
        for path in outputs
        if (text := path.read_text()) and not text.startswith("error:") and (OAUTH in text) == with_oauth
    ]


@pytest.fixture(scope="module")
def otelcol() -> Path:
    return binaries.find("otelcol")


def assert_valid(otelcol: Path, configuration: Path) -> None:
    command = [otelcol, "validate", f"--config={configuration}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", configurations(with_oauth=False), ids=lambda path: path.name)
def test_configuration_is_valid(otelcol: Path, path: Path) -> None:
    assert_valid(otelcol, path)


@pytest.mark.parametrize("path", configurations(with_oauth=True), ids=lambda path: path.name)
def test_configuration_is_valid_without_oauth2client_where_the_build_lacks_it(
    otelcol: Path, path: Path, tmp_path: Path
) -> None:
    if not has_component(otelcol, OAUTH):
        configuration = without_oauth(yaml.safe_load(path.read_text()))
        path = tmp_path / path.name
        path.write_text(json.dumps(configuration))
    assert_valid(otelcol, path)


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        ("https://mlflow.svc:8443/$HOME/$$/${env:HOME}/{\\", True),
        ("https://mlflow.svc:8443/$HOME/$$a/;b=c@d/%41", True),
        ("https://[fd00::1]:8443/mlflow", True),
        ("https://ml{flow:8443", False),
        ("https://ml\\flow:8443", False),
        ("https://mlflow.svc:8443/%zz", False),
        ("https://mlflow.svc:8443/\n  evil: true", False),
    ],
)
def test_an_address_never_keeps_the_collector_from_starting(
    otelcol: Path, tmp_path: Path, address: str, accepted: bool
) -> None:
    found = MLflow(
        metadata=ObjectMeta(name="mlflow"), status=MLflowStatus(address=MLflowAddress(url=address))
    )
    assert (status.address(found) is not None) == accepted
    if accepted:
        destination = MLflowDestination(traces_endpoint=f"{address}/v1/traces")
        configuration = tmp_path / "base.yaml"
        configuration.write_text(render(facts_of(destination)))
        assert_valid(otelcol, configuration)


def test_the_variants_are_there() -> None:
    assert len(configurations(with_oauth=False)) >= 10
    assert len(configurations(with_oauth=True)) >= 10


def facts_of(destination: MLflowDestination) -> Facts:
    return Facts(
        openshift=False,
        mlflow=destination,
        phoenix=False,
        ingress_ca=False,
        modern_exporter_names=True,
    )


def has_component(otelcol: Path, component: str) -> bool:
    listed = subprocess.run([otelcol, "components"], capture_output=True, text=True, check=True, timeout=60)
    return re.search(rf"name: {component}$", listed.stdout, re.MULTILINE) is not None


def without_oauth(configuration: dict[str, Any]) -> dict[str, Any]:
    extension = f"{OAUTH}/mlflow"
    del configuration["extensions"][extension]
    configuration["service"]["extensions"].remove(extension)
    for exporter in configuration["exporters"].values():
        if exporter.get("auth") == {"authenticator": extension}:
            del exporter["auth"]
    return configuration


# --- running ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collector(otelcol: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    directory = tmp_path_factory.mktemp("collector")
    (directory / "token").write_text(TOKEN)
    with run_collector(otelcol, directory, directory / "token") as running:
        yield running


def test_health_check_answers(collector: Collector) -> None:
    with urllib.request.urlopen(collector.health_url, timeout=5) as response:
        assert json.load(response)["status"] == "Server available"


def test_mlflow_is_sent_workspace_experiment_and_token_as_they_are(collector: Collector) -> None:
    mlflow, _ = collector.pass_through()
    assert mlflow.headers["x-mlflow-workspace"] == DESTINATION.workspace
    assert mlflow.headers["x-mlflow-experiment-id"] == DESTINATION.experiment_id
    assert mlflow.headers["authorization"] == f"Bearer {TOKEN}"
    assert "content-encoding" not in mlflow.headers


def test_a_trace_of_six_mebibytes_passes_by_grpc(collector: Collector) -> None:
    prompts = [Span(f"chat {number}", {"prompt": "x" * 2**20}) for number in range(6)]
    mlflow, _ = collector.pass_through(*prompts, url=collector.relay_url)
    assert {span.name for span in prompts} <= {span.name for span in mlflow.spans}


NEITHER, MLFLOW_ONLY, BOTH = (False, False), (True, False), (True, True)


@pytest.mark.parametrize(
    ("span", "kept"),
    [
        (Span("a2a.server.request_handlers.on_message_send"), NEITHER),
        (Span("a2a"), BOTH),
        (Span("a2a-agent"), BOTH),
        (Span("my.a2a.step"), BOTH),
        (Span("GET", {"http.method": "GET"}), NEITHER),
        (Span("POST", {"http.method": "POST"}), NEITHER),
        (Span("DELETE", {"http.method": "DELETE"}), NEITHER),
        (Span("GET"), BOTH),
        (Span("GET", {"http.request.method": "GET"}), NEITHER),
        (Span("POST", {"http.request.method": "POST"}), NEITHER),
        (Span("DELETE", {"http.request.method": "DELETE"}), NEITHER),
        (Span("PUT", {"http.request.method": "PUT"}), MLFLOW_ONLY),
        (Span("PUT", {"http.method": "PUT"}), MLFLOW_ONLY),
        (Span("GET /weather", {"http.method": "GET"}), MLFLOW_ONLY),
        (Span("mcp-router.process", {"http.method": "GET"}), NEITHER),
        (Span("mcp-router.process", {"http.method": "DELETE"}), NEITHER),
        (Span("mcp-router.process", {"http.method": "POST"}), MLFLOW_ONLY),
        (Span("mcp-router.process", {"http.request.method": "GET"}), NEITHER),
        (Span("mcp-router.process", {"http.request.method": "DELETE"}), NEITHER),
        (Span("mcp-router.process", {"http.request.method": "POST"}), MLFLOW_ONLY),
        (Span("mcp-router.process"), BOTH),
        (Span("the-mcp-router.process", {"http.method": "GET"}), MLFLOW_ONLY),
        (Span("call", {"mcp.method.name": "initialize"}), NEITHER),
        (Span("call", {"mcp.method.name": "notifications/initialized"}), NEITHER),
        (Span("call", {"mcp.method.name": "notifications/cancelled"}), NEITHER),
        (Span("call", {"mcp.method.name": "tools/list"}), NEITHER),
        (Span("call", {"mcp.method.name": "tools/call"}), BOTH),
        (Span("invoke_agent weather"), BOTH),
        (Span("odd", {"http.method": 7, "mcp.method.name": ["tools/list"]}), MLFLOW_ONLY),
        (Span("a2a.server.on_message_send", root=True), MLFLOW_ONLY),
        (Span("POST", {"http.method": "POST"}, root=True), MLFLOW_ONLY),
        (Span("POST", {"http.request.method": "POST"}, root=True), MLFLOW_ONLY),
        (Span("mcp-router.process", {"http.method": "GET"}, root=True), MLFLOW_ONLY),
        (Span("initialize", {"mcp.method.name": "initialize"}, root=True), MLFLOW_ONLY),
        (Span("tools/list", {"mcp.method.name": "tools/list"}, root=True), MLFLOW_ONLY),
    ],
    ids=lambda value: (
        f"{'root ' if value.root else ''}{value.name} {dict(value.attributes) or ''}"
        if isinstance(value, Span)
        else ""
    ),
)
def test_filters_drop_plumbing_and_keep_the_rest(
    collector: Collector, span: Span, kept: tuple[bool, bool]
) -> None:
    mlflow, phoenix = collector.pass_through(span)
    arrived = tuple(any(it.name == span.name for it in request.spans) for request in (mlflow, phoenix))
    assert arrived == kept


@pytest.mark.parametrize(
    ("gen_ai", "llm"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param(
            {
                "gen_ai.request.model": "granite",
                "gen_ai.response.model": "granite-4",
                "gen_ai.usage.input_tokens": 12,
                "gen_ai.usage.output_tokens": 30,
                "gen_ai.provider.name": "ollama",
                "gen_ai.system": "openai",
                "gen_ai.request.temperature": 0.7,
            },
            {
                "llm.model_name": "granite",
                "llm.token_count.prompt": 12,
                "llm.token_count.completion": 30,
                "llm.token_count.total": 42,
                "llm.provider": "ollama",
                "llm.system": "ollama",
                "llm.invocation_parameters": '{"temperature":0.7}',
            },
            id="everything",
        ),
        pytest.param(
            {"gen_ai.response.model": "granite-4"}, {"llm.model_name": "granite-4"}, id="response model only"
        ),
        pytest.param(
            {"gen_ai.system": "openai"}, {"llm.provider": "openai", "llm.system": "openai"}, id="older system"
        ),
        pytest.param(
            {"gen_ai.usage.input_tokens": 5}, {"llm.token_count.prompt": 5}, id="no total of one half"
        ),
        pytest.param(
            {"gen_ai.usage.output_tokens": 5}, {"llm.token_count.completion": 5}, id="nor of the other"
        ),
        pytest.param(
            {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 3},
            {"llm.token_count.prompt": 0, "llm.token_count.completion": 3, "llm.token_count.total": 3},
            id="zero is a count",
        ),
        pytest.param(
            {"gen_ai.usage.input_tokens": "many", "gen_ai.usage.output_tokens": 3},
            {"llm.token_count.prompt": "many", "llm.token_count.completion": 3},
            id="a count that is none",
        ),
        pytest.param(
            {"gen_ai.request.temperature": 1},
            {"llm.invocation_parameters": '{"temperature":1}'},
            id="integer",
        ),
        pytest.param(
            {"gen_ai.request.temperature": 0.0}, {"llm.invocation_parameters": '{"temperature":0}'}, id="zero"
        ),
        pytest.param({"gen_ai.request.temperature": '0.7, "x":1'}, {}, id="a temperature that is none"),
        pytest.param(
            {"gen_ai.request.temperature": 0.7, "llm.invocation_parameters": '{"top_p":1}'},
            {"llm.invocation_parameters": '{"top_p":1}'},
            id="richer parameters stay",
        ),
        pytest.param(
            {"llm.model_name": "granite", "llm.token_count.total": 9},
            {"llm.model_name": "granite", "llm.token_count.total": 9},
            id="already OpenInference",
        ),
        pytest.param(
            {"gen_ai.usage.input_tokens": 2.0, "gen_ai.usage.output_tokens": 3.0},
            {"llm.token_count.prompt": 2.0, "llm.token_count.completion": 3.0, "llm.token_count.total": 5},
            id="counts of a client that knows only doubles",
        ),
        pytest.param(
            {"gen_ai.usage.input_tokens": ["1"], "gen_ai.usage.output_tokens": ["2"]},
            {"llm.token_count.prompt": ["1"], "llm.token_count.completion": ["2"]},
            id="lists",
        ),
    ],
)
def test_phoenix_gets_openinference_attributes(
    collector: Collector, gen_ai: dict[str, Value], llm: dict[str, Value]
) -> None:
    name = f"chat-{secrets.token_hex(4)}"
    mlflow, phoenix = collector.pass_through(Span(name, gen_ai))
    (original,) = (span for span in mlflow.spans if span.name == name)
    (transformed,) = (span for span in phoenix.spans if span.name == name)
    assert original.attributes == gen_ai
    assert transformed.starting_with("gen_ai.") == original.starting_with("gen_ai.")
    assert transformed.starting_with("llm.") == llm


def test_odd_spans_fail_no_statement(collector: Collector) -> None:
    odd: dict[str, Value] = {
        "gen_ai.usage.input_tokens": ["1"],
        "gen_ai.usage.output_tokens": "many",
        "gen_ai.request.temperature": "hot",
        "gen_ai.request.model": 7,
        "http.method": 7,
        "mcp.method.name": 7,
    }
    before = len(collector.log.read_text())
    collector.pass_through(Span("odd", odd), *(Span("odd", {key: value}) for key, value in odd.items()))
    log = collector.log.read_text()[before:].splitlines()
    assert [line for line in log if "\terror\t" in line or "\twarn\t" in line] == []
