import base64
from pathlib import Path
from typing import Any

import pytest

from kagenti_devcluster.demo.failures import Hop, StepFailed
from kagenti_devcluster.demo.logs import PodLogs
from kagenti_devcluster.demo.steps_agent import (
    build_client_span,
    build_message,
    count_spans,
    find_other_models,
    is_export_error,
    locate_loss,
    read_answer,
)
from kagenti_devcluster.demo.steps_cluster import build_secret, choose_model
from kagenti_devcluster.demo.steps_operator import MESSAGES, find_messages, parse_log
from kagenti_devcluster.demo.traces import Span
from kagenti_devcluster.demo.waiting import NotYet, Overdue, until
from kagenti_devcluster.demo.workloads import annotate_templates, environment, is_rolled_out
from kagenti_devcluster.host.paths import StatePaths

# --- the user's model ----------------------------------------------------------------------------------


def test_without_a_model_in_the_environment_there_is_none():
    assert choose_model({"PATH": "/bin", "VLLM_API_TOKEN": "unused"}) is None


def test_a_model_in_the_environment_is_taken_with_defaults_for_the_rest():
    assert choose_model({"INFERENCE_MODEL": "llama", "VLLM_URL": "https://example.com/v1"}) == {
        "INFERENCE_MODEL": "llama",
        "VLLM_URL": "https://example.com/v1",
        "VLLM_TLS_VERIFY": "true",
        "VLLM_API_TOKEN": "",
    }


@pytest.mark.parametrize(
    ("given", "missing"), [("VLLM_URL", "INFERENCE_MODEL"), ("INFERENCE_MODEL", "VLLM_URL")]
)
def test_half_a_model_is_told(given: str, missing: str):
    with pytest.raises(StepFailed, match=f"{missing} is not set"):
        choose_model({given: "x"})


def test_the_secret_carries_the_values():
    secret: Any = build_secret({"VLLM_API_TOKEN": "s3cret"})
    assert base64.b64decode(secret["data"]["VLLM_API_TOKEN"]) == b"s3cret"


def test_the_pods_of_deployments_carry_the_secrets_version_and_all_else_is_as_it_was():
    service = {"kind": "Service", "spec": {"ports": [{"port": 8000}]}}
    template: dict[str, Any] = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"own": "1"}},
        "spec": {"containers": []},
    }
    deployment = {"kind": "Deployment", "spec": {"replicas": 1, "template": template}}
    marked = annotate_templates([service, deployment], {"version": "7"})
    wanted = {**template, "metadata": {"labels": {"a": "b"}, "annotations": {"own": "1", "version": "7"}}}
    assert marked == [service, {"kind": "Deployment", "spec": {"replicas": 1, "template": wanted}}]


def chat(**attributes: str) -> Span:
    return Span(id="1", name="chat", type="CHAT_MODEL", attributes=attributes)


@pytest.mark.parametrize(
    ("spans", "others"),
    [
        ([chat(**{"gen_ai.request.model": "chosen"}), Span(id="2", name="a", attributes={})], []),
        (
            [chat(**{"gen_ai.request.model": "old"}), chat(**{"gen_ai.request.model": "chosen"})],
            ["old"],
        ),
        ([chat()], ["without a name"]),
    ],
)
def test_a_model_that_was_not_chosen_is_found_in_a_trace(spans: list[Span], others: list[str]):
    assert find_other_models(spans, "chosen") == others


# --- the operator's log --------------------------------------------------------------------------------

LINES = [
    "a line of something else",
    '{"broken',
    '{"level":"info","msg":"MLflow CRD detected, discovering MLflow CR"}',
    '{"msg":"Found available MLflow CR","name":"mlflow","tracesURL":"https://m/v1/traces"}',
    '{"msg":"Created/found MLflow experiment","name":"kagenti-traces","workspace":"t","experimentID":"7"}',
    '{"msg":"OTel collector bootstrap complete","experimentID":"7"}',
]


def test_the_four_messages_are_found_among_others():
    found = find_messages(parse_log(LINES))
    assert found.keys() == MESSAGES.keys()
    assert found["Created/found MLflow experiment"]["experimentID"] == "7"


def test_a_message_without_its_keys_does_not_count():
    assert find_messages(parse_log(['{"msg":"Found available MLflow CR","name":"mlflow"}'])) == {}


# --- agent and collector -------------------------------------------------------------------------------


def test_a_message_is_json_rpc_of_a2a():
    request = build_message("How is the weather?")
    assert (request["jsonrpc"], request["method"]) == ("2.0", "message/send")
    assert request["params"]["message"]["parts"] == [{"kind": "text", "text": "How is the weather?"}]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"kind": "message", "parts": [{"kind": "text", "text": "Sunny."}]}, "Sunny."),
        ({"kind": "task", "artifacts": [{"parts": [{"kind": "text", "text": "Sunny."}]}]}, "Sunny."),
        ({"kind": "task", "status": {"message": {"parts": [{"text": "Sunny."}]}}}, "Sunny."),
        ({"kind": "task", "status": {"state": "failed"}}, ""),
    ],
)
def test_an_answer_is_read_from_a_message_or_a_task(result: dict[str, Any], text: str):
    assert read_answer({"jsonrpc": "2.0", "id": "1", "result": result}) == text


