"""Prints the spans that it is sent by OTLP over HTTP, one JSON object a line.

Runs in the agent's environment, which has OTLP's messages. The first line is its port. `parent` is empty for
a root; ids are lower-case hex.
"""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from typing import Any

_MESSAGES = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")


def describe(span: Any) -> dict[str, Any]:
    return {
        "name": span.name,
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "failed": span.status.code == 2,
        "attributes": {a.key: a.value.string_value or a.value.int_value for a in span.attributes},
    }


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request: Any = _MESSAGES.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    print(json.dumps(describe(span)), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


if __name__ == "__main__":
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
