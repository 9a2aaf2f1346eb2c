"""A stand-in for a language model: OpenAI's chat completions, answered by rule.

Asked about a city it calls the tool that takes a city; given the tool's result it puts that into words. Any
client that can call tools can be tried on it, without a GPU and always with the same answer. Usage is counted
in words and punctuation marks, as a tokenizer of whole words would.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_TOKEN = re.compile(r"\w+|[^\w\s]")
# "in Prague", "for New York?": a preposition and capitalized words after it.
_CITY = re.compile(r"\b(?:in|for|at|of)\s+([A-Z][\w'-]*(?:\s+[A-Z][\w'-]*)*)")
_NO_CITY = "I can tell the weather of a city: which one?"


class BadRequest(Exception):
    """The request is not one that OpenAI's API would take."""


def complete(request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a chat completion request. Raises BadRequest."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a list with at least one message")
    if request.get("stream"):
        raise BadRequest("this model does not stream")
    message = _decide(messages, request.get("tools") or [])
    prompt = count_tokens(_texts(messages)) + count_tokens([json.dumps(request.get("tools") or [])])
    answer = count_tokens(_texts([message]))
    digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
    return {
        "id": f"chatcmpl-{digest[:24]}",
        "object": "chat.completion",
        "created": 0,
        "model": request.get("model", "stand-in"),
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
            }
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer},
    }


def count_tokens(texts: Iterable[str]) -> int:
    """How many words and punctuation marks there are."""
    return sum(len(_TOKEN.findall(text)) for text in texts)


def find_city(text: str) -> str | None:
    """The city that a text is about, None where it names none."""
    found = _CITY.search(text)
    return found[1] if found else None


def phrase(result: Mapping[str, Any]) -> str:
    """A tool's result in words."""
    if "error" in result:
        cities = ", ".join(result.get("cities", []))
        return f"I could not find that out: {result['error']}." + (f" I know {cities}." if cities else "")
    return (
        f"In {result['city']} it is {result['temperature_celsius']} °C and {result['conditions']}, "
        f"with wind at {result['wind_kmh']} km/h."
    )


def _decide(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    last = messages[-1]
    if last.get("role") == "tool":
        return {"role": "assistant", "content": _retell(last)}
    city = find_city(_text(last))
    tool = next((t["function"]["name"] for t in tools if _takes_city(t)), None)
    if city is None or tool is None:
        return {"role": "assistant", "content": _NO_CITY}
    function = {"name": tool, "arguments": json.dumps({"city": city})}
    identity = hashlib.sha256(f"{len(messages)} {city}".encode()).hexdigest()[:16]
    call = {"id": f"call_{identity}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _retell(message: Mapping[str, Any]) -> str:
    text = _text(message)
    try:
        return phrase(json.loads(text))
    except (json.JSONDecodeError, KeyError, TypeError):
        return f"The tool says: {text}"


def _takes_city(tool: Mapping[str, Any]) -> bool:
    return "city" in tool.get("function", {}).get("parameters", {}).get("properties", {})


def _texts(messages: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for message in messages:
        yield _text(message)
        for call in message.get("tool_calls") or ():
            yield f"{call['function']['name']} {call['function']['arguments']}"


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


class Handler(BaseHTTPRequestHandler):
    """`POST /v1/chat/completions`, `GET /v1/models`, `GET /healthz`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Tell health and the one model there is."""
        if self.path == "/healthz":
            self._send(HTTPStatus.OK, {"status": "ok"})
        elif self.path == "/v1/models":
            model = {"id": os.environ.get("MODEL_NAME", "stand-in"), "object": "model", "created": 0}
            self._send(HTTPStatus.OK, {"object": "list", "data": [model]})
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {self.path}")

    def do_POST(self) -> None:
        """Complete a chat."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path != "/v1/chat/completions":
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {self.path}")
            return
        try:
            self._send(HTTPStatus.OK, complete(json.loads(body)))
        except (BadRequest, json.JSONDecodeError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error", "code": None}})

    def _send(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """One line per request but the probes'."""
        if self.path != "/healthz":
            print(f"{self.address_string()} {format % args}", file=sys.stderr, flush=True)


def main() -> None:
    """Serve on PORT (8080) until stopped."""
    address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080")))
    with ThreadingHTTPServer(address, Handler) as server:
        print(f"stand-in model on {address[0]}:{server.server_port}", file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
