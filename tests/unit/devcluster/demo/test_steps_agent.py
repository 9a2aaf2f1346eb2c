"""Asking the agent, and where its trace got lost."""

from typing import Any

import pytest

from kagenti_devcluster.demo.failures import Hop
from kagenti_devcluster.demo.steps_agent import (
    build_client_span,
    build_message,
    count_spans,
    find_other_models,
    is_export_error,
    locate_loss,
    read_answer,
)
from kagenti_devcluster.demo.traces import Span


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
def test_export_errors_differ_from_other_lines(line: str, verdict: bool):
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
