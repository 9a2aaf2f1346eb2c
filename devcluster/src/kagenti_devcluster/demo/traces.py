"""Traces as MLflow's REST API returns them, and their picture as a tree.

`GET /api/3.0/mlflow/traces/get?trace_id=` of MLflow 3.17 answers with OTLP spans in the JSON of protobuf:
ids are base64, times are integers of nanoseconds, attributes a list of keys and typed values.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

SPAN_TYPE = "mlflow.spanType"
_NO_PARENT = ""
_FAILED = "STATUS_CODE_ERROR"


@dataclass(frozen=True, kw_only=True)
class Span:
    """One span; ids in lower-case hex, times in nanoseconds, `type` as MLflow classed it or empty."""

    id: str
    parent: str = _NO_PARENT
    name: str
    type: str = ""
    start: int = 0
    end: int = 0
    failed: bool = False
    attributes: Mapping[str, Any]

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / 1e6


class _Attribute(msgspec.Struct):
    key: str
    value: dict[str, Any] = {}


class _Status(msgspec.Struct):
    code: str = ""


class _Span(msgspec.Struct):
    span_id: str
    name: str
    parent_span_id: str = ""
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_Attribute] = []
    status: _Status = msgspec.field(default_factory=_Status)


class _Trace(msgspec.Struct):
    spans: list[_Span] = []


class _Answer(msgspec.Struct):
    trace: _Trace


def parse_trace(body: bytes) -> tuple[Span, ...]:
    """The spans of one trace, by start. Raises msgspec.DecodeError for anything but such an answer."""
    found = msgspec.json.decode(body, type=_Answer).trace.spans
    return tuple(sorted((_span(span) for span in found), key=lambda span: (span.start, span.id)))


def _span(raw: _Span) -> Span:
    attributes = {a.key: _value(a.value) for a in raw.attributes}
    return Span(
        id=_hex(raw.span_id),
        parent=_hex(raw.parent_span_id),
        name=raw.name,
        type=str(attributes.get(SPAN_TYPE, "")),
        start=int(raw.start_time_unix_nano),
        end=int(raw.end_time_unix_nano),
        failed=raw.status.code == _FAILED,
        attributes=attributes,
    )


def _value(typed: Mapping[str, Any]) -> Any:
    # One key is the type: {"string_value": "x"}; a list or map inside is kept as it is.
    return next(iter(typed.values()), None)


def _hex(text: str) -> str:
    return base64.b64decode(text).hex()


def render_tree(spans: Sequence[Span]) -> list[str]:
    """Lines that show name, type and duration of every span under its parent.

    A span whose parent is not among them is shown at the left: its parent may not have arrived (yet).
    """
    known = {span.id for span in spans}
    roots = [span for span in spans if span.parent not in known]
    rows = [row for root in roots for row in _rows(root, spans, "", "")]
    name_width = max((len(label) for label, _ in rows), default=0)
    type_width = max((len(span.type) for _, span in rows), default=0)
    return [
        f"{label:<{name_width}}  {span.type:<{type_width}}  {_duration(span)}{_mark(span)}"
        for label, span in rows
    ]


def _rows(span: Span, spans: Sequence[Span], before: str, below: str) -> Iterable[tuple[str, Span]]:
    yield before + span.name, span
    children = [child for child in spans if child.parent == span.id]
    for child in children:
        last = child is children[-1]
        yield from _rows(child, spans, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  "))


def _duration(span: Span) -> str:
    return f"{span.milliseconds:8.1f} ms"


def _mark(span: Span) -> str:
    return "  failed" if span.failed else ""
