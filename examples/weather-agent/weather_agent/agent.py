"""The agent: asks a model, calls the tool for it, and asks again until the model answers in words."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from openai import AsyncOpenAI

from weather_agent import telemetry, weather

_INSTRUCTIONS = (
    "You answer questions about the current weather in one or two sentences. Use the tool for every city "
    "that you are asked about, and never make weather up."
)
# A model that calls tools for ever would keep the caller waiting for ever.
_MAX_TURNS = 6
_TIMEOUT_SECONDS = 60.0


class NoAnswer(Exception):
    """The model did not come to an answer."""


@dataclass(frozen=True)
class Model:
    """A model behind an OpenAI-compatible endpoint; `url` ends in `/v1`."""

    name: str
    url: str
    token: str
    verify: bool

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Model":
        """Read INFERENCE_MODEL, VLLM_URL, VLLM_API_TOKEN, VLLM_TLS_VERIFY; KeyError names a missing one."""
        verify = environ.get("VLLM_TLS_VERIFY", "true").lower() not in ("false", "0", "no")
        url = environ["VLLM_URL"].rstrip("/")
        return cls(environ["INFERENCE_MODEL"], url, environ.get("VLLM_API_TOKEN", ""), verify)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


class WeatherAgent:
    """Answers one question at a time, or many at once; holds nothing between them."""

    def __init__(self, model: Model, tool_url: str = "") -> None:
        """With a `tool_url` the tool is a server, which is called with the caller's own token."""
        self._model = model
        self._tool_url = tool_url
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS)
        transport = httpx.AsyncClient(verify=model.verify, timeout=_TIMEOUT_SECONDS)
        # Clients insist on a key, also where the server asks for none.
        self._client = AsyncOpenAI(base_url=model.url, api_key=model.token or "none", http_client=transport)

    async def close(self) -> None:
        """Close the connections to the model and the tool."""
        await self._client.close()
        await self._http.aclose()

    async def answer(self, question: str, headers: Mapping[str, str], *, conversation: str) -> str:
        """Return the answer in words; `headers` are the request's, for its `traceparent`.

        Raises openai.OpenAIError, NoAnswer.
        """
        with telemetry.agent_span(
            question, headers, conversation=conversation, model=self._model.name
        ) as span:
            text = await self._converse(question, headers.get("authorization", ""))
            telemetry.tell_answer(span, text)
        return text

    async def _converse(self, question: str, authorization: str) -> str:
        messages: list[Any] = [
            {"role": "system", "content": _INSTRUCTIONS},
            {"role": "user", "content": question},
        ]
        for _ in range(_MAX_TURNS):
            message = await self._ask(messages)
            calls = message.get("tool_calls")
            if not calls:
                return message.get("content") or ""
            messages.append(message)
            messages += [await self._call(call, authorization) for call in calls]
        raise NoAnswer(f"the model called tools {_MAX_TURNS} times and did not answer")

    async def _ask(self, messages: list[Any]) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model.name,
            "temperature": 0.0,
            "messages": messages,
            "tools": [weather.DEFINITION],
        }
        host, port = self._model.address
        with telemetry.chat_span(request, host=host, port=port) as span:
            completion = await self._client.chat.completions.create(**request)
            found = completion.model_dump(exclude_none=True)
            telemetry.tell_completion(span, found)
        return found["choices"][0]["message"]

    async def _call(self, call: Mapping[str, Any], authorization: str) -> dict[str, Any]:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        with telemetry.tool_span(name, weather.DESCRIPTION, call["id"], arguments) as span:
            if name != weather.NAME:
                result = {"error": f"there is no tool {name}"}
            elif self._tool_url:
                result = await weather.ask_server(self._http, self._tool_url, arguments, authorization)
            else:
                result = weather.get_weather(arguments)
            telemetry.tell_result(span, result)
        return {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)}
