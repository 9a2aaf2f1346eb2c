"""A small OTLP over HTTP server that keeps what it is sent, and spans in the words of tests.

Spans are sent and kept in OTLP's JSON encoding: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import json
import secrets
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

type Value = str | bool | int | float | Sequence[str]


@dataclass(frozen=True)
class Span:
    """`root`: no other span is its parent. Whether one was is not kept of what came."""

    name: str
    attributes: Mapping[str, Value] = field(default_factory=dict[str, Value])
    root: bool = field(default=False, compare=False)

    def starting_with(self, prefix: str) -> dict[str, Value]:
        return {key: value for key, value in self.attributes.items() if key.startswith(prefix)}


@dataclass(frozen=True)
class Received:
    """One request: where it went, its headers in lower case, its spans."""

    path: str
    headers: Mapping[str, str]
    spans: tuple[Span, ...]


class OtlpSink:
    """Listens on loopback; keeps every request, by path."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._received: list[Received] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="otlp-sink")
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, path: str, wanted: Callable[[Span], bool], seconds: float = 20) -> Received:
        """The first request to `path` with such a span."""

        def find() -> Received | None:
            at_path = (request for request in self._received if request.path == path)
            return next((request for request in at_path if any(map(wanted, request.spans))), None)

        with self._changed:
            found = self._changed.wait_for(find, timeout=seconds)
        assert found is not None, f"no such span came to {path} within {seconds:g} s"
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                sink.keep(Received(self.path, headers, decode_spans(body)))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        return Handler

    def keep(self, received: Received) -> None:
        with self._changed:
            self._received.append(received)
            self._changed.notify_all()


def send_spans(url: str, spans: Sequence[Span]) -> None:
    """Send the spans to an OTLP receiver in one request."""
    request = urllib.request.Request(
        f"{url}/v1/traces",
        data=json.dumps(encode_spans(spans)).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200


def encode_spans(spans: Sequence[Span]) -> dict[str, Any]:
    now = time.time_ns()
    trace_id = secrets.token_hex(16)
    encoded = [
        {
            "traceId": trace_id,
            "spanId": secrets.token_hex(8),
            **({} if span.root else {"parentSpanId": secrets.token_hex(8)}),
            "name": span.name,
            "kind": 1,
            "startTimeUnixNano": str(now),
            "endTimeUnixNano": str(now + 1_000_000),
            "attributes": [{"key": key, "value": _encode(value)} for key, value in span.attributes.items()],
        }
        for span in spans
    ]
    return {
        "resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {"name": "tests"}, "spans": encoded}]}]
    }


def decode_spans(body: Mapping[str, Any]) -> tuple[Span, ...]:
    return tuple(
        Span(span["name"], {it["key"]: _decode(it["value"]) for it in span.get("attributes", [])})
        for resource in body["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    )


def _encode(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case _:
            return {"arrayValue": {"values": [_encode(item) for item in value]}}


def _decode(value: Mapping[str, Any]) -> Value:
    match value:
        case {"intValue": number}:
            return int(number)
        case {"doubleValue": number}:
            return float(number)
        case {"arrayValue": array}:
            return [str(_decode(item)) for item in array["values"]]
        case _:
            (plain,) = value.values()
            return plain
