"""The weather agent answers a question, and the trace of exactly that question is in MLflow."""

import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from kagenti_devcluster.demo.failures import Hop, NoAnswer, StepFailed
from kagenti_devcluster.demo.report import Outcome
from kagenti_devcluster.demo.stage import COLLECTOR, COLLECTOR_HTTP, TEAM, Stage
from kagenti_devcluster.demo.traces import Span, render_tree
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.demo.workloads import environment, is_rolled_out, workload_path

AGENT = "weather-agent"
QUESTION = "What is the weather like in Prague?"
_AGENT_SECONDS = 180.0
_TRACE_SECONDS = 60.0
_CHAT = "CHAT_MODEL"
_MODEL = "gen_ai.request.model"
_CLIENT_KIND = 3
_OK = 1
_DEBUG_COUNT = re.compile(r'"otelcol.signal": "traces".*"spans": (\d+)')


async def wait_ready(stage: Stage) -> Outcome:
    """The agent runs, and has been rolled with its experiment's environment."""

    async def rolled() -> dict[str, Any]:
        found = await stage.api.get(workload_path("deployments", TEAM, AGENT))
        if found is None:
            raise NotYet("it does not exist")
        if "MLFLOW_EXPERIMENT_ID" not in environment(found):
            raise NotYet("the operator has not put MLFLOW_* into it")
        if not is_rolled_out(found):
            raise NotYet("its pods are not ready")
        return found

    deployment = await stage.until(
        "weather agent ready", rolled, seconds=_AGENT_SECONDS, hop=Hop.AGENT, evidence=(TEAM, AGENT)
    )
    generation = deployment["metadata"]["generation"]
    return Outcome(f"the agent runs, at generation {generation} of its Deployment")


async def ask(stage: Stage) -> Outcome:
    """Ask by A2A, as a client that traces: its `traceparent` makes the agent's spans part of its trace."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    stage.trace_id = f"tr-{trace}"
    stage.logs.mark(stage.system, COLLECTOR)
    begun = time.time_ns()
    headers = {"traceparent": f"00-{trace}-{span}-01"}
    answer = await stage.api.call_service(
        TEAM, f"{AGENT}:8000", "/", build_message(QUESTION), headers, hop=Hop.AGENT
    )
    ended = time.time_ns()
    text = read_answer(answer.json()) if answer.status == 200 else ""
    if not text:
        raise StepFailed(
            Hop.AGENT,
            f"the agent's answer to message/send is not one ({answer.status})",
            excerpt=[answer.text, *stage.logs.read(TEAM, AGENT)[-10:]],
            advice=f"kagenti-devcluster logs {AGENT}",
        )
    await send_span(stage, build_client_span(trace, span, begun, ended))
    return Outcome(
        f"an answer, in trace {stage.trace_id}", (f"> {QUESTION}", *(f"< {x}" for x in text.splitlines()))
    )


async def send_span(stage: Stage, span: Mapping[str, Any]) -> None:
    """Send the collector a span, given as OTLP's JSON. Raises StepFailed."""
    service = f"{COLLECTOR}:{COLLECTOR_HTTP}"
    sent = await stage.api.call_service(stage.system, service, "/v1/traces", span, hop=Hop.SENDING)
    if sent.status != 200:
        raise StepFailed(Hop.SENDING, f"the collector answers {sent.status} to a span", excerpt=[sent.text])


def build_message(text: str) -> dict[str, Any]:
    """JSON-RPC request `message/send` of the A2A protocol, version 0.3."""
    message = {
        "kind": "message",
        "messageId": str(uuid4()),
        "role": "user",
        "parts": [{"kind": "text", "text": text}],
    }
    return {"jsonrpc": "2.0", "id": str(uuid4()), "method": "message/send", "params": {"message": message}}


def read_answer(answer: Any) -> str:
    """The text of a Message or of a Task's artifacts and status; empty where there is none."""
    result = answer.get("result", {})
    status = result.get("status", {}).get("message", {})
    holders = [result, *result.get("artifacts", []), status]
    parts = [part for holder in holders for part in holder.get("parts", [])]
    return "\n".join(part["text"] for part in parts if part.get("text"))


