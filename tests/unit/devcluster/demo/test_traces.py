import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kagenti_devcluster.demo.traces import Span, parse_trace, render_tree

SECOND = 1_000_000_000


def b64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def answer(*spans: dict[str, Any]) -> bytes:
    return json.dumps({"trace": {"trace_info": {"trace_id": "tr-1"}, "spans": spans}}).encode()


def raw(
    span_id: str, name: str, parent: str | None = None, start: int = 0, end: int = 0, **more: Any
) -> dict[str, Any]:
    span = {
        "trace_id": b64("0af7651916cd43dd8448eb211c80319c"),
        "span_id": b64(span_id),
        "name": name,
        "start_time_unix_nano": start,
        "end_time_unix_nano": end,
        **more,
    }
    return span if parent is None else {**span, "parent_span_id": b64(parent)}


def test_a_trace_of_mlflow_becomes_spans_by_start_with_type_and_attributes():
    typed = [
        {"key": "mlflow.spanType", "value": {"string_value": "TOOL"}},
        {"key": "gen_ai.usage.input_tokens", "value": {"int_value": 12}},
    ]
    later = raw("22" * 8, "execute_tool", "11" * 8, SECOND, SECOND + 2_500_000, attributes=typed)
    first = raw("11" * 8, "invoke_agent", None, 0, 2 * SECOND, status={"code": "STATUS_CODE_ERROR"})

    root, tool = parse_trace(answer(later, first))

    assert (root.name, root.parent, root.failed) == ("invoke_agent", "", True)
    assert (tool.parent, tool.type, tool.failed) == ("11" * 8, "TOOL", False)
    assert tool.milliseconds == 2.5
    assert tool.attributes["gen_ai.usage.input_tokens"] == 12


def test_an_answer_that_is_no_trace_is_refused():
    with pytest.raises(msgspec.DecodeError):
        parse_trace(b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')


def span(span_id: str, name: str, parent: str = "", end: int = 0, **more: Any) -> Span:
    return Span(id=span_id, parent=parent, name=name, end=end, attributes={}, **more)


def test_the_tree_shows_each_span_under_its_parent():
    spans = [
        span("1", "ask", end=9_000_000),
        span("2", "invoke_agent", "1", type="AGENT", end=8_000_000),
        span("3", "chat", "2", type="CHAT_MODEL", end=1_500_000),
        span("4", "execute_tool", "2", type="TOOL", end=250_000, failed=True),
        span("5", "flush", "1"),
    ]
    assert render_tree(spans) == [
        "ask                                  9.0 ms",
        "├─ invoke_agent     AGENT            8.0 ms",
        "│  ├─ chat          CHAT_MODEL       1.5 ms",
        "│  └─ execute_tool  TOOL             0.2 ms  failed",
        "└─ flush                             0.0 ms",
    ]


def test_a_span_without_its_parent_stands_at_the_left():
    lines = render_tree([span("2", "invoke_agent", "unknown"), span("3", "chat", "2")])
    assert [line.split("  ")[0] for line in lines] == ["invoke_agent", "└─ chat"]


@given(parents=st.lists(st.integers(min_value=-1, max_value=30), max_size=30))
def test_every_span_is_drawn_once(parents: list[int]):
    # A parent comes before its children, as in every real trace.
    spans = [span(str(i), f"span-{i};", str(p) if p < i else "") for i, p in enumerate(parents)]
    drawn = "\n".join(render_tree(spans))
    assert all(
        drawn.count(f" span-{i};") + drawn.startswith(f"span-{i};") + drawn.count(f"\nspan-{i};") == 1
        for i in range(len(spans))
    )
