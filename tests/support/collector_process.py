"""The real collector as a process on the operator's configuration, delivering to a server of the test's."""

import json
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_operator.otelcol import Facts, MLflowDestination, render

from .otlp_sink import OtlpSink, Received, Span, send_spans

MLFLOW_PATH = "/mlflow/v1/traces"
PHOENIX_PATH = "/phoenix/v1/traces"

# Values that a careless reader would take for a number, or expand.
DESTINATION = MLflowDestination(
    traces_endpoint="https://mlflow.test/v1/traces", workspace="${env:HOME}", experiment_id="1e3"
)


@dataclass(frozen=True)
class Collector:
    """A running collector on the operator's configuration for MLflow and Phoenix."""

    otlp_url: str
    # What is sent there comes to the operator's receiver by gRPC.
    relay_url: str
    health_url: str
    sink: OtlpSink
    log: Path

    def pass_through(self, *spans: Span, url: str | None = None) -> tuple[Received, Received]:
        """Send the spans, and return what MLflow and Phoenix got of them."""
        # One request stays one batch, so when the marker is there, so is everything that was not dropped.
        marker = Span(f"marker-{secrets.token_hex(8)}")
        send_spans(url or self.otlp_url, [*spans, marker])
        mlflow = self.sink.wait_for(MLFLOW_PATH, lambda span: span.name == marker.name)
        phoenix = self.sink.wait_for(PHOENIX_PATH, lambda span: span.name == marker.name)
        return mlflow, phoenix


@contextmanager
def run_collector(otelcol: Path, directory: Path, token_file: Path) -> Generator[Collector]:
    """Run the collector in a directory of its own until the block ends."""
    sink = OtlpSink()
    http, grpc, relay, health = free_addresses(4)
    configuration = on_loopback(token_file, sink.url, http=http, grpc=grpc, health=health)
    add_relay(configuration, relay, grpc)
    # JSON is YAML in which every text is quoted, as the operator quotes the headers.
    (directory / "base.yaml").write_text(json.dumps(configuration))
    log = directory / "collector.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [otelcol, f"--config={directory / 'base.yaml'}"], stdout=output, stderr=subprocess.STDOUT
        )
    running = Collector(f"http://{http}", f"http://{relay}", f"http://{health}/", sink, log)
    try:
        wait_until_healthy(running, process)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=30)
        sink.close()


def on_loopback(token_file: Path, sink_url: str, *, http: str, grpc: str, health: str) -> dict[str, Any]:
    """The operator's configuration, changed only in what keeps it from running here."""
    facts = Facts(
        openshift=True, mlflow=DESTINATION, phoenix=True, ingress_ca=False, modern_exporter_names=True
    )
    configuration: dict[str, Any] = yaml.safe_load(render(facts))
    protocols = configuration["receivers"]["otlp"]["protocols"]
    protocols["http"]["endpoint"] = http
    protocols["grpc"]["endpoint"] = grpc
    configuration["extensions"]["health_check"]["endpoint"] = health
    configuration["extensions"]["bearertokenauth/mlflow"]["filename"] = str(token_file)
    exporters = configuration["exporters"]
    mlflow = exporters["otlp_http/mlflow"]
    mlflow |= {"traces_endpoint": sink_url + MLFLOW_PATH, "encoding": "json"}
    del mlflow["tls"]
    # The sink speaks no gRPC.
    del exporters["otlp_grpc/phoenix"]
    exporters["otlp_http/phoenix"] = {"traces_endpoint": sink_url + PHOENIX_PATH, "encoding": "json"}
    exporters["otlp_http/phoenix"]["compression"] = "none"
    service = configuration["service"]
    service["pipelines"]["traces/phoenix"]["exporters"] = ["otlp_http/phoenix"]
    # Its own metrics have a fixed port.
    service["telemetry"] = {"metrics": {"level": "none"}}
    return configuration


def add_relay(configuration: dict[str, Any], http: str, grpc: str) -> None:
    """A way from HTTP to the operator's gRPC receiver, which the standard library cannot speak to."""
    configuration["receivers"]["otlp/relay"] = {"protocols": {"http": {"endpoint": http}}}
    exporter = {"endpoint": grpc, "compression": "none", "tls": {"insecure": True}}
    configuration["exporters"]["otlp_grpc/relay"] = exporter
    pipeline = {"receivers": ["otlp/relay"], "exporters": ["otlp_grpc/relay"]}
    configuration["service"]["pipelines"]["traces/relay"] = pipeline


def free_addresses(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{it.getsockname()[1]}" for it in sockets]
    for it in sockets:
        it.close()
    return addresses


def wait_until_healthy(collector: Collector, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, collector.log.read_text()
        try:
            with urllib.request.urlopen(collector.health_url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the collector did not become healthy:\n{collector.log.read_text()}")