def test_an_error_is_no_answer():
    assert read_answer({"jsonrpc": "2.0", "id": "1", "error": {"code": -32601}}) == ""


def test_the_clients_span_is_the_root_of_its_trace():
    (span,) = build_client_span("ab" * 16, "cd" * 8, 5, 9)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["traceId"] == "ab" * 16
    assert "parentSpanId" not in span


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ('error internal/queue_sender.go:50 Exporting failed. Dropping data. {"error": "...403"}', True),
        ("info  Traces  {}", False),
    ],
)
def test_export_errors_are_told_from_other_lines(line: str, verdict: bool):
    assert is_export_error(line) is verdict


def test_spans_are_counted_from_the_debug_exporters_lines():
    lines = [
        'info\tTraces\t{"otelcol.signal": "traces", "resource spans": 1, "spans": 1}',
        'info\tTraces\t{"otelcol.signal": "traces", "resource spans": 1, "spans": 4}',
        "info\tEverything is ready.",
    ]
    assert count_spans(lines) == 5


ARRIVED = 'info\tTraces\t{"otelcol.signal": "traces", "resource spans": 1, "spans": %d}'
REFUSED = 'error\tExporting failed. Dropping data. {"error": "HTTP Status Code 403"}'


@pytest.mark.parametrize(
    ("collector", "hop", "shown"),
    [
        ([ARRIVED % 1, ARRIVED % 4, REFUSED], Hop.DELIVERY, REFUSED),
        ([ARRIVED % 1], Hop.SENDING, "connection refused"),
        ([ARRIVED % 1, ARRIVED % 4], Hop.MLFLOW, "traces/search answers 200"),
    ],
)
def test_a_lost_trace_is_located_by_what_the_collector_saw(collector: list[str], hop: Hop, shown: str):
    failure = locate_loss(
        "no trace", collector=collector, agent=["connection refused"], mlflow="traces/search answers 200"
    )
    assert failure.hop == hop
    assert failure.excerpt[-1] == shown


# --- workloads -----------------------------------------------------------------------------------------


def workload(**status: int) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "a",
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {}}],
    }
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
        "status": status,
    }


COMPLETE = {"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1, "replicas": 1}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, True),
        ({"observedGeneration": 1}, False),
        ({"updatedReplicas": 0}, False),
        ({"readyReplicas": 0}, False),
        ({"replicas": 2}, False),
    ],
)
def test_a_rollout_is_through_when_only_new_pods_are_there_and_ready(change: dict[str, int], verdict: bool):
    assert is_rolled_out(workload(**{**COMPLETE, **change})) is verdict


def test_the_environment_is_that_of_plain_values():
    assert environment(workload()) == {"A": "1"}


# --- logs ----------------------------------------------------------------------------------------------


def write(paths: StatePaths, pod: str, text: str) -> Path:
    log = paths.container_log("team1", pod, "agent")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(text)
    return log


def test_logs_of_a_workload_are_those_of_its_pods(tmp_path: Path):
    paths = StatePaths(tmp_path)
    write(paths, "weather-agent-6d5f7c9b8d-x7k2p", "one\n")
    write(paths, "weather-1", "another's\n")
    write(paths, "weather-agent-test", "a test's\n")
    assert PodLogs(paths).read("team1", "weather-agent") == ["one"]


def test_since_a_mark_there_are_only_new_lines_and_new_pods(tmp_path: Path):
    paths = StatePaths(tmp_path)
    logs = PodLogs(paths)
    write(paths, "weather-agent-1", "old\n")
    logs.mark("team1", "weather-agent")
    write(paths, "weather-agent-1", "new\n")
    write(paths, "weather-agent-2", "newer\n")
    assert sorted(logs.since_mark("team1", "weather-agent")) == ["new", "newer"]


# --- waiting -------------------------------------------------------------------------------------------


async def test_waiting_ends_with_what_the_probe_finds():
    told: list[str] = []
    answers = iter([NotYet("still closed"), "open"])

    async def probe() -> str:
        answer = next(answers)
        if isinstance(answer, NotYet):
            raise answer
        return answer

    assert await until("the door", probe, seconds=60, note=told.append) == "open"
    assert told == ["the door … 0 s (still closed)"]


async def test_waiting_in_vain_says_for_what_and_what_was_there():
    async def probe() -> None:
        raise NotYet("still closed")

    with pytest.raises(Overdue, match=r"the door: not within 0 s; still closed"):
        await until("the door", probe, seconds=0, note=lambda _: None)
