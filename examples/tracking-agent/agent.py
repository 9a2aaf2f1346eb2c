"""An agent that uses the plain `mlflow` client and configures nothing: where things go is in its environment.

`POST /work` does a piece of work, logged as a trace and as a run of the agent's own experiment. `POST /pry`,
with `{"experiment_id": ..., "workspace": ...}`, tries to read and forge somebody else's data with the same
token, and answers with the status code of each try.
"""

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

# Traces are sent before `/work` answers, so that the caller can read them at once.
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

PORT = 8000


@mlflow.trace(span_type="AGENT")
def plan_trip(city: str) -> str:
    """What this agent is for."""
    return f"Pack for {look_up_weather(city)} weather in {city}."


@mlflow.trace(span_type="TOOL")
def look_up_weather(city: str) -> str:
    """A tool."""
    return "rainy" if len(city) % 2 else "sunny"


def work(request: Mapping[str, Any]) -> dict[str, Any]:
    """Log a trace and a run with nothing but what the environment says."""
    city = request.get("city", "Prague")
    with mlflow.start_run() as run:
        answer = plan_trip(city)
        mlflow.log_param("city", city)
        mlflow.log_metric("words", len(answer.split()))
    return {
        "answer": answer,
        "trace_id": mlflow.get_last_active_trace_id(),
        "run_id": run.info.run_id,
        "experiment_id": run.info.experiment_id,
    }


def pry(target: Mapping[str, Any]) -> dict[str, int]:
    """Send what the client would send for that experiment, with its token; return the status codes."""
    experiment_id, workspace = target["experiment_id"], target["workspace"]
    uri = urlsplit(mlflow.get_tracking_uri())
    root = f"{uri.scheme}://{uri.netloc}"
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}

    def send(
        method: str,
        endpoint: str,
        headers: Mapping[str, str] | None = None,
        server: str = uri.geturl(),
        **content: Any,
    ) -> int:
        answer = http_request(
            get_default_host_creds(server),
            endpoint,
            method,
            extra_headers={"X-MLFLOW-WORKSPACE": workspace, **(headers or {})},
            max_retries=0,
            raise_on_status=False,
            **content,
        )
        return answer.status_code

    def send_span() -> int:
        """Below the server's path, else at its root: where spans are taken depends on MLflow's release."""
        headers = {"x-mlflow-experiment-id": experiment_id}
        tries = (send("POST", "/v1/traces", headers, at, json=forged_trace()) for at in (uri.geturl(), root))
        return next((status for status in tries if status != 404), 404)

    mlflow_api = "/api/2.0/mlflow"
    return {
        "read the experiment": send(
            "GET", f"{mlflow_api}/experiments/get", params={"experiment_id": experiment_id}
        ),
        "list its runs": send("POST", f"{mlflow_api}/runs/search", json={"experiment_ids": [experiment_id]}),
        "list its traces": send("POST", "/api/3.0/mlflow/traces/search", json={"locations": [location]}),
        "forge a run": send("POST", f"{mlflow_api}/runs/create", json={"experiment_id": experiment_id}),
        "forge a trace": send_span(),
        "delete the experiment": send(
            "POST", f"{mlflow_api}/experiments/delete", json={"experiment_id": experiment_id}
        ),
        "create another experiment": send(
            "POST", f"{mlflow_api}/experiments/create", json={"name": f"pried-{secrets.token_hex(4)}"}
        ),
    }


def forged_trace() -> dict[str, Any]:
    """One span as OTLP's JSON has it."""
    now = time.time_ns()
    span = {
        "traceId": secrets.token_hex(16),
        "spanId": secrets.token_hex(8),
        "name": "forged",
        "kind": 1,
        "startTimeUnixNano": str(now - 1_000_000),
        "endTimeUnixNano": str(now),
    }
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


VERBS: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {"/work": work, "/pry": pry}


class Handler(BaseHTTPRequestHandler):
    """Two verbs and a health check."""

    def do_GET(self) -> None:
        """Say that the server runs."""
        self._answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        """Run one of the verbs."""
        verb = VERBS.get(self.path)
        if verb is None:
            self._answer(404, {"error": f"no {self.path} here: POST {' or '.join(VERBS)}"})
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._answer(200, verb(json.loads(body or "{}")))
        except MlflowException as refusal:
            self._answer(502, {"error": str(refusal)})

    def log_message(self, format: str, *args: Any) -> None:
        """One line per request on standard output, but none for the probes."""
        if self.command != "GET":
            print(format % args, flush=True)

    def _answer(self, status: int, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    print(f"listening on {PORT}", flush=True)
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