def build_client_span(trace: str, span: str, begun: int, ended: int) -> dict[str, Any]:
    """The demo's own span, as OTLP's JSON has it: the root, without which a trace counts as unfinished."""
    made = {
        "traceId": trace,
        "spanId": span,
        "name": "demo asks the weather agent",
        "kind": _CLIENT_KIND,
        "startTimeUnixNano": str(begun),
        "endTimeUnixNano": str(ended),
        "status": {"code": _OK},
    }
    service = {"key": "service.name", "value": {"stringValue": "kagenti-operator-demo"}}
    return {"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [{"spans": [made]}]}]}


async def read_trace(stage: Stage) -> Outcome:
    """The trace is found in the experiment and has the spans of agent, chosen model and tool."""
    mlflow = await stage.mlflow()
    # A model of the user's own may answer without the tool.
    wanted = {"AGENT", _CHAT} | ({"TOOL"} if stage.stand_in else set[str]())

    async def complete() -> tuple[Span, ...]:
        try:
            if stage.trace_id not in await mlflow.trace_ids(TEAM, stage.experiment_id):
                raise NotYet("MLflow's search does not find it")
            spans = await mlflow.spans(TEAM, stage.trace_id)
        except NoAnswer as nobody:
            raise NotYet(nobody.problem) from nobody
        missing = wanted - {span.type for span in spans}
        if missing:
            raise NotYet(f"its spans of type {', '.join(sorted(missing))} are not there")
        return spans

    try:
        spans = await stage.until(
            f"trace {stage.trace_id}", complete, seconds=_TRACE_SECONDS, hop=Hop.DELIVERY
        )
    except StepFailed as late:
        raise await _find_broken_hop(stage, late.problem) from late
    others = find_other_models(spans, stage.model) if stage.model else []
    if others:
        raise StepFailed(
            Hop.AGENT,
            f"the agent asked the model {', '.join(others)}, not {stage.model}",
            excerpt=render_tree(spans),
            advice=f"kubectl -n {TEAM} rollout restart deployment {AGENT}, and the demo again",
        )
    return Outcome(
        f"{len(spans)} spans in experiment {stage.experiment_id} of {TEAM}", tuple(render_tree(spans))
    )


def find_other_models(spans: Iterable[Span], model: str) -> list[str]:
    """The models other than this one that were asked in a trace."""
    asked = {str(span.attributes.get(_MODEL, "without a name")) for span in spans if span.type == _CHAT}
    return sorted(asked - {model})


async def _find_broken_hop(stage: Stage, problem: str) -> StepFailed:
    mlflow = await stage.mlflow()
    try:
        found = await mlflow.search_traces(TEAM, stage.experiment_id)
        said = f"traces/search answers {found.status}: {found.text}"
    except NoAnswer as nobody:
        said = nobody.problem
    return locate_loss(
        problem,
        collector=stage.logs.since_mark(stage.system, COLLECTOR),
        agent=stage.logs.read(TEAM, AGENT),
        mlflow=said,
    )


def locate_loss(problem: str, *, collector: Sequence[str], agent: Sequence[str], mlflow: str) -> StepFailed:
    """Return where a trace was lost, by the collector's log since the question, and by MLflow's answer."""
    logs = "kagenti-devcluster logs"
    refused = [line for line in collector if is_export_error(line)]
    if refused:
        return StepFailed(Hop.DELIVERY, problem, excerpt=refused[-3:], advice=f"{logs} {COLLECTOR}")
    # One span is the demo's own.
    if count_spans(collector) <= 1:
        return StepFailed(
            Hop.SENDING,
            f"{problem}, and the agent's spans have not reached the collector",
            excerpt=agent[-10:],
            advice=f"{logs} {AGENT}",
        )
    return StepFailed(
        Hop.MLFLOW, f"{problem}, though the collector delivered it", excerpt=[mlflow], advice=f"{logs} mlflow"
    )


async def read_collector_log(stage: Stage) -> Outcome:
    """Since the question was asked, the collector has complained of nothing."""
    lines = stage.logs.since_mark(stage.system, COLLECTOR)
    errors = [line for line in lines if is_export_error(line)]
    if errors:
        raise StepFailed(
            Hop.DELIVERY, f"{len(errors)} export errors in the collector's log", excerpt=errors[-5:]
        )
    return Outcome(f"none in {len(lines)} lines")


def is_export_error(line: str) -> bool:
    """Whether a line of the collector's log is about spans that were not delivered."""
    lowered = line.lower()
    return any(sign in lowered for sign in ("exporting failed", "dropping data", "permanent error"))


def count_spans(lines: Iterable[str]) -> int:
    """How many spans the debug exporter counted."""
    return sum(int(found[1]) for line in lines if (found := _DEBUG_COUNT.search(line)))
