"""Sends a span every second as an agent does, by OpenTelemetry's SDK, and prints the id of each one's trace.

Runs in the agent's environment, in a pod of the cluster; on SIGTERM it sends what is left and ends.
"""

import signal
import threading
from importlib import import_module
from typing import Any

_TRACE: Any = import_module("opentelemetry.sdk.trace")
_EXPORT: Any = import_module("opentelemetry.sdk.trace.export")
_OTLP: Any = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")


def main() -> None:
    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    provider = _TRACE.TracerProvider()
    # Its endpoint is in the environment.
    provider.add_span_processor(_EXPORT.BatchSpanProcessor(_OTLP.OTLPSpanExporter()))
    tracer = provider.get_tracer("drill")
    while not stopped.wait(1):
        with tracer.start_as_current_span("drill") as span:
            pass
        print(f"trace {span.get_span_context().trace_id:032x}", flush=True)
    provider.shutdown()


if __name__ == "__main__":
    main()
