"""Spans by OpenTelemetry's GenAI conventions (agent, chat and tool spans), sent by OTLP over HTTP.

Where to is said by the standard variables, OTEL_EXPORTER_OTLP_ENDPOINT first of all; without it, no spans
are sent. https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

SERVICE = "weather-agent"
# What client libraries that speak OpenAI's protocol report, whoever serves it.
PROVIDER = "openai"
_tracer = trace.get_tracer("weather_agent")


def set_up() -> TracerProvider:
    """Send spans from now on; call `shutdown` on what is returned to send the last ones."""
    service = os.environ.get("OTEL_SERVICE_NAME", SERVICE)
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


@contextmanager
def agent_span(question: str, headers: Mapping[str, str], *, conversation: str, model: str) -> Iterator[Span]:
    """One request to the agent.

    Its parent is the caller's span (`traceparent`), or none. It must not be the span around it: the A2A SDK
    makes spans named `a2a.*`, which collectors drop, and a root with a lost parent leaves a trace that MLflow
    shows as in progress for ever.
    """
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": SERVICE,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.conversation.id": conversation,
        "gen_ai.request.model": model,
        "gen_ai.input.messages": _messages("user", question),
    }
    parent = propagate.extract(headers, context=trace.set_span_in_context(trace.INVALID_SPAN))
    with _span(f"invoke_agent {SERVICE}", SpanKind.INTERNAL, attributes, parent) as span:
        yield span


@contextmanager
def chat_span(request: Mapping[str, Any], *, host: str, port: int) -> Iterator[Span]:
    """One request to the model."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": request["model"],
        "gen_ai.request.temperature": request["temperature"],
        "gen_ai.input.messages": json.dumps([_from_openai(message) for message in request["messages"]]),
        "gen_ai.tool.definitions": json.dumps(request["tools"]),
        "server.address": host,
        "server.port": port,
    }
    with _span(f"chat {request['model']}", SpanKind.CLIENT, attributes) as span:
        yield span


@contextmanager
def tool_span(name: str, description: str, call_id: str, arguments: str) -> Iterator[Span]:
    """One call of a tool."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": description,
        "gen_ai.tool.call.id": call_id,
        "gen_ai.tool.call.arguments": arguments,
    }
    with _span(f"execute_tool {name}", SpanKind.INTERNAL, attributes) as span:
        yield span


def tell_answer(span: Span, text: str) -> None:
    """What the agent answered."""
    span.set_attribute("gen_ai.output.messages", _messages("assistant", text, finish_reason="stop"))


def tell_completion(span: Span, completion: Mapping[str, Any]) -> None:
    """What the model answered, in OpenAI's form."""
    choice = completion["choices"][0]
    message = {**_from_openai(choice["message"]), "finish_reason": choice["finish_reason"]}
    attributes: dict[str, Any] = {
        "gen_ai.response.id": completion["id"],
        "gen_ai.response.model": completion["model"],
        "gen_ai.response.finish_reasons": [choice["finish_reason"]],
        "gen_ai.output.messages": json.dumps([message]),
    }
    # Not every server counts.
    if usage := completion.get("usage"):
        attributes["gen_ai.usage.input_tokens"] = usage["prompt_tokens"]
        attributes["gen_ai.usage.output_tokens"] = usage["completion_tokens"]
    span.set_attributes(attributes)


def tell_result(span: Span, result: Mapping[str, Any]) -> None:
    """What the tool answered."""
    span.set_attribute("gen_ai.tool.call.result", json.dumps(result))
    if "error" in result:
        span.set_attribute("error.type", "tool_error")
        span.set_status(Status(StatusCode.ERROR, result["error"]))


@contextmanager
def _span(name: str, kind: SpanKind, attributes: Mapping[str, Any], parent: Any = None) -> Iterator[Span]:
    with _tracer.start_as_current_span(
        name, context=parent, kind=kind, attributes=attributes, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR, str(error)))
            raise


def _messages(role: str, text: str, **more: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}], **more}])


def _from_openai(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message in the conventions' form: a role, and parts of types text, tool_call, tool_call_response."""
    parts: list[dict[str, Any]] = []
    if message["role"] == "tool":
        parts.append(
            {"type": "tool_call_response", "id": message["tool_call_id"], "response": message["content"]}
        )
    elif message.get("content"):
        parts.append({"type": "text", "content": message["content"]})
    for call in message.get("tool_calls") or ():
        function = call["function"]
        parts.append(
            {
                "type": "tool_call",
                "id": call["id"],
                "name": function["name"],
                "arguments": function["arguments"],
            }
        )
    return {"role": message["role"], "parts": parts}
